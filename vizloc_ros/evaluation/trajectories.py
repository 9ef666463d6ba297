"""Trajectories as text: the TUM format, which evo reads, and the format of visuallocalization.net."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.parsing import format_timestamp, parse_number, read_text
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import array_of, pose_from_quaternion


def write_tum(path: Path, poses: Iterable[tuple[int, Rigid3d]]) -> None:
    """Write (timestamp [ns], world_from_cam) pairs as lines ``timestamp[s] tx ty tz qx qy qz qw``."""
    lines = (f"{format_timestamp(stamp)} {_numbers(*array_of(pose))}\n" for stamp, pose in poses)
    path.write_text("# timestamp tx ty tz qx qy qz qw\n" + "".join(lines), encoding="utf-8")


def write_visuallocalization(path: Path, world_from_cam: Mapping[str, Rigid3d]) -> None:
    """Write poses by image name as lines ``name qw qx qy qz tx ty tz`` of cam_from_world."""
    lines = []
    for name, pose in world_from_cam.items():
        tx, ty, tz, qx, qy, qz, qw = array_of(pose.inverse())
        lines.append(f"{name} {_numbers(qw, qx, qy, qz, tx, ty, tz)}\n")
    path.write_text("".join(lines), encoding="utf-8")


def read_visuallocalization(path: Path) -> dict[str, Rigid3d]:
    """Read world_from_cam by image name from a file of ``write_visuallocalization``. Raises ``DatasetError``."""
    poses = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        where, (name, *fields) = f"{path}:{number}", line.rsplit(" ", 7)
        if len(fields) != 7:
            raise DatasetError(f"{where}: {len(fields) + 1} fields; expected 'name qw qx qy qz tx ty tz'")
        w, x, y, z, *translation = (parse_number(field, "pose", where) for field in fields)
        poses[name] = pose_from_quaternion(np.array(translation), np.array([x, y, z, w])).inverse()
    return poses


def _numbers(*values: float) -> str:
    """Shortest texts that parse to the same doubles; adding zero turns -0.0 into 0.0."""
    return " ".join(repr(float(value) + 0.0) for value in values)
