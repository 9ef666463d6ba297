"""Reader of posed folders, the simplest format for own routes: ``poses.csv``, ``intrinsics.txt`` and images.

``poses.csv`` has a header and one row for each image: ``image,split,timestamp_s,tx,ty,tz,qx,qy,qz,qw``.

* ``image`` is the path below the folder.
* The pose is world_from_cam of the camera's optical frame (x right, y down, z forward), in meters, with a Hamilton
  quaternion. An image without a pose has seven empty fields.
* An empty split means "map" for an image with a pose, and "query" for one without.
* Columns may have any order; additional ones are ignored.

``intrinsics.txt`` has one line ``width height fx fy cx cy`` in pixels, for images without distortion.
"""

import csv
import io
from functools import partial
from pathlib import Path

from pycolmap import Rigid3d

from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.datasets.parsing import (
    QUATERNION,
    TRANSLATION,
    numbered_rows,
    parse_number,
    parse_pose,
    parse_timestamp,
    read_text,
)
from vizloc_ros.datasets.record import Record, unknown_split
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.camera import PinholeCamera

POSE = TRANSLATION + QUATERNION
COLUMNS = ("image", "split", "timestamp_s", *POSE)
INTRINSICS = ("width", "height", "fx", "fy", "cx", "cy")


class FolderDataset:
    """Posed folder; its text files are checked when it is opened, each image when it is read."""

    def __init__(self, folder: Path) -> None:
        """Read ``poses.csv`` and ``intrinsics.txt``. Raises ``DatasetError`` that names the file and the line."""
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder; it should hold poses.csv, intrinsics.txt and the images")
        self._folder = folder
        self._poses_file = folder / "poses.csv"
        self._rows = _read_poses(self._poses_file, folder, read_intrinsics(folder / "intrinsics.txt"))

    @property
    def name(self) -> str:
        """``folder:PATH``."""
        return f"folder:{self._folder}"

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits in order of appearance."""
        return tuple(dict.fromkeys(record.split for _, record in self._rows))

    def records(self, split: str) -> list[Record]:
        """Return the records of a split in order of time.

        Raises:
            DatasetError: there is no such split, or an image of it is missing.
        """
        if split not in self.splits:
            raise unknown_split(self.name, split, self.splits)
        rows = [(line, record) for line, record in self._rows if record.split == split]
        for line, record in rows:
            if not (self._folder / record.name).is_file():
                raise DatasetError(
                    f"{self._poses_file}:{line}: there is no image {self._folder / record.name}; "
                    "paths are relative to the folder of poses.csv"
                )
        return [record for _, record in rows]


def read_intrinsics(path: Path) -> PinholeCamera:
    """Read ``width height fx fy cx cy`` [px]. Raises ``DatasetError`` that names the file and the line."""
    rows = numbered_rows(path)
    expected = f"expected one line '{' '.join(INTRINSICS)}' in pixels"
    if len(rows) != 1:
        where = f"{path}:{rows[1][0]}" if rows else f"{path}"
        raise DatasetError(f"{where}: {len(rows)} lines with values; {expected}")
    line, fields = rows[0]
    where = f"{path}:{line}"
    if len(fields) != len(INTRINSICS):
        raise DatasetError(f"{where}: {len(fields)} values; {expected}")
    width, height, fx, fy, cx, cy = (parse_number(f, name, where) for f, name in zip(fields, INTRINSICS, strict=True))
    if not (width.is_integer() and height.is_integer()):
        raise DatasetError(f"{where}: the image size {width:g} x {height:g} is not in whole pixels; {expected}")
    try:
        return PinholeCamera(int(width), int(height), fx, fy, cx, cy)
    except CameraError as error:
        raise DatasetError(f"{where}: {error}") from error


def _read_poses(path: Path, folder: Path, camera: PinholeCamera) -> list[tuple[int, Record]]:
    """Read the (line, record) of each row; names are unique and times increase within each split."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    columns: dict[str, int] | None = None
    rows: list[tuple[int, Record]] = []
    line_of_name: dict[str, int] = {}
    last_of_split: dict[str, tuple[int, Record]] = {}
    try:
        for fields in reader:
            line = reader.line_num
            fields = [field.strip() for field in fields]
            if not any(fields):
                continue
            if columns is None:
                columns = _column_indices(fields, f"{path}:{line}")
                continue
            record = _parse_record(fields, columns, f"{path}:{line}", folder, camera)
            if record.name in line_of_name:
                first = line_of_name[record.name]
                raise DatasetError(f"{path}:{line}: image {record.name!r} is already in line {first}")
            if record.split in last_of_split and record.timestamp_ns <= last_of_split[record.split][1].timestamp_ns:
                raise DatasetError(
                    f"{path}:{line}: timestamp_s is not later than in line {last_of_split[record.split][0]}; "
                    f"within a split ({record.split!r}) times must increase: sort the rows"
                )
            line_of_name[record.name] = line
            last_of_split[record.split] = (line, record)
            rows.append((line, record))
    except csv.Error as error:
        raise DatasetError(f"{path}:{reader.line_num}: not a comma-separated table: {error}") from error
    if not rows:
        raise DatasetError(
            f"{path}: there is no image in it; expected the header {','.join(COLUMNS)} and rows below it"
        )
    return rows


def _column_indices(header: list[str], where: str) -> dict[str, int]:
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise DatasetError(f"{where}: the header lacks {', '.join(missing)}; expected {','.join(COLUMNS)}")
    twice = [name for name in COLUMNS if header.count(name) > 1]
    if twice:
        raise DatasetError(f"{where}: the header names {', '.join(twice)} more than once")
    return {name: index for index, name in enumerate(header)}


def _parse_record(
    fields: list[str], columns: dict[str, int], where: str, folder: Path, camera: PinholeCamera
) -> Record:
    if len(fields) != len(columns):
        raise DatasetError(f"{where}: {len(fields)} fields where the header has {len(columns)}")
    row = {name: fields[index] for name, index in columns.items()}
    if not row["image"]:
        raise DatasetError(f"{where}: the image's name is empty")
    world_from_cam = _parse_pose(row, where)
    return Record(
        name=row["image"],
        timestamp_ns=parse_timestamp(row["timestamp_s"], "timestamp_s", where),
        camera=camera,
        split=row["split"] or ("query" if world_from_cam is None else "map"),
        world_from_cam=world_from_cam,
        read_image=partial(read_image, folder / row["image"], camera.size),
        file=folder / row["image"],
    )


def _parse_pose(row: dict[str, str], where: str) -> Rigid3d | None:
    empty = [name for name in POSE if not row[name]]
    if len(empty) == len(POSE):
        return None
    if empty:
        raise DatasetError(f"{where}: the pose lacks {', '.join(empty)}; give all seven values or none")
    return parse_pose(row, where)
