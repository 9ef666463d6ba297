"""Gray images, the input of all networks, from gray or color images."""

import cv2
import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ImageError


def gray_image(image: UInt8) -> UInt8:
    """Turn an (H, W) gray or (H, W, 3) BGR image into gray. Raises ``ImageError`` for anything else."""
    if image.dtype != np.uint8 or image.size == 0 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        raise ImageError(
            f"an image must be (H, W) gray or (H, W, 3) BGR of 8 bit, not {image.dtype} of shape {image.shape}"
        )
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
