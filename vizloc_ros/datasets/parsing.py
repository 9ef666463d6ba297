"""Parsing of the text files of datasets: rows, numbers and times, with errors that name the file and the line."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from math import hypot, isfinite
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.bounded import read_regular_text
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import pose_from_quaternion
from vizloc_ros.timing import NANOSECONDS

QUATERNION_NORM_TOLERANCE = 1e-3
TRANSLATION = ("tx", "ty", "tz")
QUATERNION = ("qx", "qy", "qz", "qw")
LATEST_SECONDS = 2**31  # range of a ROS time stamp; nanoseconds given as seconds are far beyond it


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark. Raises ``DatasetError`` that names it."""
    try:
        return read_regular_text(path, None, "utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not a text file in UTF-8 (byte {error.start}): save it as UTF-8") from error


def numbered_rows(path: Path, separator: str | None = None) -> list[tuple[int, list[str]]]:
    """Read the (line number, fields) of each line that is neither blank nor a ``#`` comment.

    Fields lie between blanks, or between separators such as a comma.
    """
    lines = ((number, line.split("#")[0].strip()) for number, line in enumerate(read_text(path).splitlines(), start=1))
    return [(number, [field.strip() for field in line.split(separator)]) for number, line in lines if line]


def parse_number(text: str, what: str, where: str) -> float:
    """Parse a finite number.

    Args:
        text: text of the number.
        what: name of the quantity, for the error.
        where: file and line, for the error.

    Raises:
        DatasetError: the text is not a finite number.
    """
    try:
        value = float(text)
    except ValueError:
        raise DatasetError(f"{where}: {what} is {text!r}, not a number") from None
    if not isfinite(value):
        raise DatasetError(f"{where}: {what} is {text!r}; it must be a finite number")
    return value


def parse_whole(text: str, what: str, where: str) -> int:
    """Parse a whole number, from 0. Raises ``DatasetError`` as ``parse_number``."""
    value = parse_number(text, what, where)
    if not value.is_integer() or value < 0:
        raise DatasetError(f"{where}: {what} is {text!r}; it must be a whole number")
    return int(value)


def parse_unit_quaternion(fields: Sequence[str], names: Sequence[str], where: str) -> list[float]:
    """Parse the four numbers of a unit quaternion, in their order. Raises ``DatasetError`` as ``parse_number``."""
    quaternion = [parse_number(field, name, where) for field, name in zip(fields, names, strict=True)]
    norm = hypot(*quaternion)
    if abs(norm - 1.0) > QUATERNION_NORM_TOLERANCE:
        raise DatasetError(f"{where}: the quaternion {' '.join(names)} has the norm {norm:.4g}; it must be 1")
    return quaternion


def parse_pose(fields: Mapping[str, str], where: str) -> Rigid3d:
    """Parse the fields ``tx ty tz qx qy qz qw``; others do not matter. Raises ``DatasetError`` as ``parse_number``."""
    translation = np.array([parse_number(fields[name], name, where) for name in TRANSLATION])
    quaternion = parse_unit_quaternion([fields[name] for name in QUATERNION], QUATERNION, where)
    return pose_from_quaternion(translation, np.array(quaternion))


def parse_timestamp(text: str, what: str, where: str) -> int:
    """Parse decimal seconds as integer nanoseconds, exactly. Raises ``DatasetError`` as ``parse_number``."""
    try:
        seconds = Decimal(text.strip())
    except InvalidOperation:
        raise DatasetError(f"{where}: {what} is {text!r}, not a number") from None
    if not (seconds.is_finite() and 0 <= seconds < LATEST_SECONDS):
        raise DatasetError(f"{where}: {what} is {text!r}; it must be in seconds, from 0 to {LATEST_SECONDS}")
    return round(seconds * NANOSECONDS)


def format_timestamp(timestamp_ns: int) -> str:
    """Format nanoseconds as decimal seconds with nine digits, the exact inverse of ``parse_timestamp``."""
    return f"{timestamp_ns // NANOSECONDS}.{timestamp_ns % NANOSECONDS:09d}"
