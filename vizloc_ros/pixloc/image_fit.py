"""How an image becomes one that the network takes."""

import cv2

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ImageError
from vizloc_ros.pixloc.network.config import COARSEST

_MIN_SIDE = 2 * COARSEST


def fitted_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(width, height) in multiples of 32, the longer side at most ``long_side``, of an image of (width, height).

    Neither cropped nor padded: the sides are scaled apart by a few per cent, which features carry along exactly.

    Raises:
        ImageError: the image is too small or too long.
    """
    factor = min(1.0, long_side // COARSEST * COARSEST / max(size))
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
