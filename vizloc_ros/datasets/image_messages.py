"""Gray images from ``sensor_msgs/Image`` and ``CompressedImage``, without cv_bridge."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.image_encodings import gray_pixels
from vizloc_ros.datasets.image_files import ImageSource, decode_image
from vizloc_ros.datasets.image_headers import MAX_FILE_PIXELS, read_header
from vizloc_ros.datasets.interlacing import is_interlaced
from vizloc_ros.datasets.jpeg_damage import is_shifted
from vizloc_ros.datasets.row_shifts import has_shifted_rows
from vizloc_ros.errors import ImageError
from vizloc_ros.wording import short_text

_LOG = logging.getLogger(__name__)
_DEPTH_WORDS = ("depth", "disparity")
_PICTURE_WORDS = ("ir", "infra", "infra1", "infra2", "infrared", "intensity", "amplitude", "thermal", "color", "rgb")
_HEADER_BYTES = 1 << 16  # of a message, in which its size mostly is
_MIN_CONTRAST = 8  # gray levels; sensor noise of a covered lens stays below
_JPEG = b"\xff\xd8\xff"


class ImageDecoder:
    """Decoder of the images of one topic, with what these have in common: bit depth, and faults named once."""

    def __init__(
        self, topic: str, warn: Callable[[str], None] = _LOG.warning, max_pixels: int = MAX_FILE_PIXELS
    ) -> None:
        """Begin a topic.

        Args:
            topic: name of the topic.
            warn: receiver of each fault that does not make an image useless, once.
            max_pixels: pixels above which an image is refused before it is decoded.
        """
        self._topic = topic
        self._source = ImageSource(topic, warn=warn, max_pixels=max_pixels)

    def size(self, msg: Any) -> tuple[int, int] | None:
        """Size (width, height) [px] by the header of a compressed image; None for a raw one, or if it is not known."""
        header = read_header(bytes(memoryview(msg.data)[:_HEADER_BYTES])) if hasattr(msg, "format") else None
        return None if header is None else (header.width, header.height)

    def gray(self, msg: Any) -> UInt8:
        """Gray image (H, W) of a message. Raises ``ImageError`` as the functions for the two messages."""
        is_compressed = hasattr(msg, "format")
        encoding = short_text(msg.format if is_compressed else msg.encoding)
        if is_depth(self._topic, encoding):
            raise ImageError(
                f"image encoding '{encoding}' is a depth or float image, not something a camera sees: {self._topic} "
                "is not the topic of a camera's image"
            )
        return gray_from_compressed(msg, self._source) if is_compressed else gray_from_image(msg, self._source)


def is_depth(topic: str, encoding: str) -> bool:
    """Tell depth images from pictures of an infrared camera: both may be 16UC1, and then the topic decides.

    The last part of its name that speaks of depth or of a picture counts: /depth_camera/ir/image is a picture,
    /camera/aligned_depth_to_infra1/image_raw is not.

    Args:
        topic: name of the topic.
        encoding: encoding of an ``Image``, or format of a ``CompressedImage``.
    """
    if "compressedDepth" in encoding:
        return True
    if not encoding.startswith("16UC1"):
        return encoding.startswith(("16SC1", "32FC1", "64FC1"))
    for part in reversed(topic.lower().split("/")):
        if any(word in part for word in _DEPTH_WORDS):
            return True
        if any(word in _PICTURE_WORDS for word in part.split("_")):
            return False
    return False


def gray_from_image(msg: Any, source: ImageSource | None = None) -> UInt8:
    """Gray image (H, W) of a message; for mono8 without padding, a view of the message's data.

    Args:
        msg: the message, of rclpy or of rosbags.
        source: source of the image, which scales more than 8 bits; None: the image stands alone.

    Raises:
        ImageError: the encoding is not supported, the data do not fit width, height and step, or it is too large.
    """
    source = source or ImageSource("image")
    source.require_size(msg.width, msg.height, f"image '{short_text(msg.encoding)}'")
    return gray_pixels(msg, source.to_8_bit)


def gray_from_compressed(msg: Any, source: ImageSource | None = None) -> UInt8:
    """Gray image (H, W) of a JPEG, a PNG or another format of OpenCV, decoded like the image files of a dataset.

    Args:
        msg: the message, of rclpy or of rosbags.
        source: source of the image; None: the image stands alone.

    Raises:
        ImageError: it is a depth image, or the data are not a complete image.
    """
    if "compressedDepth" in msg.format:
        raise ImageError(
            f"compressed image format '{short_text(msg.format)}' is a depth image: subscribe to a camera's image"
        )
    image = decode_image(bytes(msg.data), f"compressed image ('{short_text(msg.format)}')", source)
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


def check_damage(gray: UInt8, msg: Any) -> None:
    """Raise ``ImageError`` if the (H, W) image of a message is a damaged JPEG, of two moments, or jitters.

    See ``jpeg_damage``, ``interlacing`` and ``row_shifts``.
    """
    if hasattr(msg, "format") and bytes(msg.data[:3]) == _JPEG and is_shifted(gray):
        raise ImageError(
            "the JPEG is damaged: a part of the image is shifted by whole blocks. Does the network or the driver "
            "lose or change bytes?"
        )
    if is_interlaced(gray):
        raise ImageError(
            "every second row of the image is of another moment: deinterlace it in the driver, or does that write "
            "into an image that it has sent already?"
        )
    if has_shifted_rows(gray):
        raise ImageError(
            "rows of the image are shifted sideways against each other: a bad cable, or a lost synchronization?"
        )
