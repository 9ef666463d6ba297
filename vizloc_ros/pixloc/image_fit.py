"""How an image becomes one that the network takes."""

from math import sqrt

import cv2

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ImageError
from vizloc_ros.pixloc.network.pixloc_config import COARSEST

_MIN_SIDE = 2 * COARSEST


def fitted_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(width, height) in multiples of 32 that an image of (width, height) is scaled to.

    The longer side is at most ``long_side``, and the area about half of its square: a picture of 4:3 would take twice
    the time of one that is as wide as a street, and shows sky and road in it.

    Neither cropped nor padded: the sides are scaled apart by a few per cent, which features carry along exactly.

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


def fit_image(gray: UInt8, long_side: int) -> UInt8:
    """(H, W) gray image at ``fitted_size``. Raises ``ImageError`` as that does."""
    height, width = gray.shape
    size = fitted_size((width, height), long_side)
    if size == (width, height):
        return gray
    shrinks = size[0] <= width and size[1] <= height
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
