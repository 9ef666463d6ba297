"""Checks of a COLMAP reconstruction in text files, which COLMAP itself reads in part or wrongly without a word.

An image takes two lines in images.txt: its pose, and its keypoints, which may be an empty line. If an editor or a
script has removed the empty lines, COLMAP takes every second image for the keypoints of the one before.
"""

import re
from collections.abc import Iterator, Sequence
from math import hypot
from pathlib import Path

import pycolmap

from vizloc_ros.datasets.parsing import parse_number, read_text
from vizloc_ros.errors import DatasetError

_IMAGE = ("IMAGE_ID", "QW", "QX", "QY", "QZ", "TX", "TY", "TZ", "CAMERA_ID", "NAME")
_CAMERA = ("CAMERA_ID", "MODEL", "WIDTH", "HEIGHT", "PARAMS")
_POINT = ("POINT3D_ID", "X", "Y", "Z", "R", "G", "B", "ERROR")
_MIN_NORM = 1e-3  # of a quaternion: COLMAP scales it to 1
_COUNT = re.compile(r"#\s*Number of (cameras|images|points):\s*(\d+)")


def check_text_model(folder: Path) -> None:
    """Check cameras.txt, images.txt and points3D.txt in a folder.

    Raises:
        DatasetError: a line is malformed, an image lacks its line of keypoints, a quaternion is zero, a camera is not
            in cameras.txt, or a file has fewer entries than its header announces; the error names file and line.
    """
    cameras = _check_cameras(folder / "cameras.txt")
    _check_images(folder / "images.txt", cameras)
    _check_points(folder / "points3D.txt")


def _check_cameras(path: Path) -> set[int]:
    """Ids of the cameras."""
    cameras: set[int] = set()
    for number, fields in _lines(path):
        where = f"{path}:{number}"
        _require_fields(fields, _CAMERA, where)
        width, height = (_whole(field, name, where) for field, name in zip(fields[2:4], _CAMERA[2:4], strict=True))
        parameters = [parse_number(field, "a parameter", where) for field in fields[4:]]
        if fields[1] not in pycolmap.CameraModelId.__members__:
            raise DatasetError(f"{where}: {fields[1]!r} is not a camera model of COLMAP")
        camera = pycolmap.Camera(model=fields[1], width=width, height=height, params=parameters)
        if not camera.verify_params():
            raise DatasetError(
                f"{where}: {len(parameters)} parameters; the camera model {fields[1]} needs {camera.params_info}"
            )
        cameras.add(_whole(fields[0], _CAMERA[0], where))
    _require_all(path, len(cameras))
    return cameras


def _check_images(path: Path, cameras: set[int]) -> None:
    lines = list(enumerate(read_text(path).splitlines(), start=1))
    count, index = 0, 0
    while index < len(lines):
        number, line = lines[index]
        index += 1
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        where = f"{path}:{number}"
        _check_image(fields, cameras, where)
        count += 1
        if index == len(lines):
            raise DatasetError(
                f"{where}: the line of keypoints below image {fields[0]} is missing, which may be empty: COLMAP would "
                "leave the image out; add it"
            )
        _check_keypoints(lines[index][1].split(), f"{path}:{lines[index][0]}", fields[0])
        index += 1
    _require_all(path, count)


def _check_image(fields: Sequence[str], cameras: set[int], where: str) -> None:
    _require_fields(fields, _IMAGE, where)
    if len(fields) > len(_IMAGE):
        name = " ".join(fields[len(_IMAGE) - 1 :])
        raise DatasetError(f"{where}: COLMAP reads no blanks in a name, such as {name!r}: give a binary model")
    _whole(fields[0], _IMAGE[0], where)
    values = [parse_number(field, name, where) for field, name in zip(fields[1:8], _IMAGE[1:8], strict=True)]
    if hypot(*values[:4]) < _MIN_NORM:
        raise DatasetError(f"{where}: the quaternion {' '.join(_IMAGE[1:5])} of image {fields[9]} is zero")
    camera = _whole(fields[8], _IMAGE[8], where)
    if camera not in cameras:
        raise DatasetError(f"{where}: image {fields[9]} has camera {camera}, which is not in cameras.txt")


def _check_keypoints(fields: Sequence[str], where: str, image: str) -> None:
    """Check the line of keypoints ``X Y POINT3D_ID X Y POINT3D_ID ...`` of an image."""
    try:
        numeric = all(float(field) is not None for field in fields[-3:])
    except ValueError:
        numeric = False
    if len(fields) % 3 == 0 and numeric:
        return
    problem = (
        "an image, where the keypoints belong: every image needs a second line, which may be empty, and such lines "
        "were removed"
        if len(fields) >= len(_IMAGE) and not numeric
        else f"{len(fields)} fields, where keypoints of three fields each belong"
    )
    raise DatasetError(f"{where}: {problem} (keypoints of image {image}); export the reconstruction again")


def _check_points(path: Path) -> None:
    count = 0
    for number, fields in _lines(path):
        where = f"{path}:{number}"
        _require_fields(fields, _POINT, where)
        if len(fields) % 2:
            raise DatasetError(
                f"{where}: the track has {len(fields) - len(_POINT)} fields; it needs two an observation"
            )
        for field, name in zip(fields[1:4], _POINT[1:4], strict=True):
            parse_number(field, name, where)
        count += 1
    _require_all(path, count)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbers and fields of the lines that are neither blank nor comments."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        fields = line.split()
        if fields and not fields[0].startswith("#"):
            yield number, fields


def _require_fields(fields: Sequence[str], names: Sequence[str], where: str) -> None:
    if len(fields) < len(names):
        raise DatasetError(f"{where}: {len(fields)} fields, expected '{' '.join(names)}': is the file cut off?")


def _require_all(path: Path, count: int) -> None:
    """Raise ``DatasetError`` if a file has fewer entries than its header announces."""
    announced = _COUNT.search(read_text(path))
    if announced is not None and int(announced[2]) > count:
        raise DatasetError(
            f"{path}: {count} {announced[1]}, but its header announces {announced[2]}: the file is cut off; copy it "
            "again"
        )


def _whole(text: str, what: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise DatasetError(f"{where}: {what} is {text!r}, not a whole number") from None
