"""Ends of JPEG and PNG data: padding behind them, and data that are cut off.

Drivers pad the frames of a camera to the size of a buffer, and some omit the end marker. Decoders do not tell such
frames from those that are cut off: they fill the rest with gray.
"""

import re
from enum import Enum

import cv2
import numpy as np

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG"
_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND\xaeB`\x82"
_SCAN = 0xDA  # marker of the segment that coded pixels follow
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)  # among coded pixels: no stuffed byte, no restart
_CONTINUATIONS = (b"", b"\x55" * 64, b"\xaa" * 64, b"\0" * 64)  # where pixels are missing, each decodes otherwise


class End(Enum):
    """End of an image's data: there, without its marker although all pixels are there, or cut off."""

    WHOLE = "whole"
    UNMARKED = "unmarked"
    CUT_OFF = "cut off"


def end_of(data: bytes) -> End:
    """End of the data of an image; anything but JPEG and PNG counts as whole."""
    if data.startswith(_PNG):
        return End.WHOLE if _PNG_END in data else End.CUT_OFF
    if not data.startswith(_JPEG) or _has_end_marker(data):
        return End.WHOLE
    return End.UNMARKED if _has_all_pixels(without_padding(data)) else End.CUT_OFF


def with_end_marker(data: bytes) -> bytes:
    """The data of an unmarked JPEG, with its marker in place of padding."""
    return without_padding(data) + _JPEG_END


def without_padding(data: bytes) -> bytes:
    """The data without zeros at their end, and without the beginning of a marker."""
    return data.rstrip(b"\0").rstrip(b"\xff")


def _has_end_marker(data: bytes) -> bool:
    """Follow the segments of a JPEG to its end marker. One inside a segment is that of a preview."""
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
    """Decode the data with several continuations: if no pixel is missing, they make no difference."""
    images = [
        cv2.imdecode(np.frombuffer(data + continuation + _JPEG_END, np.uint8), cv2.IMREAD_GRAYSCALE)
        for continuation in _CONTINUATIONS
    ]
    first = images[0]
    return first is not None and all(image is not None and np.array_equal(first, image) for image in images)
