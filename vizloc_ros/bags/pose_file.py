"""Trajectory from a file: TUM's format, or a table with a header such as ``poses.csv`` of a posed folder."""

import csv
import io
from pathlib import Path

from pycolmap import Rigid3d

from vizloc_ros.datasets.parsing import QUATERNION, TRANSLATION, numbered_rows, parse_pose, parse_timestamp, read_text
from vizloc_ros.errors import DatasetError

_POSE = (*TRANSLATION, *QUATERNION)
_STAMP = "timestamp_s"


def read_pose_file(path: Path) -> dict[int, Rigid3d]:
    """Poses by time [ns].

    A file with commas has a header with ``timestamp_s,tx,ty,tz,qx,qy,qz,qw`` in any order; rows with empty poses are
    left out. Any other file has lines ``timestamp tx ty tz qx qy qz qw``. Times are in seconds.

    Raises:
        DatasetError: it cannot be read, or has no pose; the text names the file and the line.
    """
    rows = numbered_rows(path)
    is_table = bool(rows) and "," in " ".join(rows[0][1])
    poses = _table(path) if is_table else _tum(path, rows)
    if not poses:
        raise DatasetError(f"{path}: there is no pose in it; expected lines 'timestamp {' '.join(_POSE)}'")
    return poses


def _tum(path: Path, rows: list[tuple[int, list[str]]]) -> dict[int, Rigid3d]:
    poses: dict[int, Rigid3d] = {}
    for line, (stamp, *fields) in rows:
        where = f"{path}:{line}"
        if len(fields) != len(_POSE):
            raise DatasetError(f"{where}: {len(fields) + 1} values; expected 'timestamp {' '.join(_POSE)}'")
        poses[parse_timestamp(stamp, "the timestamp", where)] = parse_pose(dict(zip(_POSE, fields, strict=True)), where)
    return poses


def _table(path: Path) -> dict[int, Rigid3d]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), skipinitialspace=True)
    missing = [name for name in (_STAMP, *_POSE) if name not in (reader.fieldnames or ())]
    if missing:
        raise DatasetError(f"{path}:1: the header lacks {', '.join(missing)}; expected {_STAMP},{','.join(_POSE)}")
    poses: dict[int, Rigid3d] = {}
    for row in reader:
        where = f"{path}:{reader.line_num}"
        fields = {name: (row[name] or "").strip() for name in (_STAMP, *_POSE)}
        if any(fields[name] for name in _POSE):
            poses[parse_timestamp(fields[_STAMP], _STAMP, where)] = parse_pose(fields, where)
    return poses
