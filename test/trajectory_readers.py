"""Readers of the trajectories that commands write."""

from decimal import Decimal
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.geometry.poses import pose_from_quaternion
from vizloc_ros.timing import NANOSECONDS


def read_tum(path: Path) -> list[tuple[int, Rigid3d]]:
    """(timestamp [ns], map_from_cam) pairs of lines ``timestamp[s] tx ty tz qx qy qz qw``."""
    poses = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        stamp, *values = line.split()
        pose = np.array(values, np.float64)
        assert pose.shape == (7,)
        poses.append((int(Decimal(stamp) * NANOSECONDS), pose_from_quaternion(pose[:3], pose[3:])))
    return poses


def read_visuallocalization(path: Path) -> dict[str, Rigid3d]:
    """map_from_cam by image name, of lines ``name qw qx qy qz tx ty tz`` of cam_from_map; a name may contain blanks."""
    poses = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, *values = line.rsplit(maxsplit=7)
        w, *vector, x, y, z = (float(value) for value in values)
        poses[name] = pose_from_quaternion(np.array([x, y, z]), np.array([*vector, w])).inverse()
    return poses
