"""Trajectories as text: the TUM format, which evo reads, and the format of visuallocalization.net."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.parsing import format_timestamp, numbered_rows, parse_number, parse_timestamp, read_text
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import array_of, pose_from_quaternion


def write_tum(path: Path, poses: Iterable[tuple[int, Rigid3d]]) -> None:
    """Write (timestamp [ns], map_from_cam) pairs as lines ``timestamp[s] tx ty tz qx qy qz qw``."""
    lines = (f"{format_timestamp(stamp)} {_numbers(*array_of(pose))}\n" for stamp, pose in poses)
    path.write_text("# timestamp tx ty tz qx qy qz qw\n" + "".join(lines), encoding="utf-8")


def read_tum(path: Path) -> list[tuple[int, Rigid3d]]:
    """Read (timestamp [ns], map_from_cam) pairs. Raises ``DatasetError`` with the file and the line."""
    poses = []
    for line, fields in numbered_rows(path):
        where = f"{path}:{line}"
        values = _values(fields[1:], where)
        stamp = parse_timestamp(fields[0], "the timestamp", where)
        poses.append((stamp, pose_from_quaternion(np.array(values[:3]), np.array(values[3:]))))
    return poses


def write_visuallocalization(path: Path, map_from_cam: Mapping[str, Rigid3d]) -> None:
    """Write poses by image name as lines ``name qw qx qy qz tx ty tz`` of cam_from_map."""
    lines = []
    for name, pose in map_from_cam.items():
        tx, ty, tz, qx, qy, qz, qw = array_of(pose.inverse())
        lines.append(f"{name} {_numbers(qw, qx, qy, qz, tx, ty, tz)}\n")
    path.write_text("".join(lines), encoding="utf-8")


def read_visuallocalization(path: Path) -> dict[str, Rigid3d]:
    """Read map_from_cam by image name. Raises ``DatasetError`` with the file and the line."""
    poses = {}
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        name, *fields = text.strip().rsplit(maxsplit=7)  # from the right: a name may contain blanks
        qw, qx, qy, qz, tx, ty, tz = _values(fields, f"{path}:{line}")
        poses[name] = pose_from_quaternion(np.array([tx, ty, tz]), np.array([qx, qy, qz, qw])).inverse()
    return poses


def _numbers(*values: float) -> str:
    """Shortest texts that parse to the same doubles; adding zero turns -0.0 into 0.0."""
    return " ".join(repr(float(value) + 0.0) for value in values)


def _values(fields: list[str], where: str) -> list[float]:
    if len(fields) != 7:
        raise DatasetError(f"{where}: a pose of {len(fields)} values; expected 7")
    return [parse_number(field, "a value of the pose", where) for field in fields]
