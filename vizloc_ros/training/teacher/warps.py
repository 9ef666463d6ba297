"""Geometric augmentation: other viewpoints of training images, which the teacher sees too.

HF-Net was trained without; its teachers' images were photographs from everywhere. A drive shows few viewpoints.
"""

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.features.hfnet.hfnet_config import CELL


class Warps(BaseModel):
    """Which views are made of an image.

    Attributes:
        share: of the crops that come from warped views.
        variants: different views of each image; more take more of the teacher's time.
        side: of a view, a square [px].
        rotation: largest, either way [deg].
        scale: range of the magnification.
        perspective: largest shift of a corner, of the side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(default=0.0, ge=0, le=1)
    variants: int = Field(default=1, ge=1)
    side: int = Field(default=256, ge=32, multiple_of=CELL)
    rotation: float = Field(default=45, ge=0, le=180)
    scale: tuple[float, float] = (0.6, 1.5)
    perspective: float = Field(default=0.15, ge=0, lt=0.5)

    def apply(self, image: UInt8, rng: np.random.Generator) -> UInt8:
        """A view (side, side) of a (H, W) image; what lies outside is mirrored."""
        size = (self.side, self.side)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        homography = self._image_from_view(image.shape[1], image.shape[0], rng)
        return cv2.warpPerspective(image, homography, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101).astype(
            np.uint8
        )

    def _image_from_view(self, width: int, height: int, rng: np.random.Generator) -> Float64:
        """(3, 3) homography: a square, scaled, rotated and with moved corners, somewhere in the image."""
        angle = np.radians(rng.uniform(-self.rotation, self.rotation))
        scale = np.exp(rng.uniform(*np.log(self.scale)))
        corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
        corners += rng.uniform(-self.perspective, self.perspective, (4, 2))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        seen = corners @ turn.T * self.side / scale
        margin = np.minimum(self.side / scale, [width, height]) / 2
        centre = rng.uniform(margin, [width, height] - margin)
        view = np.array([[0, 0], [self.side, 0], [self.side, self.side], [0, self.side]], np.float32)
        return cv2.getPerspectiveTransform(view, (seen + centre).astype(np.float32))
