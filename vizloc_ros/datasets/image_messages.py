"""Gray images from ``sensor_msgs/Image`` and ``CompressedImage`` of any library, without cv_bridge."""

from typing import Any

import cv2
import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.image_files import decode_image
from vizloc_ros.errors import ImageError

# OpenCV names a Bayer pattern by its second row, ROS by its first: bayer_rggb8 is OpenCV's BayerBG.
_COLOR_CODES = {
    "bgr8": (3, cv2.COLOR_BGR2GRAY),
    "8UC3": (3, cv2.COLOR_BGR2GRAY),
    "rgb8": (3, cv2.COLOR_RGB2GRAY),
    "bgra8": (4, cv2.COLOR_BGRA2GRAY),
    "8UC4": (4, cv2.COLOR_BGRA2GRAY),
    "rgba8": (4, cv2.COLOR_RGBA2GRAY),
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2GRAY),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2GRAY),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2GRAY),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2GRAY),
}
_LUMA_BYTE = {"uyvy": 1, "yuv422": 1, "yuyv": 0, "yuv422_yuy2": 0}  # index of Y among the two bytes of a pixel
_PLAIN = ("mono8", "8UC1")
SUPPORTED_ENCODINGS = (*_PLAIN, "mono16", *_COLOR_CODES, *_LUMA_BYTE)
_DEPTH_ENCODINGS = ("16UC1", "16SC1", "32FC1", "64FC1")
_MIN_CONTRAST = 8  # gray levels; sensor noise of a covered lens stays below


def gray_from_image(msg: Any) -> UInt8:
    """Gray image (H, W) of a message; for mono8 without padding, a view of the message's data.

    Of mono16, the upper byte is kept. Raises ``ImageError`` for an encoding that is not supported, and for data that do
    not fit width, height and step.
    """
    encoding = msg.encoding
    if encoding in _PLAIN:
        return np.ascontiguousarray(_pixels(msg, 1))
    if encoding == "mono16":
        return np.ascontiguousarray(_pixels(msg, 2)[..., 0 if msg.is_bigendian else 1])
    if encoding in _LUMA_BYTE:
        return np.ascontiguousarray(_pixels(msg, 2)[..., _LUMA_BYTE[encoding]])
    if encoding in _COLOR_CODES:
        channels, code = _COLOR_CODES[encoding]
        return np.asarray(cv2.cvtColor(_pixels(msg, channels), code), dtype=np.uint8)
    kind = "is a depth or float image, not something a camera sees" if encoding in _DEPTH_ENCODINGS else "is unknown"
    raise ImageError(f"image encoding '{encoding}' {kind}; supported are {', '.join(SUPPORTED_ENCODINGS)}")


def gray_from_compressed(msg: Any) -> UInt8:
    """Gray image (H, W) of a JPEG, a PNG or another format of OpenCV, decoded like the image files of a dataset.

    Raises ``ImageError`` for a depth image, and for data that are not a complete image.
    """
    if "compressedDepth" in msg.format:
        raise ImageError(f"compressed image format '{msg.format}' is a depth image: subscribe to a camera's image")
    image = decode_image(bytes(msg.data), f"compressed image ('{msg.format}')")
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def check_exposure(gray: UInt8) -> None:
    """Raise ``ImageError`` for an (H, W) image with hardly any contrast: black, white or of one gray."""
    darkest, brightest = int(gray.min()), int(gray.max())
    if brightest - darkest >= _MIN_CONTRAST:
        return
    if brightest < _MIN_CONTRAST:
        raise ImageError(
            f"the image is black (brightest pixel {brightest}): is the lens covered, the exposure too short?"
        )
    if darkest > 255 - _MIN_CONTRAST:
        raise ImageError(f"the image is white (darkest pixel {darkest}): is the exposure too long?")
    raise ImageError(f"the image is of one gray ({darkest} to {brightest}): is the lens covered or fogged?")


def _pixels(msg: Any, bytes_per_pixel: int) -> UInt8:
    """View of the data without the padding of rows: (H, W) for one byte per pixel, else (H, W, bytes_per_pixel)."""
    height, width, step = msg.height, msg.width, msg.step
    described = f"image '{msg.encoding}' of {width}x{height} px"
    if width == 0 or height == 0:
        raise ImageError(f"{described} is empty")
    if step < width * bytes_per_pixel:
        raise ImageError(f"{described}: step is {step} bytes, a row needs {width * bytes_per_pixel}")
    if len(msg.data) != step * height:
        raise ImageError(f"{described}: {len(msg.data)} bytes of data, step * height is {step * height}")
    rows = np.frombuffer(msg.data, np.uint8).reshape(height, step)[:, : width * bytes_per_pixel]
    return rows if bytes_per_pixel == 1 else rows.reshape(height, width, bytes_per_pixel)
