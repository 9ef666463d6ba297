"""Sizes of images from the headers of their files, before a pixel is decoded: a small file may claim a huge image."""

import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from vizloc_ros.datasets.exif import Tags

MAX_MESSAGE_PIXELS = 50_000_000  # default of the nodes' parameter max_image_pixels
MAX_FILE_PIXELS = 250_000_000  # of files, which are chosen by who gives the command
FORMATS = "PNG, JPEG, TIFF, WebP, BMP, PNM, JPEG 2000 or GIF"
_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 322, 323  # tags of TIFF
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of the segments with the image size
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_PNM = re.compile(rb"P[1-6](?:\s+|#[^\n]*\n)+?(\d{1,9})(?:\s+|#[^\n]*\n)+?(\d{1,9})\s")
_PNM_CHARS = 4096  # in which the size must be, comments included
_JPEG2000_BOX, _JPEG2000_STREAM = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"


class ImageHeader(NamedTuple):
    """Size of an image [px], and the pixels of the largest tile that a decoder allocates."""

    width: int
    height: int
    tile_pixels: int = 0

    @property
    def pixels(self) -> int:
        """Pixels that a decoder allocates."""
        return max(self.width * self.height, self.tile_pixels)


def read_header(data: bytes) -> ImageHeader | None:
    """Header of the content of an image file; None for a format other than ``FORMATS``, or if it is cut off."""
    for start, read in _READERS.items():
        if data.startswith(start):
            try:
                return read(data)
            except (struct.error, IndexError):
                return None
    return None


def _png(data: bytes) -> ImageHeader:
    return ImageHeader(*struct.unpack_from(">II", data, 16))


def _jpeg(data: bytes) -> ImageHeader | None:
    """Largest of the sizes that the segments before the first scan have."""
    found, position = None, 2
    while marker := _JPEG_MARKER.search(data, position):
        kind, position = marker[1][0], marker.end()
        if kind in (_JPEG_SCAN, _JPEG_END):
            break
        if kind in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 3)
            found = max(found or ImageHeader(0, 0), ImageHeader(width, height), key=lambda header: header.pixels)
        position += struct.unpack_from(">H", data, position)[0]
    return found


def _bmp(data: bytes) -> ImageHeader:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_bytes == 12 else "<ii", data, 18)
    return ImageHeader(abs(width), abs(height))  # a negative height is an image from the top down


def _webp(data: bytes) -> ImageHeader | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return ImageHeader(*(1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27)))
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)
        return ImageHeader(1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF))
    width, height = struct.unpack_from("<HH", data, 26)
    return ImageHeader(width & 0x3FFF, height & 0x3FFF) if kind == b"VP8 " else None


def _tiff(data: bytes) -> ImageHeader:
    tags = Tags.of(data)
    return ImageHeader(tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0), tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_HEIGHT, 0))


def _pnm(data: bytes) -> ImageHeader | None:
    size = _PNM.match(data[:_PNM_CHARS])
    return None if size is None else ImageHeader(int(size[1]), int(size[2]))


def _jpeg2000(data: bytes) -> ImageHeader | None:
    """Size of the reference grid, which is that of the image or larger."""
    stream = data.find(_JPEG2000_STREAM)
    if stream < 0:
        return None
    right, bottom = struct.unpack_from(">II", data, stream + 8)
    return ImageHeader(right, bottom)


def _gif(data: bytes) -> ImageHeader:
    return ImageHeader(*struct.unpack_from("<HH", data, 6))


_READERS: dict[bytes, Callable[[bytes], ImageHeader | None]] = {
    b"\x89PNG": _png,
    b"\xff\xd8": _jpeg,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"RIFF": _webp,
    b"BM": _bmp,
    **{b"P%d" % number: _pnm for number in range(1, 7)},
    _JPEG2000_BOX: _jpeg2000,
    _JPEG2000_STREAM: _jpeg2000,
    b"GIF8": _gif,
}
