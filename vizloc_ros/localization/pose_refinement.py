"""Refinement of a pose on its matches: Levenberg-Marquardt on a robust loss (HF-Net, section 3).

Six unknowns and a few hundred matches are a 6x6 system of equations for each step. A general solver of least squares
takes ten times as long, mostly to set up.
"""

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.camera import PinholeCamera, ray_jacobian
from vizloc_ros.geometry.poses import transform_points

_LOSS_PX = 1.0  # scale of the Cauchy loss: larger errors count less and less
_MAX_STEPS = 30
_SMALL_STEP = 1e-4  # in position [m] and rotation [rad]: far below what matches can tell
_FEWEST_MATCHES = 3
_FIRST_DAMPING, _MAX_DAMPING, _DAMPING_FACTOR = 0.1, 1e4, 10.0
_DIAGONAL = np.diag_indices(6)
_LARGEST_FLATTENING = 0.9  # of the curvature along a large error, which would be negative


def refine_absolute_pose(cam_from_map: Rigid3d, pixels: Float64, positions: Float64, camera: PinholeCamera) -> Rigid3d:
    """Move a pose to where the sum of the Cauchy losses ``ln(1 + e^2)`` of the reprojection errors e is minimal.

    Args:
        cam_from_map: pose to start from.
        pixels: (N, 2) pixels of the keypoints.
        positions: (N, 3) landmark positions in the map frame [m]; those behind the camera do not count.
        camera: camera of the query.

    Returns:
        The refined pose; the given one if the matches do not fix all six degrees of freedom.
    """
    in_front = transform_points(cam_from_map, positions)[:, 2] > 0
    pixels, positions = np.ascontiguousarray(pixels[in_front].T), np.ascontiguousarray(positions[in_front].T)
    if positions.shape[1] < _FEWEST_MATCHES:
        return cam_from_map
    pose, points = cam_from_map, _moved(cam_from_map, positions)
    errors = _errors(points, pixels, camera)
    loss, damping = _loss(errors), _FIRST_DAMPING
    normal, gradient = _normal_equations(points, errors, camera)
    for _ in range(_MAX_STEPS):
        try:
            damped = normal.copy()
            damped[_DIAGONAL] *= 1.0 + damping
            step = np.linalg.solve(damped, -gradient)
        except np.linalg.LinAlgError:
            return cam_from_map
        moved = Rigid3d(Rotation3d(step[3:]), step[:3]) * pose
        moved_points = _moved(moved, positions)
        moved_errors = _errors(moved_points, pixels, camera)
        if (moved_loss := _loss(moved_errors)) > loss:
            damping *= _DAMPING_FACTOR
            if damping > _MAX_DAMPING:
                break
            continue
        pose, points, errors, loss, damping = moved, moved_points, moved_errors, moved_loss, damping / _DAMPING_FACTOR
        if np.abs(step).max() < _SMALL_STEP:
            break
        normal, gradient = _normal_equations(points, errors, camera)
    return pose


def projection_jacobian(points: Float64, camera: PinholeCamera) -> tuple[Float64, Float64]:
    """Jacobians (6, N) of columns and rows of the pixels of (3, N) points in the camera's frame by a motion of them.

    The motion is a translation t [m], then a rotation by w [rad] about the camera's origin: ``x + t + w x x``.
    """
    x, y = points[:2] / points[2]
    by_column, by_row = ray_jacobian(x, y, 1.0 / points[2])
    return camera.fx * by_column, camera.fy * by_row


def _normal_equations(points: Float64, errors: Float64, camera: PinholeCamera) -> tuple[Float64, Float64]:
    """(6, 6) curvature and (6,) gradient of half the loss by a motion of the points.

    An error e has the slope w = 1 / (1 + e^2) of the loss. Across e the loss curves by w, along it by
    w (1 - e^2) / (1 + e^2), which is kept positive (Triggs et al., Bundle Adjustment, section 4.3).
    """
    squared = np.square(errors).sum(axis=0) / _LOSS_PX**2
    weights = 1.0 / (1.0 + squared)
    by_column, by_row = projection_jacobian(points, camera)
    along = by_column * errors[0] + by_row * errors[1]
    flattening = weights * np.minimum(2.0 * weights, _LARGEST_FLATTENING / np.maximum(squared, 1e-12)) / _LOSS_PX**2
    normal = (by_column * weights) @ by_column.T + (by_row * weights) @ by_row.T - (along * flattening) @ along.T
    return normal, along @ weights


def _moved(cam_from_map: Rigid3d, positions: Float64) -> Float64:
    """(3, N) points in the camera's frame, of (3, N) positions in the map."""
    return cam_from_map.rotation.matrix() @ positions + cam_from_map.translation[:, None]


def _errors(points: Float64, pixels: Float64, camera: PinholeCamera) -> Float64:
    """(2, N) differences of the projections of (3, N) points from the pixels, infinite behind the camera."""
    behind = points[2] <= 0
    errors = points[:2] / np.where(behind, 1.0, points[2])
    errors *= [[camera.fx], [camera.fy]]
    errors += [[camera.cx], [camera.cy]]
    errors -= pixels
    errors[:, behind] = np.inf
    return errors


def _loss(errors: Float64) -> float:
    return float(np.log1p(np.square(errors).sum(axis=0) / _LOSS_PX**2).sum())
