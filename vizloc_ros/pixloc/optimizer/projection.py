"""Landmarks into an image, with derivatives, for several poses at once."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vizloc_ros.arrays import Bool, Float64
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera

_SMALL = 1e-4  # rad; below, the limits are exact to double precision
NEAREST = 0.1  # m; what is nearer to the camera, or behind it, is not seen


@dataclass(frozen=True)
class LevelCamera:
    """The camera of one level of an image: landmarks to places on the level.

    Attributes:
        camera: of the image.
        correction: what its calibration is off by.
        scale: (2,) columns and rows of the level for one pixel of the image.
    """

    camera: PinholeCamera
    correction: IntrinsicsCorrection
    scale: Float64

    def look(self, rotations: Float64, translations: Float64, points: Float64) -> "Looked":
        """Projects (3, N) points [m, map] by B poses cam_from_map, (B, 3, 3) and (B, 3)."""
        seen = rotations @ points + translations[:, :, None]
        z = seen[:, 2]
        inverse = 1 / np.maximum(z, NEAREST)
        x, y = seen[:, 0] * inverse, seen[:, 1] * inverse
        camera, correction, (across, down) = self.camera, self.correction, self.scale
        bend = 1 + correction.focal + correction.radial * (x * x + y * y)
        u = across * camera.fx * (x * bend) + (across * (camera.cx + correction.cx + 0.5) - 0.5)
        v = down * camera.fy * (y * bend) + (down * (camera.cy + correction.cy + 0.5) - 0.5)
        return Looked(x, y, inverse, u, v, z > NEAREST)

    def jacobian(self, x: Float64, y: Float64, inverse: Float64) -> tuple[Float64, Float64]:
        """Derivatives of u and of v by d in exp(d) * cam_from_map, d = [rho, phi]: (6, M) each.

        Of the camera's correction, the focal length counts; distortion changes them by less than a hundredth.

        Args:
            x: (M,) of the ray to each landmark at depth 1.
            y: (M,)
            inverse: (M,) of the depths [1/m].
        """
        by_u, by_v = np.zeros((6, len(x))), np.zeros((6, len(x)))
        xy = x * y
        by_u[0], by_u[2], by_u[3], by_u[4], by_u[5] = inverse, -x * inverse, -xy, 1 + x * x, -y
        by_v[1], by_v[2], by_v[3], by_v[4], by_v[5] = inverse, -y * inverse, -1 - y * y, xy, x
        focal = 1 + self.correction.focal
        return focal * self.scale[0] * self.camera.fx * by_u, focal * self.scale[1] * self.camera.fy * by_v


class Looked(NamedTuple):
    """(B, N) landmarks as seen from B poses.

    Attributes:
        x: of the ray to each landmark at depth 1.
        y: of the ray.
        inverse: of the depths [1/m].
        u: column on the level, (0, 0) at the centre of its first pixel.
        v: row on the level.
        in_front: whether they lie before the camera.
    """

    x: Float64
    y: Float64
    inverse: Float64
    u: Float64
    v: Float64
    in_front: Bool


class Projection(NamedTuple):
    """(B, N) landmarks as seen from B poses.

    Attributes:
        pixels: (B, N, 2) in the image [px].
        in_front: (B, N) whether they lie before the camera.
    """

    pixels: Float64
    in_front: Bool


def project(
    rotations: Float64,
    translations: Float64,
    points: Float64,
    camera: PinholeCamera,
    correction: IntrinsicsCorrection,
) -> Projection:
    """Projects (N, 3) points [m, map] by B poses cam_from_map, (B, 3, 3) and (B, 3), to what the camera sees.

    ``correction`` is what the camera's calibration is off by.
    """
    looked = LevelCamera(camera, correction, np.ones(2)).look(rotations, translations, points.T)
    return Projection(np.stack([looked.u, looked.v], axis=-1), looked.in_front)


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
