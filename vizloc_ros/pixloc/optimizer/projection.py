"""Projection of landmarks into an image, its Jacobian, and the pose update (PixLoc, Eq. 1, 3 and 5).

All for several poses at once.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vizloc_ros.arrays import Bool, Float64, Int64
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera, ray_jacobian

_SMALL_ANGLE = 1e-4  # rad; below, the limits are exact to double precision
MIN_DEPTH = 0.1  # m; nearer landmarks, and those behind the camera, are not visible


class Projected(NamedTuple):
    """Landmarks projected to a level: (B, N) from B poses, or (M,) after ``take``.

    Attributes:
        x: ray to the landmark at depth 1, to the right.
        y: ray to the landmark at depth 1, down.
        inverse_depth: inverse of the depth [1/m].
        u: column on the level, 0 at the center of the first pixel.
        v: row on the level, 0 at the center of the first pixel.
        in_front: mask of the landmarks in front of the camera.
    """

    x: Float64
    y: Float64
    inverse_depth: Float64
    u: Float64
    v: Float64
    in_front: Bool

    def take(self, indices: Int64) -> "Projected":
        """Return the (M,) landmarks at flat indices pose * N + landmark."""
        return Projected(
            self.x.ravel()[indices],
            self.y.ravel()[indices],
            self.inverse_depth.ravel()[indices],
            self.u.ravel()[indices],
            self.v.ravel()[indices],
            self.in_front.ravel()[indices],
        )


@dataclass(frozen=True)
class LevelCamera:
    """Camera of one level of an image: projects landmarks to positions on the level.

    Attributes:
        camera: camera of the image.
        correction: error of its calibration.
        scale: (2,) columns and rows of the level for one pixel of the image.
    """

    camera: PinholeCamera
    correction: IntrinsicsCorrection
    scale: Float64

    def project(self, rotations: Float64, translations: Float64, points: Float64) -> Projected:
        """Project (3, N) points [m, map] by B poses cam_from_map, (B, 3, 3) and (B, 3): p_q of PixLoc, Eq. 1."""
        in_camera = rotations @ points + translations[:, :, None]
        z = in_camera[:, 2]
        inverse_depth = 1 / np.maximum(z, MIN_DEPTH)
        x, y = in_camera[:, 0] * inverse_depth, in_camera[:, 1] * inverse_depth
        camera, correction, (scale_u, scale_v) = self.camera, self.correction, self.scale
        distortion = 1 + correction.focal + correction.radial * (x * x + y * y)
        u = scale_u * camera.fx * (x * distortion) + (scale_u * (camera.cx + correction.cx + 0.5) - 0.5)
        v = scale_v * camera.fy * (y * distortion) + (scale_v * (camera.cy + correction.cy + 0.5) - 0.5)
        return Projected(x, y, inverse_depth, u, v, z > MIN_DEPTH)

    def jacobian(self, x: Float64, y: Float64, inverse_depth: Float64) -> tuple[Float64, Float64]:
        """Return du / d delta and dv / d delta, (6, M) each: the rows of dp_q / d delta in PixLoc, Eq. 3.

        delta = [rho, phi] is the update of exp(delta) * cam_from_map. Of the intrinsics correction, only the focal
        length is in the derivative; radial distortion changes it by less than a hundredth.

        Args:
            x: (M,) rays to the landmarks at depth 1, to the right.
            y: (M,) rays to the landmarks at depth 1, down.
            inverse_depth: (M,) inverse depths [1/m].
        """
        dx, dy = ray_jacobian(x, y, inverse_depth)
        focal = 1 + self.correction.focal
        return focal * self.scale[0] * self.camera.fx * dx, focal * self.scale[1] * self.camera.fy * dy


class ProjectedPixels(NamedTuple):
    """Landmarks projected to the image from B poses.

    Attributes:
        pixels: (B, N, 2) pixels of the image.
        in_front: (B, N) mask of the landmarks in front of the camera.
    """

    pixels: Float64
    in_front: Bool


def project(
    rotations: Float64,
    translations: Float64,
    points: Float64,
    camera: PinholeCamera,
    correction: IntrinsicsCorrection,
) -> ProjectedPixels:
    """Project (N, 3) points [m, map] by B poses cam_from_map, (B, 3, 3) and (B, 3), to pixels of the real camera.

    ``correction`` is the error of the calibration of ``camera``.
    """
    projected = LevelCamera(camera, correction, np.ones(2)).project(rotations, translations, points.T)
    return ProjectedPixels(np.stack([projected.u, projected.v], axis=-1), projected.in_front)


def apply_left_update(rotations: Float64, translations: Float64, updates: Float64) -> tuple[Float64, Float64]:
    """Return exp(delta) * pose (PixLoc, Eq. 5), for (B, 3, 3) and (B, 3) poses and (B, 6) updates delta = [rho, phi].

    ``geometry.se3`` has the exponential of one pose.
    """
    rho, phi = updates[:, :3], updates[:, 3:]
    angle = np.linalg.norm(phi, axis=1)
    safe = np.where(angle > _SMALL_ANGLE, angle, 1.0)
    # sin(angle) / angle, (1 - cos) / angle^2 and (angle - sin) / angle^3, with their limits at 0
    first = np.sinc(angle / np.pi)[:, None, None]
    second = np.where(angle > _SMALL_ANGLE, (1 - np.cos(safe)) / safe**2, 1 / 2)[:, None, None]
    third = np.where(angle > _SMALL_ANGLE, (safe - np.sin(safe)) / safe**3, 1 / 6)[:, None, None]
    cross = np.zeros((len(updates), 3, 3))
    cross[:, [2, 0, 1], [1, 2, 0]] = phi
    cross -= cross.transpose(0, 2, 1)
    cross_squared, identity = cross @ cross, np.eye(3)
    rotation = identity + first * cross + second * cross_squared
    left_jacobian = identity + second * cross + third * cross_squared
    return rotation @ rotations, (rotation @ translations[:, :, None] + left_jacobian @ rho[:, :, None])[:, :, 0]
