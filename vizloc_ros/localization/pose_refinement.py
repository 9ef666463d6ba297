"""Refinement of a pose of a camera or a rig on its matches: Levenberg-Marquardt on a robust loss (HF-Net, section 3).

Six unknowns and a few hundred matches are a 6x6 system of equations for each step. A general solver of least squares
takes ten times as long, mostly to set up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from pycolmap import Rigid3d, Rotation3d
from scipy.linalg.lapack import dposv

from vizloc_ros.arrays import Bool, Float64
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.geometry.se3 import adjoint

_LOSS_PX = 1.0  # scale of the Cauchy loss: larger errors count less and less
_MAX_STEPS = 30
_SMALL_STEP = 1e-4  # in position [m] and rotation [rad]: far below what matches can tell
_FEWEST_MATCHES = 3
_FIRST_DAMPING, _MAX_DAMPING, _DAMPING_FACTOR = 0.1, 1e4, 10.0
_IDENTITY = np.eye(6)
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
    problem = _problem_in_front(cam_from_map, pixels, positions, camera)
    return cam_from_map if problem is None else _minimized(problem, cam_from_map)


@dataclass(frozen=True)
class RigMatches:
    """Matches of one camera of a rig.

    Attributes:
        camera: the camera.
        cam_from_rig: its pose on the rig.
        pixels: (N, 2) pixels of the keypoints.
        positions: (N, 3) positions of their landmarks in the map frame [m].
    """

    camera: PinholeCamera
    cam_from_rig: Rigid3d
    pixels: Float64
    positions: Float64

    def chosen(self, mask: Bool) -> "RigMatches":
        """Matches for which an (N,) mask is true."""
        return RigMatches(self.camera, self.cam_from_rig, self.pixels[mask], self.positions[mask])


def refine_rig_pose(rig_from_map: Rigid3d, cameras: Sequence[RigMatches]) -> Rigid3d:
    """Move the pose of a rig as ``refine_absolute_pose`` does, with the matches of all of its cameras."""
    problems = [
        (one.cam_from_rig, problem)
        for one in cameras
        if (
            problem := _problem_in_front(
                one.cam_from_rig * rig_from_map, one.pixels, one.positions, one.camera, at_least=1
            )
        )
    ]
    return _minimized(_RigProblem(problems), rig_from_map) if problems else rig_from_map


class _Minimizable(Protocol):
    """Function of a pose a_from_map whose minimum is looked for."""

    def at(self, pose: Rigid3d) -> Any:
        """Errors at a pose, with their ``loss``."""
        ...

    def normal_equations(self, at: Any) -> tuple[Float64, Float64]:
        """(6, 6) curvature and (6,) gradient of half the loss by a motion of the points in frame a."""
        ...


def _minimized(problem: _Minimizable, start: Rigid3d) -> Rigid3d:
    """Pose with the smallest loss near a start; the start if the problem does not fix all six degrees of freedom."""
    pose, at = start, problem.at(start)
    damping = _FIRST_DAMPING
    normal, gradient = problem.normal_equations(at)
    for _ in range(_MAX_STEPS):
        damped = normal * (1.0 + damping * _IDENTITY)
        _, step, failed = dposv(damped, -gradient)  # NumPy's solver takes ten times as long for so small a system
        if failed:
            return start
        moved = Rigid3d(Rotation3d(step[3:]), step[:3]) * pose
        if np.abs(step).max() < _SMALL_STEP:
            return moved
        at_moved = problem.at(moved)
        if at_moved.loss > at.loss:
            damping *= _DAMPING_FACTOR
            if damping > _MAX_DAMPING:
                break
            continue
        pose, at, damping = moved, at_moved, damping / _DAMPING_FACTOR
        normal, gradient = problem.normal_equations(at)
    return pose


def projection_jacobian(rays: Float64, inverse_depth: Float64, camera: PinholeCamera) -> Float64:
    """Jacobians (2, 6, N) of columns and rows of pixels by a motion of the points.

    The motion is a translation t [m], then a rotation by w [rad] about the camera's origin: ``x + t + w x x``.

    Args:
        rays: (2, N) rays x and y of the points at depth 1, in the camera's frame.
        inverse_depth: (N,) inverse depths of the points [1/m].
        camera: camera.
    """
    (x, y), (fx, fy) = rays, (camera.fx, camera.fy)
    jacobian = np.zeros((2, 6, len(x)))
    by_column, by_row = jacobian
    np.multiply(inverse_depth, fx, out=by_column[0])
    np.multiply(inverse_depth, fy, out=by_row[1])
    np.multiply(x, -by_column[0], out=by_column[2])
    np.multiply(y, -by_row[1], out=by_row[2])
    np.multiply(y, -fx, out=by_column[5])
    np.multiply(x, fy, out=by_row[5])
    np.multiply(x, by_column[5], out=by_column[3])
    np.multiply(y, by_row[5], out=by_row[4])
    by_column[4] = fx + fx * x * x
    by_row[3] = -fy - fy * y * y
    return jacobian


@dataclass(frozen=True)
class _Errors:
    """Matches at a pose: rays (2, N), inverse depths (N,), errors (2, N) and squared errors (N,) [px], and the loss."""

    rays: Float64
    inverse_depth: Float64
    errors: Float64
    squared: Float64
    loss: float


class _Problem:
    """Matches of (N, 3) positions in the map [m] with (N, 2) pixels."""

    def __init__(self, positions: Float64, pixels: Float64, camera: PinholeCamera) -> None:
        self._camera, self._positions = camera, np.ones((4, len(positions)))  # homogeneous
        self._positions[:3] = positions.T
        self._from_center = np.subtract(pixels.T, [[camera.cx], [camera.cy]], order="C")
        self._focal = np.array([[camera.fx], [camera.fy]])

    def at(self, cam_from_map: Rigid3d) -> _Errors:
        """Errors at a pose; those of points behind the camera are infinite."""
        points = cam_from_map.matrix() @ self._positions
        behind = points[2] <= 0
        some_behind = behind.any()
        if some_behind:
            points[2, behind] = 1.0
        inverse_depth = 1.0 / points[2]
        rays = points[:2] * inverse_depth
        errors = rays * self._focal
        errors -= self._from_center
        squared = errors[0] ** 2
        squared += errors[1] ** 2
        if some_behind:
            squared[behind] = np.inf
        return _Errors(rays, inverse_depth, errors, squared, float(np.log1p(squared / _LOSS_PX**2).sum()))

    def normal_equations(self, at: _Errors) -> tuple[Float64, Float64]:
        """(6, 6) curvature and (6,) gradient of half the loss by a motion of the points.

        An error e has the slope w = 1 / (1 + e^2) of the loss. Across e the loss curves by w, along it by
        w (1 - e^2) / (1 + e^2), which is kept positive (Triggs et al., Bundle Adjustment, section 4.3).
        """
        squared = at.squared / _LOSS_PX**2
        by_column, by_row = projection_jacobian(at.rays, at.inverse_depth, self._camera)
        along = by_column * at.errors[0]
        along += by_row * at.errors[1]
        weights = 1.0 / (1.0 + squared)
        flattening = np.minimum(2.0 * weights, _LARGEST_FLATTENING / np.maximum(squared, 1e-12))
        flattening *= weights / _LOSS_PX**2
        normal = (by_column * weights) @ by_column.T + (by_row * weights) @ by_row.T - (along * flattening) @ along.T
        return normal, along @ weights


def _problem_in_front(
    cam_from_map: Rigid3d, pixels: Float64, positions: Float64, camera: PinholeCamera, at_least: int = _FEWEST_MATCHES
) -> _Problem | None:
    """Problem of the matches in front of the camera; None for fewer than ``at_least``."""
    in_front = transform_points(cam_from_map, positions)[:, 2] > 0
    if in_front.sum() < at_least:
        return None
    return _Problem(positions[in_front], pixels[in_front], camera)


@dataclass(frozen=True)
class _RigErrors:
    """Errors of each camera of a rig, and the sum of their losses."""

    cameras: list[_Errors]
    loss: float


class _RigProblem:
    """Matches of all cameras of a rig.

    A motion [t, w] of the points in the rig's frame is one of [R t + p x R w, R w] in that of a camera with the pose
    [R, p] = cam_from_rig: the adjoint of the pose.
    """

    def __init__(self, problems: Sequence[tuple[Rigid3d, _Problem]]) -> None:
        self._problems = problems
        self._adjoints = [adjoint(cam_from_rig) for cam_from_rig, _ in problems]

    def at(self, rig_from_map: Rigid3d) -> _RigErrors:
        errors = [problem.at(cam_from_rig * rig_from_map) for cam_from_rig, problem in self._problems]
        return _RigErrors(errors, sum(each.loss for each in errors))

    def normal_equations(self, at: _RigErrors) -> tuple[Float64, Float64]:
        normal, gradient = np.zeros((6, 6)), np.zeros(6)
        for (_, problem), of_camera, errors in zip(self._problems, self._adjoints, at.cameras, strict=True):
            normal_of_camera, gradient_of_camera = problem.normal_equations(errors)
            normal += of_camera.T @ normal_of_camera @ of_camera
            gradient += of_camera.T @ gradient_of_camera
        return normal, gradient
