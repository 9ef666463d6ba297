"""Simulated views of a place from one image: another path of the vehicle, other light and other traffic."""

import cv2
import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.options import Options
from vizloc_ros.training.appearance import Appearance
from vizloc_ros.training.augmentation import Augmentation, Range, log_uniform

_FOCAL_LENGTH = 0.6  # of the assumed camera [fraction of the image's width]: 80 degrees of view


class Changes(Options):
    """Ranges of the changes, drawn for every view.

    Attributes:
        yaw: maximum rotation of the camera to either side [deg].
        roll: maximum rotation about the optical axis to either side [deg].
        shift: maximum translation to either side, as of a plane in front of the camera [fraction of the width].
        scale: range of the magnification, drawn on a logarithmic scale; above 1 for a nearer camera.
        perspective: maximum shift of each corner in x and y [px].
        occluders: maximum number of rectangles that hide parts of the image.
        occluder_size: range of their sides [fraction of the image's].
        photometric: photometric changes.
        appearance: stronger photometric changes in place of ``photometric``.
    """

    yaw: float = Field(default=8.0, ge=0, lt=45)
    roll: float = Field(default=0.0, ge=0, lt=90)
    shift: float = Field(default=0.08, ge=0, lt=0.5)
    scale: Range = (0.85, 1.2)
    perspective: float = Field(default=4.0, ge=0)
    occluders: int = Field(default=3, ge=0)
    occluder_size: Range = (0.05, 0.3)
    photometric: Augmentation = Augmentation(exposure=0.4, motion_blur=0.2)
    appearance: Appearance | None = None

    def apply(self, image: UInt8, rng: np.random.Generator) -> UInt8:
        """Changed view (H, W) of a gray image, of the same size."""
        height, width = image.shape
        view_from_image = self.homography(width, height, rng)
        warped = cv2.warpPerspective(image, view_from_image, (width, height), borderMode=cv2.BORDER_REFLECT)
        for _ in range(rng.integers(self.occluders + 1)):
            size = rng.uniform(*self.occluder_size, 2) * [width, height]
            corner = rng.uniform(0, [width, height] - size)
            (left, top), (right, bottom) = corner.astype(int), (corner + size).astype(int)
            warped[top:bottom, left:right] = rng.integers(256)
        return (self.appearance or self.photometric).apply(np.asarray(warped, np.uint8), rng)

    def homography(self, width: int, height: int, rng: np.random.Generator) -> Float64:
        """(3, 3) homography from pixels of the image to pixels of a random view."""
        angle = np.radians(rng.uniform(-self.yaw, self.yaw))
        cosine, sine = np.cos(angle), np.sin(angle)
        scale = log_uniform(self.scale, rng)
        shift = rng.uniform(-self.shift, self.shift) * width
        focal = _FOCAL_LENGTH * width
        pixels_from_rays = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
        rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
        translation = np.array([[scale, 0, shift / focal], [0, scale, 0], [0, 0, 1]])
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        jitter = rng.uniform(-self.perspective, self.perspective, (4, 2)).astype(np.float32)
        perspective = cv2.getPerspectiveTransform(corners, corners + jitter)
        rays_from_pixels = np.linalg.inv(pixels_from_rays)
        roll = np.radians(rng.uniform(-self.roll, self.roll)) if self.roll else 0.0
        cosine, sine = np.cos(roll), np.sin(roll)
        rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ rotation
        view_from_image: Float64 = perspective @ pixels_from_rays @ translation @ rotation @ rays_from_pixels
        return view_from_image
