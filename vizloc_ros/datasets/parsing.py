"""Small text files of datasets: lines with their numbers, numbers and times, and errors that say where."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from math import hypot, isfinite
from pathlib import Path

from vizloc_ros.errors import DatasetError

NANOSECONDS = 10**9
QUATERNION_NORM_TOLERANCE = 1e-3
LATEST_SECONDS = 2**31  # the range of a ROS time stamp; nanoseconds given as seconds are far beyond it


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark. Raises ``DatasetError`` naming it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not a text file in UTF-8 (byte {error.start}): save it as UTF-8") from error


def numbered_rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, fields between blanks) of each line that is not blank and not a ``#`` comment."""
    rows = ((number, line.split("#")[0].split()) for number, line in enumerate(read_text(path).splitlines(), start=1))
    return [(number, fields) for number, fields in rows if fields]


def parse_number(text: str, what: str, where: str) -> float:
    """A finite number. Raises ``DatasetError`` that starts with ``where`` and names ``what``."""
    try:
        value = float(text)
    except ValueError:
        raise DatasetError(f"{where}: {what} is {text!r}, not a number") from None
    if not isfinite(value):
        raise DatasetError(f"{where}: {what} is {text!r}; it must be a finite number")
    return value


def parse_unit_quaternion(fields: Sequence[str], names: Sequence[str], where: str) -> list[float]:
    """The four numbers of a quaternion of norm 1, in the order they are given. Raises ``DatasetError`` as above."""
    quaternion = [parse_number(field, name, where) for field, name in zip(fields, names, strict=True)]
    norm = hypot(*quaternion)
    if abs(norm - 1.0) > QUATERNION_NORM_TOLERANCE:
        raise DatasetError(f"{where}: the quaternion {' '.join(names)} has the norm {norm:.4g}; it must be 1")
    return quaternion


def parse_timestamp(text: str, what: str, where: str) -> int:
    """Decimal seconds as integer nanoseconds, without a float in between. Raises ``DatasetError`` as above."""
    try:
        seconds = Decimal(text.strip())
    except InvalidOperation:
        raise DatasetError(f"{where}: {what} is {text!r}, not a number") from None
    if not (seconds.is_finite() and 0 <= seconds < LATEST_SECONDS):
        raise DatasetError(f"{where}: {what} is {text!r}; it must be in seconds, from 0 to {LATEST_SECONDS}")
    return round(seconds * NANOSECONDS)


def format_timestamp(timestamp_ns: int) -> str:
    """Nanoseconds as decimal seconds with all nine digits; ``parse_timestamp`` gives them back exactly."""
    return f"{timestamp_ns // NANOSECONDS}.{timestamp_ns % NANOSECONDS:09d}"
