"""EXIF data of an image file: the orientation, by which viewers turn the pixels, and the focal length.

The pixels are used as they are stored, so the orientation is not applied.
"""

import math
import struct
from pathlib import Path

UPRIGHT = 1
_ORIENTATION, _EXIF_DIRECTORY, _FOCAL_LENGTH_35MM = 0x0112, 0x8769, 0xA405
_DIAGONAL_35MM = 43.27  # mm
_ENTRY_BYTES = 12
_LONG = 4  # type of 32-bit numbers
_SEARCHED_BYTES = 1 << 18
_HEADERS = (b"II*\0", b"MM\0*")  # of TIFF, little and big endian
_TURNS = {3: "180 degrees", 6: "90 degrees clockwise", 8: "90 degrees counterclockwise"}


def exif_orientation(path: Path) -> int:
    """EXIF orientation, 1 to 8, of a JPEG, PNG, WebP or TIFF file; 1 (upright) without one."""
    try:
        with path.open("rb") as file:
            value = Tags.of(file.read(_SEARCHED_BYTES)).get(_ORIENTATION, UPRIGHT)
    except (OSError, struct.error):
        return UPRIGHT
    return value if 1 <= value <= 8 else UPRIGHT


def exif_focal_length(path: Path, size: tuple[int, int]) -> float | None:
    """Focal length [px] by the one that EXIF gives for 35 mm film; None without it.

    It is rounded to millimeters, and wrong for a cropped image.

    Args:
        path: path of the file.
        size: (width, height) of the image [px].
    """
    try:
        with path.open("rb") as file:
            data = file.read(_SEARCHED_BYTES)
        tags = Tags.of(data)
        millimeters = Tags.of(data, tags.get(_EXIF_DIRECTORY, 0)).get(_FOCAL_LENGTH_35MM, 0)
    except (OSError, struct.error):
        return None
    return millimeters / _DIAGONAL_35MM * math.hypot(*size) if millimeters > 0 else None


def orientation_text(orientation: int) -> str:
    """Orientation with its meaning, such as "EXIF orientation 6 (viewers turn it by 90 degrees clockwise)"."""
    turn = f"turn it by {_TURNS[orientation]}" if orientation in _TURNS else "mirror it"
    return f"EXIF orientation {orientation} (viewers {turn})"


class Tags(dict[int, int]):
    """Values of a directory of TIFF's tags. Only those of one 16-bit or 32-bit number are of use here."""

    @classmethod
    def of(cls, data: bytes, directory: int | None = None) -> "Tags":
        """Tags of the first directory, or of the one at an offset; none at 0. Raises ``struct.error`` if cut off."""
        start, found = _tiff_start(data), cls()
        if start is None or directory == 0:
            return found
        order = "<" if data[start : start + 2] == b"II" else ">"
        (first,) = struct.unpack_from(f"{order}I", data, start + 4)
        directory = first if directory is None else directory
        (count,) = struct.unpack_from(f"{order}H", data, start + directory)
        for i in range(count):
            entry = start + directory + 2 + i * _ENTRY_BYTES
            tag, kind = struct.unpack_from(f"{order}HH", data, entry)
            (value,) = struct.unpack_from(f"{order}{'I' if kind == _LONG else 'H'}", data, entry + 8)
            found.setdefault(tag, value)  # of two, decoders take the first
        return found


def _tiff_start(data: bytes) -> int | None:
    """Offset of the TIFF structure that holds the tags; None if there is none."""
    if data.startswith(_HEADERS):
        return 0
    for name in (b"Exif\0\0", b"eXIf", b"EXIF"):  # of JPEG, PNG, WebP
        start = data.find(name)
        if start >= 0 and data.startswith(_HEADERS, start + len(name) + (4 if name == b"EXIF" else 0)):
            return start + len(name) + (4 if name == b"EXIF" else 0)
    return None
