"""Gray images from ``sensor_msgs/Image`` and ``CompressedImage`` of any library, without cv_bridge."""

from typing import Any

import cv2
import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.bit_depth import BitDepth
from vizloc_ros.datasets.image_files import decode_image
from vizloc_ros.errors import ImageError
from vizloc_ros.wording import name_text

# OpenCV names a Bayer pattern by its second row, ROS by its first: bayer_rggb8 is OpenCV's BayerBG.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2GRAY,
    "bggr": cv2.COLOR_BayerRG2GRAY,
    "gbrg": cv2.COLOR_BayerGR2GRAY,
    "grbg": cv2.COLOR_BayerGB2GRAY,
}
_COLORS = {
    "bgr": (3, cv2.COLOR_BGR2GRAY),
    "rgb": (3, cv2.COLOR_RGB2GRAY),
    "bgra": (4, cv2.COLOR_BGRA2GRAY),
    "rgba": (4, cv2.COLOR_RGBA2GRAY),
}
# Channels of an encoding, code of OpenCV (None: gray already), and bytes of a channel.
_PIXELS: dict[str, tuple[int, int | None, int]] = {
    "mono8": (1, None, 1),
    "8UC1": (1, None, 1),
    "mono16": (1, None, 2),
    "16UC1": (1, None, 2),
    "8UC3": (3, cv2.COLOR_BGR2GRAY, 1),
    "8UC4": (4, cv2.COLOR_BGRA2GRAY, 1),
    "16UC3": (3, cv2.COLOR_BGR2GRAY, 2),
    "16UC4": (4, cv2.COLOR_BGRA2GRAY, 2),
    **{f"{name}{8 * size}": (*color, size) for size in (1, 2) for name, color in _COLORS.items()},
    **{f"bayer_{name}{8 * size}": (1, code, size) for size in (1, 2) for name, code in _BAYER.items()},
}
_LUMA_BYTE = {"uyvy": 1, "yuv422": 1, "yuyv": 0, "yuv422_yuy2": 0}  # index of Y among the two bytes of a pixel
# Encodings whose first plane is the luma, with the bytes of the other planes for each byte of the first, times two.
_PLANAR = {"nv12": 1, "nv21": 1, "i420": 1, "yv12": 1, "nv16": 2, "nv61": 2, "nv24": 4, "nv42": 4}
SUPPORTED_ENCODINGS = (*_PIXELS, *_LUMA_BYTE, *_PLANAR)
_DEPTH_ENCODINGS = ("16SC1", "32FC1", "64FC1")
_MIN_CONTRAST = 8  # gray levels; sensor noise of a covered lens stays below


def gray_from_image(msg: Any, topic: str = "", depth: BitDepth | None = None) -> UInt8:
    """Gray image (H, W) of a message; for mono8 without padding, a view of the message's data.

    Args:
        msg: the message.
        topic: name of its topic: 16UC1 is a depth image on a topic of depth, and an infrared one on others.
        depth: bits in use by the images of 16 bits of the camera; None: by this image.

    Raises:
        ImageError: the encoding is not supported, or the data do not fit width, height and step.
    """
    encoding = msg.encoding
    if encoding in _LUMA_BYTE:
        return np.ascontiguousarray(_pixels(msg, 2)[..., _LUMA_BYTE[encoding]])
    if encoding in _PLANAR:
        return np.ascontiguousarray(_luma(msg))
    if encoding in _PIXELS and not (encoding == "16UC1" and _is_depth_topic(topic)):
        channels, code, size = _PIXELS[encoding]
        pixels = _pixels(msg, channels * size)
        if size == 2:
            words = np.ascontiguousarray(pixels).view(">u2" if msg.is_bigendian else "<u2")
            pixels = (depth or BitDepth()).eight_bits(words if channels > 1 else words[..., 0])
        if code is None:
            return np.ascontiguousarray(pixels)
        return np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)
    if encoding in _DEPTH_ENCODINGS or encoding == "16UC1":
        raise ImageError(f"image encoding '{encoding}' is a depth or float image, not something a camera sees")
    supported = ", ".join(SUPPORTED_ENCODINGS)
    raise ImageError(f"image encoding {name_text(encoding)} is unknown; supported are {supported}")


def gray_from_compressed(msg: Any, topic: str = "", depth: BitDepth | None = None) -> UInt8:
    """Gray image (H, W) of a JPEG, a PNG or another format of OpenCV, decoded like the image files of a dataset.

    Args:
        msg: the message.
        topic: name of its topic, as for ``gray_from_image``.
        depth: bits in use by the images of 16 bits of the camera; None: by this image.

    Raises:
        ImageError: it is a depth image, or the data are not a complete image.
    """
    encoding = msg.format.partition(";")[0].strip()
    if (
        "compressedDepth" in msg.format
        or encoding in _DEPTH_ENCODINGS
        or (encoding == "16UC1" and _is_depth_topic(topic))
    ):
        raise ImageError(f"compressed image format '{msg.format}' is a depth image: subscribe to a camera's image")
    image = decode_image(bytes(msg.data), f"compressed image ({name_text(msg.format)})", depth)
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


def _is_depth_topic(topic: str) -> bool:
    """Return true for the name of a depth image, such as /camera/aligned_depth_to_color/image_raw."""
    parts = topic.lower().split("/")
    return any("depth" in part for part in parts) and not any(part.startswith(("infra", "ir")) for part in parts)


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
    described = _require_size(msg)
    if step < width * bytes_per_pixel:
        raise ImageError(f"{described}: step is {step} bytes, a row needs {width * bytes_per_pixel}")
    if len(msg.data) != step * height:
        raise ImageError(f"{described}: {len(msg.data)} bytes of data, step * height is {step * height}")
    rows = np.frombuffer(msg.data, np.uint8).reshape(height, step)[:, : width * bytes_per_pixel]
    return rows if bytes_per_pixel == 1 else rows.reshape(height, width, bytes_per_pixel)


def _luma(msg: Any) -> UInt8:
    """View (H, W) of the first plane without the padding of its rows.

    Drivers give the step of the luma, or divide all bytes by the height.
    """
    height, width, step = msg.height, msg.width, msg.step
    described = _require_size(msg)
    other_rows = -(-height * _PLANAR[msg.encoding] // 2)  # of the step of the luma; odd heights are rounded up
    if len(msg.data) == step * height and step > width:
        step = step * height // (height + other_rows)
    if step < width or len(msg.data) < step * height:
        needed = width * (height + other_rows)
        raise ImageError(f"{described}: step is {msg.step} bytes and there are {len(msg.data)}; {needed} are needed")
    return np.frombuffer(msg.data, np.uint8)[: step * height].reshape(height, step)[:, :width]


def _require_size(msg: Any) -> str:
    """Text that describes an image. Raises ``ImageError`` if it is empty."""
    described = f"image '{msg.encoding}' of {msg.width}x{msg.height} px"
    if msg.width == 0 or msg.height == 0:
        raise ImageError(f"{described} is empty")
    return described
