"""Reader of image files; every problem of a file is an ``ImageError`` that names it."""

from pathlib import Path

import cv2
import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ImageError

# An EXIF rotation is not applied: the calibration belongs to the pixels in their stored order.
DECODE_FLAGS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
# Last bytes of every complete file of a format. Some decoders fill the rest of a truncated file with gray.
END_MARKERS = {b"\x89PNG": b"IEND\xaeB`\x82", b"\xff\xd8\xff": b"\xff\xd9"}
END_SEARCHED_BYTES = 4096


def read_image(path: Path, size: tuple[int, int] | None = None) -> UInt8:
    """Read an image file.

    Args:
        path: path of the file.
        size: (width, height) [px] of the calibration; None accepts any.

    Returns:
        (H, W) gray or (H, W, 3) BGR, uint8, as stored.

    Raises:
        ImageError: the file is missing, truncated, not an image, not 8 bit, or of another size.
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


def decode_image(data: bytes, name: str) -> UInt8:
    """Decode the bytes of a PNG, JPEG or any other format of OpenCV.

    Args:
        data: content of the file.
        name: name of the image for error messages.

    Returns:
        (H, W) gray or (H, W, 3) BGR, uint8.

    Raises:
        ImageError: the data is empty, truncated, not an image, or not 8 bit.
    """
    if not data:
        raise ImageError(f"{name}: the image is empty (0 bytes)")
    for start, end in END_MARKERS.items():
        if data.startswith(start) and end not in data[-END_SEARCHED_BYTES:]:
            raise ImageError(f"{name}: the image is truncated after {len(data)} bytes: copy it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), DECODE_FLAGS)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded: {error.err}") from error
    if image is None:
        raise ImageError(f"{name}: not an image that OpenCV can decode ({len(data)} bytes)")
    if image.dtype != np.uint8:
        raise ImageError(f"{name}: the image has {image.dtype} pixels; convert it to 8 bit")
    return np.asarray(image, dtype=np.uint8)
