"""Pinhole camera of rectified images, and first-order errors of its calibration.

Pixels follow OpenCV: (0, 0) is the centre of the top-left pixel. COLMAP's coordinates are ``PIXEL_CENTRE`` larger.
"""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Bool, Float64
from vizloc_ros.errors import CameraError

PIXEL_CENTRE = 0.5  # COLMAP's coordinates of the centre of the top-left pixel


@dataclass(frozen=True)
class PinholeCamera:
    """Ideal camera without distortion.

    Attributes:
        width: image width [px].
        height: image height [px].
        fx: horizontal focal length [px].
        fy: vertical focal length [px].
        cx: column of the principal point [px].
        cy: row of the principal point [px].
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy)
        if self.width <= 0 or self.height <= 0:
            raise CameraError(f"the camera's image size is {self.width}x{self.height}; it must be positive")
        if not all(np.isfinite(values)) or self.fx <= 0 or self.fy <= 0:
            raise CameraError(
                f"the camera's focal length is ({self.fx:g}, {self.fy:g}) px and its principal point "
                f"({self.cx:g}, {self.cy:g}); they must be finite and the focal length positive: calibrate the camera"
            )

    def is_near(self, other: "PinholeCamera", tolerance: float) -> bool:
        """Return True for the same image size and intrinsics that differ by at most ``tolerance`` [px]."""
        return (
            (self.width, self.height) == (other.width, other.height)
            and abs(self.fx - other.fx) <= tolerance
            and abs(self.fy - other.fy) <= tolerance
            and abs(self.cx - other.cx) <= tolerance
            and abs(self.cy - other.cy) <= tolerance
        )

    @property
    def matrix(self) -> Float64:
        """Calibration matrix K (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def size(self) -> tuple[int, int]:
        """Image size (width, height) [px]."""
        return self.width, self.height

    def project(self, points_cam: Float64) -> tuple[Float64, Bool]:
        """Project (N, 3) points [m, camera frame] to (N, 2) pixels and an (N,) mask: in front and inside the image."""
        pixels, in_front = self.pixels_of(points_cam)
        return pixels, in_front & self.contains(pixels)

    def pixels_of(self, points_cam: Float64) -> tuple[Float64, Bool]:
        """Pixels (N, 2) of (N, 3) points [m, camera frame], also beside the image, and an (N,) mask: in front."""
        x, y, z = points_cam.T
        in_front = z > 1e-6
        safe_z = np.where(in_front, z, 1.0)
        pixels = np.stack([self.fx * x / safe_z + self.cx, self.fy * y / safe_z + self.cy])
        return pixels.T, in_front

    def projection_jacobian(self, points_cam: Float64) -> Float64:
        """Derivatives (N, 2, 3) [px/m] of the pixels by (N, 3) points in the camera frame; z must be positive."""
        x, y, z = points_cam.T
        jacobian = np.zeros((len(points_cam), 2, 3))
        jacobian[:, 0, 0] = self.fx / z
        jacobian[:, 0, 2] = -self.fx * x / z**2
        jacobian[:, 1, 1] = self.fy / z
        jacobian[:, 1, 2] = -self.fy * y / z**2
        return jacobian

    def rays(self, pixels: Float64) -> Float64:
        """Points (N, 3) at depth 1 m in the camera frame, seen at (N, 2) pixels."""
        return np.stack(
            [(pixels[:, 0] - self.cx) / self.fx, (pixels[:, 1] - self.cy) / self.fy, np.ones(len(pixels))], axis=1
        )

    def contains(self, pixels: Float64, margin: float = 0.0) -> Bool:
        """Mask (N,) of the (N, 2) pixels that lie on the image, borders included, or within a margin [px] beside it."""
        x, y = pixels[:, 0], pixels[:, 1]
        least, right, lower = -0.5 - margin, self.width - 0.5 + margin, self.height - 0.5 + margin
        return (x >= least) & (y >= least) & (x < right) & (y < lower)

    def scaled(self, width: int, height: int) -> "PinholeCamera":
        """Camera of the same view, resampled to another image size [px]."""
        sx, sy = width / self.width, height / self.height
        return PinholeCamera(
            width, height, self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5
        )


@dataclass(frozen=True)
class IntrinsicsCorrection:
    """Errors of a calibration, to first order; all zero by default.

    Attributes:
        focal: relative error of both focal lengths.
        cx: error of the principal point's column [px].
        cy: error of the principal point's row [px].
        radial: remaining radial distortion, k1 of OpenCV.
    """

    focal: float = 0.0
    cx: float = 0.0
    cy: float = 0.0
    radial: float = 0.0

    def shift(self, pixels: Float64, camera: PinholeCamera) -> Float64:
        """Shift (N, 2) [px] of the real image against the calibrated ``camera`` at its (N, 2) pixels."""
        from_center = pixels - [camera.cx, camera.cy]
        ray = from_center / [camera.fx, camera.fy]
        along = self.focal + self.radial * (ray[:, 0] ** 2 + ray[:, 1] ** 2)
        from_center *= along[:, None]
        from_center += [self.cx, self.cy]
        return from_center

    def max_shift(self, camera: PinholeCamera) -> float:
        """Length [px] of the largest shift among corners, middles of the borders and middle of the image."""
        x, y = np.meshgrid(np.linspace(0, camera.width - 1, 3), np.linspace(0, camera.height - 1, 3))
        shift = self.shift(np.stack([x.ravel(), y.ravel()], axis=1), camera)
        return float(np.linalg.norm(shift, axis=1).max())


def ray_jacobian(x: Float64, y: Float64, inverse_depth: Float64) -> tuple[Float64, Float64]:
    """Derivatives (6, M) of the rays x and y of points by a motion [rho, phi] of the points, ``exp([rho, phi])``.

    Args:
        x: (M,) rays to the points at depth 1, to the right.
        y: (M,) rays to the points at depth 1, down.
        inverse_depth: (M,) inverse depths of the points [1/m].
    """
    dx, dy = np.zeros((6, len(x))), np.zeros((6, len(x)))
    xy = x * y
    dx[0], dx[2], dx[3], dx[4], dx[5] = inverse_depth, -x * inverse_depth, -xy, 1 + x * x, -y
    dy[1], dy[2], dy[3], dy[4], dy[5] = inverse_depth, -y * inverse_depth, -1 - y * y, xy, x
    return dx, dy


def shift_jacobian(pixels: Float64, camera: PinholeCamera) -> Float64:
    """Derivatives (N, 2, 4) of ``IntrinsicsCorrection.shift`` by its four attributes, at (N, 2) pixels."""
    scale = np.array([camera.fx, camera.fy])
    ray = (pixels - [camera.cx, camera.cy]) / scale
    radius = (ray * ray).sum(axis=1, keepdims=True)
    jacobian = np.zeros((len(pixels), 2, 4))
    jacobian[:, :, 0] = scale * ray
    jacobian[:, :, 1:3] = np.eye(2)
    jacobian[:, :, 3] = scale * ray * radius
    return jacobian
