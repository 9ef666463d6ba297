"""Alignment of one image: Levenberg-Marquardt from several initial poses, coarse to fine (PixLoc, section 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Bool, Float32, Float64, Int64, evenly
from vizloc_ros.errors import FeatureError
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.poses import pose_from_matrix
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions, LearnedAlignment
from vizloc_ros.pixloc.optimizer.equations import NormalEquations, covariance, solve
from vizloc_ros.pixloc.optimizer.products import ImageProducts, PointProducts
from vizloc_ros.pixloc.optimizer.projection import LevelCamera, apply_left_update
from vizloc_ros.pixloc.pyramid import FeatureLevel, FeaturePyramid
from vizloc_ros.pixloc.references import References

_GIVEN_UP = "given up: other initial poses fit better"


@dataclass(frozen=True)
class Alignment:
    """Outcome of an alignment from one initial pose.

    Attributes:
        cam_from_map: final pose, also of an alignment that failed.
        failure: reason not to use the pose; empty when it converged, or used up its iterations.
        cost: robust cost (PixLoc, Eq. 2) of the landmarks in the image, divided by the sum of their confidences, on the
            finest level; on the level before for a pose that was given up there.
        inlier_ratio: ratio of those landmarks, by confidence, with a residual below ``inlier_distance``.
        num_points: number of landmarks in the image.
        iterations: number of iterations on each level, finest first.
        covariance: (6, 6) of [x y z, rotation], the order of ROS, in the map frame; NaN without a covariance.
        trace: pose before each iteration and the final pose; empty unless asked for.
    """

    cam_from_map: Rigid3d
    failure: str
    cost: float
    inlier_ratio: float
    num_points: int
    iterations: tuple[int, ...]
    covariance: Float64
    trace: tuple[Rigid3d, ...] = ()

    def turned_back(self, roll: Roll) -> "Alignment":
        """Outcome for a camera that is rolled, from that for the upright camera."""
        if roll is Roll.NONE:
            return self
        cam_from_upright = roll.inverse.upright_from_cam
        trace = tuple(cam_from_upright * upright_from_map for upright_from_map in self.trace)
        return replace(self, cam_from_map=cam_from_upright * self.cam_from_map, trace=trace)


def align(
    pyramid: FeaturePyramid,
    references: References,
    camera: PinholeCamera,
    initial_poses: Sequence[Rigid3d],
    learned: LearnedAlignment,
    options: AlignmentOptions | None = None,
    correction: IntrinsicsCorrection | None = None,
    *,
    coarsest: int | None = None,
    finalists: int | None = None,
    trace: bool = False,
) -> list[Alignment]:
    """Align an image with landmarks, from each of several initial poses.

    Several initial poses cost little more than one if only the best of them go on to the finest level.

    Args:
        pyramid: features of the image, F_q of the paper.
        references: landmarks with reference features F_k, of as many levels.
        camera: camera of the image.
        initial_poses: initial cam_from_map, (R_0, t_0) of the paper; one or more.
        learned: damping and robust cost that belong to the features.
        options: see ``AlignmentOptions``.
        correction: error of the calibration of ``camera``, as the map estimated it.
        coarsest: index of the level to begin with, for accurate initial poses; the last by default.
        finalists: number of poses that go on to the finest level, those of the lowest cost; all by default.
        trace: True to keep the pose of every iteration.

    Returns:
        One outcome for each initial pose, in their order.

    Raises:
        FeatureError: image, reference features and damping differ in their number of levels.
    """
    if not len(pyramid) == len(references.levels) == len(learned.dampings):
        raise FeatureError(
            f"the image has {len(pyramid)} levels, the reference features {len(references.levels)}, and the damping "
            f"{len(learned.dampings)}: they must be of the same network"
        )
    options = options or AlignmentOptions()
    correction = correction or IntrinsicsCorrection()

    def level_at(index: int) -> _Level:
        level_camera = LevelCamera(camera, correction, pyramid.levels[index].scale)
        return _Level(index, pyramid.levels[index], references, level_camera, len(initial_poses), options)

    optimizer = _PoseOptimizer(initial_poses, learned, options, trace)
    for index in range(len(pyramid) - 1 if coarsest is None else coarsest, 0, -1):
        optimizer.run(level_at(index))
    finest = level_at(0)
    if finalists is not None:
        optimizer.keep_best(finalists)
    optimizer.run(finest)
    return optimizer.outcomes(finest)


class _Level:
    """One level of the image, with the landmarks that are aligned on it: fewer on coarser levels.

    Attributes:
        index: index of the level, 0 is the finest.
        camera: camera of the level.
        points: (3, N) positions of the landmarks [m, map].
        confidences: (N,) confidences u_k of the reference features.
        products: scalar products of image and reference features.
        min_landmarks: minimum number of landmarks in the image.
    """

    def __init__(
        self,
        index: int,
        level: FeatureLevel,
        references: References,
        camera: LevelCamera,
        poses: int,
        options: AlignmentOptions,
    ) -> None:
        self.index, self.camera, self._options = index, camera, options
        count = max(len(references) >> index, min(len(references), options.coarse_landmarks))
        rows = evenly(len(references), count)
        level_references = references.levels[index].take(rows) if count < len(references) else references.levels[index]
        self.points = np.ascontiguousarray(references.positions[rows].T)
        self.confidences = level_references.confidences
        self.products = PointProducts(ImageProducts(level), level_references, poses)
        self.min_landmarks = options.min_landmarks
        self._shape = level.shape

    def contains(self, u: Float64, v: Float64) -> Bool:
        """Return the mask of the positions on the level that are not too near to its border."""
        border = self._options.border
        rows, columns = self._shape
        return (u >= border) & (v >= border) & (u <= columns - 1 - border) & (v <= rows - 1 - border)


@dataclass
class _Hypothesis:
    """State of the optimization from one initial pose.

    Attributes:
        iterations: number of iterations on each level, finest first.
        trace: poses so far, or None if they are not kept.
        failure: reason for which it ended without success, empty so far.
        cost: cost on the last level.
    """

    iterations: list[int]
    trace: list[Rigid3d] | None
    failure: str = ""
    cost: float = np.inf


@dataclass(frozen=True)
class _Linearization:
    """Residuals of the M landmarks in the image, linearized at one pose (PixLoc, Eq. 1 to 3 and 6).

    Attributes:
        jacobian_u: (6, M) du / d delta, derivative of the columns on the level by the update.
        jacobian_v: (6, M) dv / d delta, derivative of the rows.
        squared_residuals: (M,) ||r||^2.
        confidences: (M,) weights w = u_q u_k (Eq. 6).
        weights: (M,) w rho', the diagonal of W (Eq. 3).
        equations: normal equations of the pose.
    """

    jacobian_u: Float64
    jacobian_v: Float64
    squared_residuals: Float32
    confidences: Float32
    weights: Float32
    equations: NormalEquations

    def rms_motion(self, update: Float64) -> float:
        """Return by how much an update moves the landmarks, as root mean square [pixels of the level]."""
        u, v = update @ self.jacobian_u, update @ self.jacobian_v
        return float(np.sqrt((u @ u + v @ v) / len(u)))


class _PoseOptimizer:
    """Levenberg-Marquardt optimizer of several poses side by side, level by level (PixLoc, section 3.1)."""

    def __init__(
        self, initial_poses: Sequence[Rigid3d], learned: LearnedAlignment, options: AlignmentOptions, trace: bool
    ) -> None:
        self._learned, self._options = learned, options
        matrices = np.array([pose.matrix() for pose in initial_poses])
        self._rotations, self._translations = matrices[:, :, :3].copy(), matrices[:, :, 3].copy()  # of cam_from_map
        self._initial_centers = self._centers(np.arange(len(initial_poses)))
        levels = len(learned.dampings)
        self._hypotheses = [_Hypothesis([0] * levels, [pose] if trace else None) for pose in initial_poses]

    def run(self, level: _Level) -> None:
        """Iterate on one level until every pose has converged, failed, or used up its iterations.

        A coarse level with too few landmarks in the image is skipped; on the finest one, the pose has failed.
        """
        options = self._options
        min_motion = options.coarse_min_motion if level.index else options.min_motion
        active = self._running()
        for _ in range(options.max_iterations):
            if not len(active):
                return
            active, linearizations = self._with_enough_landmarks(active, self._linearize(active, level), level)
            if not len(active):
                return
            for i, linearization in zip(active, linearizations, strict=True):
                self._hypotheses[i].cost = self._cost(linearization)
            damping = self._learned.dampings[level.index]
            updates = solve([each.equations for each in linearizations], damping)  # Eq. 4
            self._update(active, level.index, updates)
            motions = np.array([each.rms_motion(d) for each, d in zip(linearizations, updates, strict=True)])
            running = np.array([not self._hypotheses[i].failure for i in active])
            active = active[running & (motions > min_motion)]  # a motion that is NaN counts as converged

    def keep_best(self, finalists: int) -> None:
        """Give up all poses but those of the lowest cost on the last level."""
        running = self._running()
        costs = np.array([self._hypotheses[i].cost for i in running])
        for i in running[np.argsort(costs, kind="stable")[finalists:]]:
            self._hypotheses[i].failure = _GIVEN_UP

    def outcomes(self, finest: _Level) -> list[Alignment]:
        """Return the outcome of every pose; those that were given up are not linearized on the finest level."""
        kept = np.flatnonzero([hypothesis.failure != _GIVEN_UP for hypothesis in self._hypotheses])
        linearizations = dict(zip(kept.tolist(), self._linearize(kept, finest), strict=True))
        return [self._outcome(i, linearizations.get(i)) for i in range(len(self._hypotheses))]

    def _running(self) -> Int64:
        """Return the indices of the poses that have not failed."""
        return np.flatnonzero([not hypothesis.failure for hypothesis in self._hypotheses])

    def _linearize(self, active: Int64, level: _Level) -> list[_Linearization]:
        """Linearize the residuals of a level at each active pose: projection, lookup, weights, normal equations.

        Let F_u and F_v be the derivatives of the features by the position p = (u, v) on the level. A residual has the
        Jacobian J = F_u du + F_v dv (PixLoc, Eq. 3). So J^T J and J^T r need only products such as F_u . F_v.
        """
        projected = level.camera.project(self._rotations[active], self._translations[active], level.points)
        count = level.points.shape[1]
        in_image = np.flatnonzero(projected.in_front & level.contains(projected.u, projected.v))
        row, landmark = np.divmod(in_image, count)
        points = projected.take(in_image)

        products = level.products.at(active[row] * count + landmark, points.u, points.v)  # Eq. 1
        confidences = products.confidences * level.confidences[landmark]  # Eq. 6
        weights = confidences * self._learned.loss.weight(products.squared_residuals)  # W = w rho'

        du, dv = level.camera.jacobian(points.x, points.y, points.inverse_depth)
        xx, xy, yy = weights * products.xx, weights * products.xy, weights * products.yy
        weighted_u, weighted_v = xx * du + xy * dv, xy * du + yy * dv
        xr, yr = weights * products.xr, weights * products.yr

        linearizations = []  # H = J^T W J and J^T W r of each pose, Eq. 3
        bounds = np.searchsorted(in_image, count * np.arange(len(active) + 1))
        for own in map(slice, bounds[:-1], bounds[1:]):  # the landmarks of one pose
            own_du, own_dv = du[:, own], dv[:, own]
            hessian = own_du @ weighted_u[:, own].T + own_dv @ weighted_v[:, own].T
            gradient = own_du @ xr[own] + own_dv @ yr[own]
            equations = NormalEquations(hessian, gradient)
            squared = products.squared_residuals[own]
            linearizations.append(_Linearization(own_du, own_dv, squared, confidences[own], weights[own], equations))
        return linearizations

    def _with_enough_landmarks(
        self, active: Int64, linearizations: list[_Linearization], level: _Level
    ) -> tuple[Int64, list[_Linearization]]:
        """Return the active poses with enough landmarks in the image; on the finest level, the others have failed."""
        enough = np.array([len(each.squared_residuals) >= level.min_landmarks for each in linearizations])
        if level.index == 0:
            for i in active[~enough]:
                self._hypotheses[i].failure = f"fewer than {level.min_landmarks} landmarks in the image"
        return active[enough], [each for each in linearizations if len(each.squared_residuals) >= level.min_landmarks]

    def _cost(self, linearization: _Linearization) -> float:
        """Return the robust cost (PixLoc, Eq. 2), divided by the sum of the confidences."""
        confidences = linearization.confidences.astype(np.float64)
        costs = self._learned.loss.cost(linearization.squared_residuals)
        return float(confidences @ costs / max(float(confidences.sum()), 1e-9))

    def _update(self, active: Int64, index: int, updates: Float64) -> None:
        """Apply (A, 6) updates to the active poses (PixLoc, Eq. 5); a singular or diverged pose has failed."""
        solved = np.isfinite(updates).all(axis=1)
        for i in active[~solved]:
            self._hypotheses[i].failure = "the landmarks in the image do not fix the pose"
        active, updates = active[solved], updates[solved]
        self._rotations[active], self._translations[active] = apply_left_update(
            self._rotations[active], self._translations[active], updates
        )
        distances = np.linalg.norm(self._centers(active) - self._initial_centers[active], axis=1)
        for i, distance in zip(active, distances, strict=True):
            hypothesis = self._hypotheses[i]
            hypothesis.iterations[index] += 1
            if hypothesis.trace is not None:
                hypothesis.trace.append(self._pose(i))
            if not distance < self._options.max_distance:
                hypothesis.failure = f"diverged: more than {self._options.max_distance:g} m away from the initial pose"

    def _outcome(self, i: int, linearization: _Linearization | None) -> Alignment:
        hypothesis = self._hypotheses[i]
        given_up = Alignment(
            cam_from_map=self._pose(i),
            failure=hypothesis.failure,
            cost=hypothesis.cost,
            inlier_ratio=0.0,
            num_points=0,
            iterations=tuple(hypothesis.iterations),
            covariance=np.full((6, 6), np.nan),
            trace=tuple(hypothesis.trace or ()),
        )
        if linearization is None:
            return given_up
        squared, confidences = linearization.squared_residuals, linearization.confidences.astype(np.float64)
        inliers = squared < self._options.inlier_distance**2
        return replace(
            given_up,
            cost=self._cost(linearization),
            inlier_ratio=float(confidences @ inliers / max(float(confidences.sum()), 1e-9)),
            num_points=len(squared),
            covariance=covariance(linearization.equations, linearization.weights, squared, self._rotations[i]),
        )

    def _centers(self, active: Int64) -> Float64:
        """Return (A, 3) positions of the cameras [m, map]."""
        return -np.einsum("bji,bj->bi", self._rotations[active], self._translations[active])

    def _pose(self, i: int) -> Rigid3d:
        return pose_from_matrix(np.column_stack([self._rotations[i], self._translations[i]]))
