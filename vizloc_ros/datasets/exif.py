"""EXIF orientation of an image file: how a viewer turns the stored pixels, which this package does not."""

import struct
from pathlib import Path

UPRIGHT = 1
_TAG = 0x0112
_ENTRY_BYTES = 12
_SEARCHED_BYTES = 1 << 18
_HEADERS = (b"II*\0", b"MM\0*")  # of TIFF, little and big endian
_TURNS = {3: "180 degrees", 6: "90 degrees clockwise", 8: "90 degrees counterclockwise"}


def exif_orientation(path: Path) -> int:
    """EXIF orientation, 1 to 8, of a JPEG, PNG, WebP or TIFF file; 1 (upright) without one."""
    try:
        with path.open("rb") as file:
            return _orientation(file.read(_SEARCHED_BYTES))
    except (OSError, struct.error):
        return UPRIGHT


def orientation_text(orientation: int) -> str:
    """Orientation with its meaning, such as "EXIF orientation 6 (viewers turn it by 90 degrees clockwise)"."""
    turn = f"turn it by {_TURNS[orientation]}" if orientation in _TURNS else "mirror it"
    return f"EXIF orientation {orientation} (viewers {turn})"


def _orientation(data: bytes) -> int:
    start = _tiff_start(data)
    if start is None:
        return UPRIGHT
    order = "<" if data[start : start + 2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", data, start + 4)
    (count,) = struct.unpack_from(f"{order}H", data, start + directory)
    for i in range(count):
        entry = start + directory + 2 + i * _ENTRY_BYTES
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", data, entry)
        if tag == _TAG:
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def _tiff_start(data: bytes) -> int | None:
    """Offset of the TIFF structure that holds the tags; None if there is none."""
    if data.startswith(_HEADERS):
        return 0
    for name in (b"Exif\0\0", b"eXIf", b"EXIF"):  # of JPEG, PNG, WebP
        start = data.find(name)
        if start >= 0 and data.startswith(_HEADERS, start + len(name) + (4 if name == b"EXIF" else 0)):
            return start + len(name) + (4 if name == b"EXIF" else 0)
    return None
