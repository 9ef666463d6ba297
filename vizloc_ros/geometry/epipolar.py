"""Epipolar geometry of two images with known poses."""

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Bool, Float64
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.se3 import cross_matrix


def fundamental_matrix(
    camera_a: PinholeCamera, camera_b: PinholeCamera, map_from_a: Rigid3d, map_from_b: Rigid3d
) -> Float64:
    """Fundamental matrix F (3, 3) with ``[b 1] F [a 1]^T = 0`` for pixels a and b of one point.

    The formula is equation 9.2 of Hartley and Zisserman, "Multiple View Geometry" (2004).
    """
    b_from_a = map_from_b.inverse() * map_from_a
    essential = cross_matrix(b_from_a.translation) @ b_from_a.rotation.matrix()
    return np.linalg.inv(camera_b.matrix).T @ essential @ np.linalg.inv(camera_a.matrix)


def epipolar_distance(fundamental: Float64, pixels_a: Float64, pixels_b: Float64) -> Float64:
    """Symmetric epipolar distances (N,) [px] of (N, 2) matched pixels.

    The distance is the larger one of a pixel from its match's epipolar line and of the match from the pixel's line.
    """
    a = np.column_stack([pixels_a, np.ones(len(pixels_a))])
    b = np.column_stack([pixels_b, np.ones(len(pixels_b))])
    lines_b, lines_a = a @ fundamental.T, b @ fundamental
    algebraic = np.abs((b * lines_b).sum(axis=1))
    gradient = np.minimum(np.hypot(lines_a[:, 0], lines_a[:, 1]), np.hypot(lines_b[:, 0], lines_b[:, 1]))
    # Cameras at the same position have no epipolar lines: no match can be verified, so none may pass.
    return np.divide(algebraic, gradient, out=np.full(len(a), np.inf), where=gradient > 1e-12)


def near_epipolar_lines(fundamental: Float64, pixels_a: Float64, pixels_b: Float64, max_distance: float) -> Bool:
    """Mask (N, K) of the pairs of pixels of which each is near the epipolar line of the other.

    Args:
        fundamental: fundamental matrix F of ``fundamental_matrix``.
        pixels_a: (N, 2) pixels of one image.
        pixels_b: (K, 2) pixels of the other image.
        max_distance: maximum distance of each pixel from the line of the other [px].
    """
    a = np.column_stack([pixels_a, np.ones(len(pixels_a))])
    b = np.column_stack([pixels_b, np.ones(len(pixels_b))])
    lines_b, lines_a = a @ fundamental.T, b @ fundamental
    # All pairs are many: float32 halves the time, and is right to a thousandth of a pixel.
    limits_b, limits_a = ((max_distance * np.hypot(*lines.T[:2])).astype(np.float32) for lines in (lines_b, lines_a))
    algebraic = lines_b.astype(np.float32) @ b.T.astype(np.float32)
    np.abs(algebraic, out=algebraic)
    # Strictly less: cameras at the same position have no epipolar lines.
    return np.asarray((algebraic < limits_b[:, None]) & (algebraic < limits_a))


def in_front(
    camera_a: PinholeCamera,
    camera_b: PinholeCamera,
    map_from_a: Rigid3d,
    map_from_b: Rigid3d,
    pixels_a: Float64,
    pixels_b: Float64,
) -> Bool:
    """Mask (N,) of the (N, 2) matched pixels whose rays meet in front of both cameras."""
    depths_a, depths_b, _, _ = _ray_depths(camera_a, camera_b, map_from_a, map_from_b, pixels_a, pixels_b)
    return (depths_a > 0) & (depths_b > 0)


def match_depths(
    camera_a: PinholeCamera,
    camera_b: PinholeCamera,
    map_from_a: Rigid3d,
    map_from_b: Rigid3d,
    pixels_a: Float64,
    pixels_b: Float64,
) -> tuple[Float64, Float64]:
    """Depths (N,) [m] in a at which the rays of (N, 2) matched pixels meet, and sines (N,) of the angles between them.

    The depth is NaN for rays that do not meet in front of both cameras.
    """
    views = (camera_a, camera_b, map_from_a, map_from_b, pixels_a, pixels_b)
    depths_a, depths_b, squares, lengths = _ray_depths(*views)
    visible = (depths_a > 0) & (depths_b > 0)
    depths = np.divide(depths_a, squares, out=np.full(len(squares), np.nan), where=visible & (squares > 0))
    return depths, np.sqrt(squares) / lengths


def _ray_depths(
    camera_a: PinholeCamera,
    camera_b: PinholeCamera,
    map_from_a: Rigid3d,
    map_from_b: Rigid3d,
    pixels_a: Float64,
    pixels_b: Float64,
) -> tuple[Float64, Float64, Float64, Float64]:
    """Depths (N,) in a and in b of matched pixels, times ``squares``; these; and the product of the rays' lengths.

    In the axes of b, ``depth_b ray_b = depth_a ray_a + t``; the cross products with either ray give the depths.
    """
    b_from_a = map_from_b.inverse() * map_from_a
    rays_a = camera_a.rays(pixels_a) @ b_from_a.rotation.matrix().T
    rays_b = camera_b.rays(pixels_b)
    normals = _cross(rays_a, rays_b)
    with_t = cross_matrix(b_from_a.translation)  # rows r @ [t]x are r x t
    depths_a, depths_b = (((rays @ with_t) * normals).sum(axis=1) for rays in (rays_b, rays_a))
    lengths = np.linalg.norm(rays_a, axis=1) * np.linalg.norm(rays_b, axis=1)
    return depths_a, depths_b, (normals**2).sum(axis=1), lengths


def _cross(a: Float64, b: Float64) -> Float64:
    """Cross products (N, 3) of rows, for some hundred of which ``np.cross`` takes twice as long."""
    x, y, z = a.T
    u, v, w = b.T
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=1)
