"""Resizing, cropping and padding of images for the network, and keypoints in the pixels of the original image."""

from dataclasses import dataclass

import cv2
import numpy as np

from vizloc_ros.arrays import Bool, Float32, UInt8
from vizloc_ros.errors import ImageError
from vizloc_ros.features.hfnet.hfnet_config import CELL

BORDER = 4  # keypoints closer to the border, or to padding, are artifacts of it [px]
_MIN_SIDE = 2 * CELL  # minimum side of the network's input [px]
_COARSEST_CELL = 32  # stride of the global head: none of its cells may be padding only [px]


@dataclass(frozen=True)
class FittedImage:
    """Input image of the network, resized and cropped or padded.

    Attributes:
        pixels: (H, W) uint8 gray values, contiguous.
        scale: (x, y) size of a pixel in pixels of the original image.
        shown: (width, height) of the part without padding [px].
    """

    pixels: UInt8
    scale: tuple[float, float]
    shown: tuple[int, int]

    def original(self, points: Float32) -> Float32:
        """Move (N, 2) pixels to the original image; (0, 0) is the centre of the top-left pixel in both."""
        scale = np.array(self.scale, np.float32)
        return (points + np.float32(0.5)) * scale - np.float32(0.5)

    def inside(self, points: Float32) -> Bool:
        """Mask (N,) of (N, 2) points farther than ``BORDER`` from the right and lower border, or from padding."""
        right, bottom = (side - BORDER for side in self.shown)
        return (points[:, 0] < right) & (points[:, 1] < bottom)


def shrink_to_cells(gray: UInt8, long_side: int, size: tuple[int, int] | None, multiple: int = CELL) -> FittedImage:
    """Shrink an image (HF-Net, appendix C.2), then crop it to whole cells or pad it by less than a global cell.

    The scale depends on ``long_side`` alone: networks of different fixed sizes for one map get the same pixels.

    Args:
        gray: (H, W) image.
        long_side: length of the longer side after shrinking; images are never enlarged [px].
        size: (width, height) of the network's input [px]; None for any that fits.
        multiple: number that both sides of the input must be multiples of [px]. The image is cropped at the right and
            the bottom to multiples of 8, and for a larger number padded.

    Raises:
        ImageError: the image is too small, or does not fit ``size``.
    """
    height, width = gray.shape
    factor = min(1.0, long_side / max(width, height))
    shrunk = (round(width * factor), round(height * factor))
    if min(shrunk) < _MIN_SIDE:
        raise ImageError(
            f"an image of {width}x{height} is too small to find features in: at a long side of {max(shrunk)} its sides "
            f"are {shrunk[0]} and {shrunk[1]}, and must be at least {_MIN_SIDE}"
        )
    whole = (shrunk[0] // CELL * CELL, shrunk[1] // CELL * CELL)
    size = size or (-(-whole[0] // multiple) * multiple, -(-whole[1] // multiple) * multiple)
    if not all(0 <= side - own < _COARSEST_CELL for side, own in zip(size, whole, strict=True)):
        raise ImageError(
            f"the weights were exported for images of {size[0]}x{size[1]}, and one of {width}x{height} is "
            f"{shrunk[0]}x{shrunk[1]} at a long side of {long_side}: export them with --size {whole[0]}x{whole[1]}"
        )
    shown = (min(shrunk[0], size[0]), min(shrunk[1], size[1]))
    resized = gray if factor == 1 else cv2.resize(gray, shrunk, interpolation=cv2.INTER_AREA)
    pixels = cv2.copyMakeBorder(
        resized[: shown[1], : shown[0]], 0, size[1] - shown[1], 0, size[0] - shown[0], cv2.BORDER_REPLICATE
    )
    return FittedImage(pixels, (width / shrunk[0], height / shrunk[1]), shown)
