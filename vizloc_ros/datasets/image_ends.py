"""Ends of JPEG and PNG data: padding behind them, and data that are cut off.

Drivers pad the frames of a camera to the size of a buffer, and some omit the end marker. Decoders do not tell such
frames from those that are cut off: they fill the rest with gray.
"""

import re
from enum import Enum
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from vizloc_ros.arrays import UInt8

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG"
_JPEG_END = b"\xff\xd9"
_PNG_SIGNATURE_BYTES, _PNG_CHUNK_BYTES = 8, 12  # of a chunk beside its data: length, name, checksum
_SCAN = 0xDA  # marker of the segment that coded pixels follow
_PROGRESSIVE = 0xC2  # marker of the frame's segment of a JPEG with many scans
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)  # among coded pixels: no stuffed byte, no restart
_CONTINUATIONS = (b"\x55" * 64, b"\xaa" * 64, b"\0" * 64)  # where pixels are missing, each decodes otherwise
_BLOCK = 8  # px


class End(Enum):
    """End of an image's data: there, without its marker although all pixels are there, or cut off."""

    WHOLE = "whole"
    UNMARKED = "unmarked"
    CUT_OFF = "cut off"


def end_of(data: bytes) -> End:
    """End of the data of an image; anything but JPEG and PNG counts as whole."""
    if data.startswith(_PNG):
        return End.WHOLE if _chunks_lead_to_end(data) else End.CUT_OFF
    if not data.startswith(_JPEG) or _has_end_marker(data):
        return End.WHOLE
    return End.UNMARKED if _has_all_pixels(without_padding(data)) else End.CUT_OFF


def _chunks_lead_to_end(data: bytes) -> bool:
    """Follow the chunks of a PNG to its end. One may claim any length, and decoders allocate it."""
    position = _PNG_SIGNATURE_BYTES
    while position + _PNG_CHUNK_BYTES <= len(data):
        if data[position + 4 : position + 8] == b"IEND":
            return True
        position += _PNG_CHUNK_BYTES + int.from_bytes(data[position : position + 4], "big")
    return False


def with_end_marker(data: bytes) -> bytes:
    """The data of an unmarked JPEG, with its marker in place of padding."""
    return without_padding(data) + _JPEG_END


def without_padding(data: bytes) -> bytes:
    """The data without zeros at their end, and without the beginning of a marker."""
    return data.rstrip(b"\0").rstrip(b"\xff")


def _has_end_marker(data: bytes) -> bool:
    """Find the end marker of a JPEG behind the beginning of its first scan. One inside a segment is that of a preview.

    Among coded pixels, no other two bytes are an end marker. Between the scans of a progressive JPEG there are more
    segments, so its markers are followed one by one, which takes a hundred times as long.
    """
    scan, is_progressive = _first_scan(data)
    if scan is None or data.find(_JPEG_END, scan) < 0:
        return False
    return not is_progressive or _leads_to_end(data)


def _first_scan(data: bytes) -> tuple[int | None, bool]:
    """Position behind the head of the first scan, None without one, and whether the JPEG is progressive."""
    position, is_progressive = len(_JPEG) - 1, False
    while marker := _MARKER.match(data, position):
        kind, position = marker[1][0], marker.end()
        if kind == _JPEG_END[1]:
            break
        position += int.from_bytes(data[position : position + 2], "big")
        if kind == _SCAN:
            return position, is_progressive
        is_progressive |= kind == _PROGRESSIVE
    return None, is_progressive


def _leads_to_end(data: bytes) -> bool:
    """Follow all segments and scans of a JPEG to its end marker."""
    position = len(_JPEG) - 1
    while marker := _MARKER.match(data, position):
        kind, position = marker[1][0], marker.end()
        if kind == _JPEG_END[1]:
            return True
        position += int.from_bytes(data[position : position + 2], "big")
        if kind == _SCAN:
            following = _MARKER.search(data, position)
            position = len(data) if following is None else following.start()
    return False


def _has_all_pixels(data: bytes) -> bool:
    """Decode the data of a JPEG without end marker with continuations, which differ only where pixels are missing.

    Decoders fill missing blocks with one gray value. If the last block is not of one value, one continuation is enough,
    unless later scans may be missing. Colors do not count, as images become gray.
    """
    image = _decoded(data + _JPEG_END)
    if image is None:
        return False
    last_row, last_column = ((side - 1) // _BLOCK * _BLOCK for side in image.shape)
    is_filled = np.ptp(image[last_row:, last_column:]) == 0
    continuations = _CONTINUATIONS if is_filled or _first_scan(data)[1] else _CONTINUATIONS[:1]
    others = (_decoded(data + continuation + _JPEG_END) for continuation in continuations)
    return all(other is not None and np.array_equal(image, other) for other in others)


def _decoded(data: bytes) -> UInt8 | None:
    """Gray image of a JPEG, by Pillow: OpenCV's decoder writes a line to the terminal for every fault of the data."""
    try:
        with Image.open(BytesIO(data)) as image:
            image.draft("L", None)  # luma alone: chroma is interpolated across blocks
            return np.asarray(image.convert("L"), np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError):  # the last two are Pillow's for damaged data
        return None
