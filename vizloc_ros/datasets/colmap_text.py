"""Check of COLMAP's text files before COLMAP reads them: it ends silently at the first line that it does not expect.

An image has two lines in ``images.txt``: its pose, and its points, which may be an empty line. Without the empty lines,
COLMAP takes every second image for the points of the one before.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from vizloc_ros.datasets.lenses import parse_camera
from vizloc_ros.datasets.parsing import parse_number, parse_unit_quaternion, parse_whole, read_text
from vizloc_ros.errors import DatasetError

_COUNT = re.compile(r"#\s*Number of (\w+): (\d+)")
_QUATERNION = ("QW", "QX", "QY", "QZ")
_CAMERA_LINE = "CAMERA_ID MODEL WIDTH HEIGHT PARAMS..."
_IMAGE_LINE = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
_POINT_LINE = "POINT3D_ID X Y Z R G B ERROR (IMAGE_ID POINT2D_IDX)..."
_FRAME_LINE = "FRAME_ID RIG_ID QW QX QY QZ TX TY TZ NUM_DATA_IDS (SENSOR_TYPE SENSOR_ID DATA_ID)..."
_COPY = "copy or export it again"

_Line = tuple[int, list[str]]  # number and fields


def check_text_model(folder: Path) -> None:
    """Check the text files of a model. Raises ``DatasetError`` that names the file and the line."""
    _check_cameras(folder / "cameras.txt")
    _check_images(folder / "images.txt")
    _check_rows(folder / "points3D.txt", _POINT_LINE, least=8, group=2, quaternion_at=None)
    if (folder / "frames.txt").is_file():
        _check_rows(folder / "frames.txt", _FRAME_LINE, least=10, group=3, quaternion_at=2)


def _check_cameras(path: Path) -> None:
    count = 0
    for line, fields in _entries(_lines(path)):
        where = f"{path}:{line}"
        camera = parse_camera(fields, _CAMERA_LINE, where)
        if not camera.verify_params():
            raise DatasetError(
                f"{where}: {len(camera.params)} parameters; {camera.model.name} takes {camera.params_info}"
            )
        count += 1
    _check_count(path, count)


def _check_images(path: Path) -> None:
    lines = _lines(path)
    line_of: dict[str, int] = {}
    for line, fields in _entries(lines):
        where = f"{path}:{line}"
        if len(fields) < len(_IMAGE_LINE.split()):
            raise DatasetError(f"{where}: {len(fields)} values; expected '{_IMAGE_LINE}': {_COPY}")
        image_id, camera_id, name = fields[0], fields[8], " ".join(fields[9:])
        parse_whole(image_id, "IMAGE_ID", where)
        parse_unit_quaternion(fields[1:5], _QUATERNION, where)
        for field in fields[5:8]:
            parse_number(field, "the translation", where)
        parse_whole(camera_id, "CAMERA_ID", where)
        if " " in name:
            raise DatasetError(f"{where}: the name {name!r} has a blank, where COLMAP's text ends: export it as .bin")
        for key in (f"IMAGE_ID {image_id}", f"image {name}"):
            if key in line_of:
                raise DatasetError(f"{where}: {key} is already in line {line_of[key]}")
            line_of[key] = line
        _check_points(next(lines, None), name, where, path)
    _check_count(path, len(line_of) // 2)


def _check_points(points: _Line | None, name: str, where: str, path: Path) -> None:
    """Check the line below the one of an image."""
    if points is None:
        raise DatasetError(
            f"{where}: the file ends without the line of the points of {name}: it was cut off, or lacks an empty line"
        )
    line, fields = points
    try:
        numbers = len([float(field) for field in fields])
    except ValueError:
        numbers = -1
    if numbers % 3 != 0:
        raise DatasetError(
            f"{path}:{line}: not the points of {name}, which are 'X Y POINT3D_ID' for each point, or an empty line: "
            "every image has two lines; add the empty ones, or copy the file again"
        )


def _check_rows(path: Path, expected: str, *, least: int, group: int, quaternion_at: int | None) -> None:
    """Check a file of one line for each entry: numbers and words, which end with groups of a size."""
    count = 0
    for line, fields in _entries(_lines(path)):
        where = f"{path}:{line}"
        if len(fields) < least or (len(fields) - least) % group != 0:
            raise DatasetError(f"{where}: {len(fields)} values; expected '{expected}': {_COPY}")
        if quaternion_at is not None:
            parse_unit_quaternion(fields[quaternion_at : quaternion_at + 4], _QUATERNION, where)
        for field in fields[:least]:
            parse_number(field, "a value", where)
        count += 1
    _check_count(path, count)


def _check_count(path: Path, found: int) -> None:
    """Compare the number of entries with the comment that COLMAP writes at the top of a file."""
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.startswith("#"):
            return
        match = _COUNT.match(text)
        if match is not None and int(match[2]) != found:
            raise DatasetError(
                f"{path}:{line}: {match[2]} {match[1]}, but the file has {found}: it was cut off; {_COPY}"
            )


def _lines(path: Path) -> Iterator[_Line]:
    return ((number, line.split()) for number, line in enumerate(read_text(path).splitlines(), start=1))


def _entries(lines: Iterator[_Line]) -> Iterator[_Line]:
    """Lines that are neither empty nor comments."""
    return (line for line in lines if line[1] and not line[1][0].startswith("#"))
