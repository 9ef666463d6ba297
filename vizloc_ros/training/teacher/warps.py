"""Geometric augmentation: other viewpoints of training images, for both teacher and student.

HF-Net was trained without it, on photographs from many viewpoints (HF-Net, section 5.2). A drive has few viewpoints.
"""

from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.features.hfnet.hfnet_config import CELL
from vizloc_ros.options import Options
from vizloc_ros.training.augmentation import Range, log_uniform


class Warps(Options):
    """Warped views of an image.

    Attributes:
        ratio: fraction of the crops that come from warped views.
        variants: number of views of each image; the teacher processes each.
        side: side of the square view [px].
        rotation: maximum rotation, in both directions [deg].
        scale: range of the magnification, drawn on a logarithmic scale.
        perspective: maximum shift of a corner [fraction of the side].
        descriptors: where the teacher's descriptors come from: the ``view``, or the ``image`` that it was made from, so
            that the student describes a rotated or scaled pixel like the original one.
    """

    ratio: float = Field(default=0.0, ge=0, le=1)
    variants: int = Field(default=1, ge=1)
    side: int = Field(default=256, ge=32, multiple_of=CELL)
    rotation: float = Field(default=45, ge=0, le=180)
    scale: Range = (0.6, 1.5)
    perspective: float = Field(default=0.15, ge=0, lt=0.5)
    descriptors: Literal["view", "image"] = "view"

    def apply(self, image: UInt8, rng: np.random.Generator) -> tuple[UInt8, Float64]:
        """Make a random view of a (H, W) image, which is mirrored at its borders.

        Returns:
            The view (side, side), and the (3, 3) homography from its pixels to those of the image.
        """
        size = (self.side, self.side)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image_from_view = self._image_from_view(image.shape[1], image.shape[0], rng)
        smooth = _without_aliases(image, image_from_view, self.side)
        view = cv2.warpPerspective(smooth, image_from_view, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        return view.astype(np.uint8), image_from_view

    def _image_from_view(self, width: int, height: int, rng: np.random.Generator) -> Float64:
        """(3, 3) homography of a random square in the image: scaled, rotated, and with moved corners."""
        angle = np.radians(rng.uniform(-self.rotation, self.rotation))
        scale = log_uniform(self.scale, rng)
        corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
        corners += rng.uniform(-self.perspective, self.perspective, (4, 2))
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        quadrangle = corners @ rotation.T * self.side / scale
        margin = np.minimum(self.side / scale, [width, height]) / 2
        center = rng.uniform(margin, [width, height] - margin)
        view = np.array([[0, 0], [self.side, 0], [self.side, self.side], [0, self.side]], np.float32)
        homography: Float64 = cv2.getPerspectiveTransform(view, (quadrangle + center).astype(np.float32))
        return homography


def _without_aliases(image: UInt8, image_from_view: Float64, side: int) -> UInt8:
    """Image that is smoothed if the view makes it smaller."""
    corners = image_from_view @ np.array([[0, side, side, 0], [0, 0, side, side], [1, 1, 1, 1]])
    corners = corners[:2] / corners[2]
    factor = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=0).mean() / side
    deviation = 0.5 * np.sqrt(max(factor**2 - 1, 0))
    return image if deviation < 0.3 else cv2.GaussianBlur(image, (0, 0), deviation).astype(np.uint8)
