"""Landmarks into an image, with derivatives, for several poses at once."""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Bool, Float64
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.camera_correction import CameraCorrection

_SMALL = 1e-4  # rad; below, the limits are exact to double precision
NEAREST = 0.1  # m; what is nearer to the camera, or behind it, is not seen


@dataclass(frozen=True)
class Projection:
    """(B, N) landmarks as seen from B poses.

    Attributes:
        pixels: (B, N, 2) in the image [px].
        points_cam: (B, N, 3) [m].
        in_front: (B, N) whether they lie before the camera.
    """

    pixels: Float64
    points_cam: Float64
    in_front: Bool


def project(
    rotations: Float64,
    translations: Float64,
    points: Float64,
    camera: PinholeCamera,
    correction: CameraCorrection,
) -> Projection:
    """Projects (N, 3) points [m, map] by B poses cam_from_map, (B, 3, 3) and (B, 3), to what the camera sees.

    ``correction`` is what the camera's calibration is off by.
    """
    points_cam = points @ rotations.transpose(0, 2, 1) + translations[:, None]
    z = points_cam[..., 2]
    in_front = z > NEAREST
    ray = points_cam[..., :2] / np.where(in_front, z, 1.0)[..., None]
    bent = ray * (1 + correction.focal + correction.radial * (ray * ray).sum(axis=-1, keepdims=True))
    pixels = bent * [camera.fx, camera.fy] + [camera.cx + correction.cx, camera.cy + correction.cy]
    return Projection(pixels, points_cam, in_front)


def pose_jacobian(points_cam: Float64, camera: PinholeCamera, scale: Float64) -> tuple[Float64, Float64]:
    """Derivatives of x and of y on a level by d in exp(d) * cam_from_map, d = [rho, phi]: (6, M) each.

    Args:
        points_cam: (M, 3) in front of the camera [m].
        camera: whose correction changes them by less than a hundredth, and is left out.
        scale: (2,) columns and rows of the level for one pixel of the image.
    """
    inverse = 1 / points_cam[:, 2]
    x, y = points_cam[:, 0] * inverse, points_cam[:, 1] * inverse
    zero, xy = np.zeros_like(x), x * y
    by_x = np.stack([inverse, zero, -x * inverse, -xy, 1 + x * x, -y])
    by_y = np.stack([zero, inverse, -y * inverse, -1 - y * y, xy, x])
    return camera.fx * scale[0] * by_x, camera.fy * scale[1] * by_y


def moved(rotations: Float64, translations: Float64, steps: Float64) -> tuple[Float64, Float64]:
    """exp(step) * pose, for (B, 3, 3) and (B, 3) poses and (B, 6) steps [rho, phi]."""
    rho, phi = steps[:, :3], steps[:, 3:]
    angle = np.linalg.norm(phi, axis=1)
    safe = np.where(angle > _SMALL, angle, 1.0)
    # (1 - cos) / angle^2 and (angle - sin) / angle^3, with their limits at 0
    second = np.where(angle > _SMALL, (1 - np.cos(safe)) / safe**2, 1 / 2)[:, None, None]
    third = np.where(angle > _SMALL, (safe - np.sin(safe)) / safe**3, 1 / 6)[:, None, None]
    first = np.sinc(angle / np.pi)[:, None, None]
    cross = np.zeros((len(steps), 3, 3))
    cross[:, [2, 0, 1], [1, 2, 0]] = phi
    cross -= cross.transpose(0, 2, 1)
    twice, unit = cross @ cross, np.eye(3)
    turn, bend = unit + first * cross + second * twice, unit + second * cross + third * twice
    return turn @ rotations, (turn @ translations[:, :, None] + bend @ rho[:, :, None])[:, :, 0]
