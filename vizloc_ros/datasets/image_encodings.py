"""Encodings of ``sensor_msgs/Image`` that show a picture, and the gray pixels of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from vizloc_ros.arrays import UInt8, UInt16
from vizloc_ros.errors import ImageError
from vizloc_ros.wording import short_text

ToEightBit = Callable[[UInt16], UInt8]

# Codes of OpenCV by the number of channels; the names of ROS begin with the color of the first channel.
_COLORS = {
    "bgr": (3, cv2.COLOR_BGR2GRAY),
    "rgb": (3, cv2.COLOR_RGB2GRAY),
    "bgra": (4, cv2.COLOR_BGRA2GRAY),
    "rgba": (4, cv2.COLOR_RGBA2GRAY),
}
# OpenCV names a Bayer pattern by its second row, ROS by its first: bayer_rggb8 is OpenCV's BayerBG.
_BAYER = {
    "bayer_rggb": cv2.COLOR_BayerBG2GRAY,
    "bayer_bggr": cv2.COLOR_BayerRG2GRAY,
    "bayer_gbrg": cv2.COLOR_BayerGR2GRAY,
    "bayer_grbg": cv2.COLOR_BayerGB2GRAY,
}
# Encoding: bytes of a channel, channels, and the code of OpenCV that makes them gray; None: they are gray.
_PIXELS: dict[str, tuple[int, int, int | None]] = {
    **dict.fromkeys(("mono8", "8uc1"), (1, 1, None)),
    **dict.fromkeys(("mono10", "mono12", "mono14", "mono16", "16uc1"), (2, 1, None)),
    **{f"{name}{8 * size}": (size, *color) for size in (1, 2) for name, color in _COLORS.items()},
    **{f"{8 * size}uc{len(name)}": (size, *_COLORS[name]) for size in (1, 2) for name in ("bgr", "bgra")},
    **{f"{name}{bits}": (1 + (bits > 8), 1, code) for name, code in _BAYER.items() for bits in (8, 10, 12, 14, 16)},
}
# Index of the luma among the two bytes of a pixel; ROS's yuv422 is uyvy.
_LUMA_BYTE = {"uyvy": 1, "yuv422": 1, "vyuy": 1, "yuyv": 0, "yuv422_yuy2": 0, "yuy2": 0, "yvyu": 0}
# Bytes for each pixel in all planes, of which the first is the luma.
_PLANAR = {
    **dict.fromkeys(("nv12", "nv21", "i420", "yv12", "yuv420"), 1.5),
    **dict.fromkeys(("nv16", "nv61"), 2.0),
    **dict.fromkeys(("nv24", "nv42"), 3.0),
}
SUPPORTED_ENCODINGS = tuple(name.replace("uc", "UC") for name in (*_PIXELS, *_LUMA_BYTE, *_PLANAR))
# Names of GenICam, which begin with the first two colors of the pattern.
_GENICAM = {f"bayer{name[6:8]}": name for name in _BAYER}
_GENICAM_PREFIX_CHARS = len("bayerrg")
_DEPTH_OR_FLOAT = ("16sc1", "32fc1", "64fc1", "32sc1")


def gray_pixels(msg: Any, to_8_bit: ToEightBit) -> UInt8:
    """Gray pixels (H, W) of a message; for mono8 without padding, a view of the message's data.

    Args:
        msg: ``sensor_msgs/Image``, of rclpy or of rosbags.
        to_8_bit: scale of encodings with more than 8 bits.

    Raises:
        ImageError: the encoding is not supported, or the data do not fit width, height and step.
    """
    encoding = _usual_name(msg.encoding)
    if encoding in _LUMA_BYTE:
        return np.ascontiguousarray(_pixels(msg, 2).reshape(msg.height, msg.width, 2)[..., _LUMA_BYTE[encoding]])
    if encoding in _PLANAR:
        return _first_plane(msg, _PLANAR[encoding])
    if encoding not in _PIXELS:
        kind = "is a depth or float image, not something a camera sees" if encoding in _DEPTH_OR_FLOAT else "is unknown"
        raise ImageError(
            f"image encoding '{short_text(msg.encoding)}' {kind}; supported are {', '.join(SUPPORTED_ENCODINGS)}"
        )
    size, channels, code = _PIXELS[encoding]
    pixels = _pixels(msg, size * channels)
    if size == 2:
        pixels = to_8_bit(np.ascontiguousarray(pixels).view(">u2" if msg.is_bigendian else "<u2").astype(np.uint16))
    if channels > 1:
        pixels = pixels.reshape(msg.height, msg.width, channels)
    return np.ascontiguousarray(pixels) if code is None else np.asarray(cv2.cvtColor(pixels, code), dtype=np.uint8)


def _usual_name(encoding: str) -> str:
    """Name of an encoding as ROS writes it, in small letters: GenICam's BayerRG8 is bayer_rggb8."""
    name = encoding.lower()
    prefix = name[:_GENICAM_PREFIX_CHARS]
    return _GENICAM[prefix] + name[_GENICAM_PREFIX_CHARS:] if prefix in _GENICAM else name


def _pixels(msg: Any, bytes_per_pixel: int) -> UInt8:
    """View (H, W * bytes_per_pixel) of the data without the padding of rows."""
    height, width, step = msg.height, msg.width, msg.step
    described = f"image '{short_text(msg.encoding)}' of {width}x{height} px"
    if width == 0 or height == 0:
        raise ImageError(f"{described} is empty")
    if step < width * bytes_per_pixel:
        raise ImageError(f"{described}: step is {step} bytes, a row needs {width * bytes_per_pixel}")
    if len(msg.data) != step * height:
        raise ImageError(f"{described}: {len(msg.data)} bytes of data, step * height is {step * height}")
    return np.frombuffer(msg.data, np.uint8).reshape(height, step)[:, : width * bytes_per_pixel]


def _first_plane(msg: Any, bytes_per_pixel: float) -> UInt8:
    """Luma (H, W) of an image in planes, which drivers describe in three ways.

    ``step`` and ``height`` are those of the luma, and the data are longer; or ``height`` counts the rows of all planes;
    or ``step`` counts the bytes of a row in all planes.
    """
    height, width, step = msg.height, msg.width, msg.step
    described = f"image '{short_text(msg.encoding)}' of {width}x{height} px"
    if width == 0 or height == 0:
        raise ImageError(f"{described} is empty")
    if step < width:
        raise ImageError(f"{described}: step is {step} bytes, a row needs {width}")
    data = np.frombuffer(msg.data, np.uint8)
    if len(data) >= int(step * height * bytes_per_pixel):
        return np.ascontiguousarray(data[: step * height].reshape(height, step)[:, :width])
    if len(data) == step * height and step >= int(width * bytes_per_pixel):
        return np.ascontiguousarray(data[: width * height].reshape(height, width))
    rows = round(height / bytes_per_pixel)
    if len(data) == step * height and round(rows * bytes_per_pixel) == height:
        return np.ascontiguousarray(data[: step * rows].reshape(rows, step)[:, :width])
    raise ImageError(
        f"{described}: {len(data)} bytes of data, step * height * {bytes_per_pixel:g} is "
        f"{int(step * height * bytes_per_pixel)}"
    )
