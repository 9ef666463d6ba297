"""What a camera's calibration is off by: a smooth shift of its pixels."""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.camera import PinholeCamera


@dataclass(frozen=True)
class CameraCorrection:
    """Errors of a calibration, to first order. Without arguments: none.

    Attributes:
        focal: of both focal lengths [share].
        cx: of the principal point [px].
        cy: of the principal point [px].
        radial: distortion that is left, k1 of OpenCV.
    """

    focal: float = 0.0
    cx: float = 0.0
    cy: float = 0.0
    radial: float = 0.0

    def shift(self, pixels: Float64, camera: PinholeCamera) -> Float64:
        """(N, 2) how far from where the calibrated ``camera`` has them the real one sees (N, 2) pixels [px]."""
        return shift_jacobian(pixels, camera) @ np.array([self.focal, self.cx, self.cy, self.radial])

    def largest_shift(self, camera: PinholeCamera) -> float:
        """Of the corners, the middles of the borders and the middle of the image [px]."""
        x, y = np.meshgrid(np.linspace(0, camera.width - 1, 3), np.linspace(0, camera.height - 1, 3))
        shift = self.shift(np.stack([x.ravel(), y.ravel()], axis=1), camera)
        return float(np.linalg.norm(shift, axis=1).max())


def shift_jacobian(pixels: Float64, camera: PinholeCamera) -> Float64:
    """(N, 2, 4) derivative of ``CameraCorrection.shift`` by its attributes, for (N, 2) pixels."""
    scale = np.array([camera.fx, camera.fy])
    ray = (pixels - [camera.cx, camera.cy]) / scale
    radius = (ray * ray).sum(axis=1, keepdims=True)
    jacobian = np.zeros((len(pixels), 2, 4))
    jacobian[:, :, 0] = scale * ray
    jacobian[:, :, 1:3] = np.eye(2)
    jacobian[:, :, 3] = scale * ray * radius
    return jacobian
