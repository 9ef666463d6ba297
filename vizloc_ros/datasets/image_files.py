"""Reader of image files; every problem of a file is an ``ImageError`` that names it."""

from pathlib import Path

import cv2
import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.bit_depth import BitDepth
from vizloc_ros.errors import ImageError

# An EXIF rotation is not applied: the calibration belongs to the pixels in their stored order.
DECODE_FLAGS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_PNG_START, _PNG_END = b"\x89PNG", b"IEND\xaeB`\x82"
_PNG_SIZE_END = 24  # bytes: the signature, the first chunk's length and name, width, height
_JPEG_START, _JPEG_END, _JPEG_SCAN = b"\xff\xd8\xff", b"\xff\xd9", 0xDA


def read_image(path: Path, size: tuple[int, int] | None = None) -> UInt8:
    """Read an image file.

    Args:
        path: path of the file.
        size: (width, height) [px] of the calibration; None accepts any.

    Returns:
        (H, W) gray or (H, W, 3) BGR, uint8, as stored.

    Raises:
        ImageError: the file is missing, truncated, not an image, not of 8 or 16 bits, or of another size.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    image = decode_image(data, str(path))
    height, width = image.shape[:2]
    if size is not None and (width, height) != size:
        raise ImageError(
            f"{path}: the image is {width}x{height} px but the calibration is for {size[0]}x{size[1]}: "
            "use the calibration of these images"
        )
    return image


def image_size(path: Path) -> tuple[int, int]:
    """Size (width, height) [px] of an image; of a PNG, from its header. Raises ``ImageError`` as ``read_image``."""
    try:
        with path.open("rb") as file:
            header = file.read(_PNG_SIZE_END)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    if header.startswith(_PNG_START) and len(header) == _PNG_SIZE_END:
        return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")
    height, width = read_image(path).shape[:2]
    return width, height


def decode_image(data: bytes, name: str, depth: BitDepth | None = None) -> UInt8:
    """Decode the bytes of a PNG, JPEG or any other format of OpenCV; bytes behind the end marker do not matter.

    Args:
        data: content of the file.
        name: name of the image for error messages.
        depth: bits in use by the images of the camera; None: by this image.

    Returns:
        (H, W) gray or (H, W, 3) BGR, uint8; 16-bit images are scaled by the bits in use.

    Raises:
        ImageError: the data is empty, truncated, not an image, or not of 8 or 16 bits.
    """
    if not data:
        raise ImageError(f"{name}: the image is empty (0 bytes)")
    if _is_cut_off(data):
        raise ImageError(f"{name}: the image is truncated: its end marker is missing: copy it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), DECODE_FLAGS)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded: {error.err}") from error
    if image is None:
        raise ImageError(f"{name}: not an image that OpenCV can decode ({len(data)} bytes)")
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{name}: the image has {image.dtype} pixels; convert it to 8 or 16 bit")
    return (depth or BitDepth()).eight_bits(image)


def _is_cut_off(data: bytes) -> bool:
    """Return true for a PNG or JPEG without its end marker. Some decoders fill the rest of the image with gray.

    Streams of cameras pad frames behind the end marker, with zeros or with the rest of an earlier frame.
    """
    if data.startswith(_PNG_START):
        return _PNG_END not in data
    return data.startswith(_JPEG_START) and data.find(_JPEG_END, _first_scan(data)) < 0


def _first_scan(data: bytes) -> int:
    """Index of the first scan of a JPEG, behind segments that may hold a thumbnail with an end marker of its own."""
    index = 2
    while index + 4 <= len(data) and data[index] == 0xFF:
        marker = data[index + 1]
        if marker == 0xFF:  # fill byte
            index += 1
        elif marker == _JPEG_SCAN:
            return index
        else:
            index += 2 + int.from_bytes(data[index + 2 : index + 4], "big")
    return len(data)
