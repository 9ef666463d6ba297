"""Scaling of images to the sizes that the PixLoc network accepts."""

from math import sqrt

import cv2

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ImageError
from vizloc_ros.pixloc.network.pixloc_config import COARSEST

_MIN_SIDE = 2 * COARSEST


def fitted_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Return the (width, height), multiples of 32, to which an image of (width, height) is scaled.

    The longer side is at most ``long_side``, and the area about half of its square: an image of 4:3 would take twice
    the time of a wide one, for more sky and road.

    The image is neither cropped nor padded: the scales of its sides differ by a few percent, which the scales of the
    feature levels contain exactly.

    Raises:
        ImageError: the image is too small or too long.
    """
    longest = long_side // COARSEST * COARSEST
    factor = min(1.0, longest / max(size), longest / sqrt(2 * size[0] * size[1]))
    width, height = (max(COARSEST, round(side * factor / COARSEST) * COARSEST) for side in size)
    if min(size) < _MIN_SIDE or min(width, height) < _MIN_SIDE:
        raise ImageError(
            f"an image of {size[0]}x{size[1]} is too small, or too long, to be aligned: at a long side of {long_side} "
            f"its sides must be at least {_MIN_SIDE}"
        )
    return width, height


def scale_to_multiples(gray: UInt8, long_side: int) -> UInt8:
    """Scale a (H, W) gray image to its ``fitted_size``. Raises ``ImageError`` as that does."""
    height, width = gray.shape
    size = fitted_size((width, height), long_side)
    if size == (width, height):
        return gray
    shrinks = size[0] <= width and size[1] <= height
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
