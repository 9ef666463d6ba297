"""Levenberg-Marquardt optimizer of the pose of a camera or a rig, from several initial poses (PixLoc, Eq. 1 to 6)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Bool, Float64, Int64
from vizloc_ros.geometry.poses import pose_from_matrix
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions
from vizloc_ros.pixloc.optimizer.equations import covariance, solve
from vizloc_ros.pixloc.optimizer.levels import Level
from vizloc_ros.pixloc.optimizer.linearization import Linearization, inlier_ratio, linearize
from vizloc_ros.pixloc.optimizer.projection import apply_left_update
from vizloc_ros.pixloc.optimizer.robust import BarronLoss

_GIVEN_UP = "given up: other initial poses fit better"


@dataclass(frozen=True)
class ViewFit:
    """Fit of one view to a pose, on the finest feature level.

    Attributes:
        inlier_ratio: as in ``Alignment``, of the landmarks of this view.
        num_points: number of them in the image.
        contradiction: squared distance of the pose from the one that these landmarks alone would have, in units of the
            covariance of that, to first order; infinite if they do not fix a pose.
    """

    inlier_ratio: float
    num_points: int
    contradiction: float


@dataclass(frozen=True)
class Alignment:
    """Outcome of an alignment from one initial pose.

    Attributes:
        cam_from_map: final pose, that of the rig, also of an alignment that failed.
        failure: reason not to use the pose; empty when it converged, or used up its iterations.
        cost: robust cost (PixLoc, Eq. 2) of the landmarks in the image, divided by the sum of their confidences, on the
            finest feature level; on the level before for a pose that was given up there.
        inlier_ratio: ratio of those landmarks, by confidence, with a residual below ``inlier_distance``.
        num_points: number of landmarks in the image.
        iterations: number of iterations on each level, finest first.
        covariance: (6, 6) of [x y z, rotation], the order of ROS, in the map frame; NaN without a covariance.
        trace: pose before each iteration and the final pose; empty unless asked for.
        fits: fit of each of several views; empty for a pose that was given up.
    """

    cam_from_map: Rigid3d
    failure: str
    cost: float
    inlier_ratio: float
    num_points: int
    iterations: tuple[int, ...]
    covariance: Float64
    trace: tuple[Rigid3d, ...] = ()
    fits: tuple[ViewFit, ...] = ()

    @property
    def map_from_cam(self) -> Rigid3d:
        """Pose of the rig in the map."""
        return self.cam_from_map.inverse()

    def turned_back(self, roll: Roll) -> "Alignment":
        """Outcome for a camera that is rolled, from that for the upright camera."""
        if roll is Roll.NONE:
            return self
        cam_from_upright = roll.inverse.upright_from_cam
        trace = tuple(cam_from_upright * upright_from_map for upright_from_map in self.trace)
        return replace(self, cam_from_map=cam_from_upright * self.cam_from_map, trace=trace)


@dataclass
class _Hypothesis:
    """State of the optimization from one initial pose.

    Attributes:
        iterations: number of iterations on each level, finest first.
        trace: poses so far, or None if they are not kept.
        failure: reason for which it ended without success, empty so far.
        cost: cost on the last level.
        first_cost: cost on the last level before its first iteration.
    """

    iterations: list[int]
    trace: list[Rigid3d] | None
    failure: str = ""
    cost: float = np.inf
    first_cost: float = np.inf


class PoseOptimizer:
    """Levenberg-Marquardt optimizer of several poses side by side, level by level (PixLoc, section 3.1)."""

    def __init__(
        self,
        initial_poses: Sequence[Rigid3d],
        levels: int,
        options: AlignmentOptions,
        *,
        accurate: bool = False,
        trace: bool = False,
    ) -> None:
        """Begin at initial poses rig_from_map, to run on a number of levels.

        From ``accurate`` ones, a coarse level on which a pose diverges is undone. ``trace`` keeps every pose.
        """
        self._options, self._accurate = options, accurate
        matrices = np.array([pose.matrix() for pose in initial_poses])
        self._rotations, self._translations = matrices[:, :, :3].copy(), matrices[:, :, 3].copy()  # of rig_from_map
        self._initial_rotations, self._initial_translations = self._rotations.copy(), self._translations.copy()
        self._initial_centers = self._centers(np.arange(len(initial_poses)))
        self._hypotheses = [_Hypothesis([0] * levels, [pose] if trace else None) for pose in initial_poses]

    def run(self, levels: Sequence[Level]) -> None:
        """Iterate on one level of each view until every pose has converged, failed, or used up its iterations.

        A coarse level with too few landmarks in the images is skipped; on the finest one, the pose has failed.
        """
        level = levels[0]  # damping, loss and limits are those of all
        active = self._running()
        for iteration in range(self._options.max_iterations):
            if not len(active):
                return
            active, linearizations = self._with_enough_landmarks(active, self._linearize(active, levels), level)
            if not len(active):
                return
            for i, linearization in zip(active, linearizations, strict=True):
                self._hypotheses[i].cost = linearization.cost(level.loss)
                if iteration == 0:
                    self._hypotheses[i].first_cost = self._hypotheses[i].cost
            updates = solve([each.equations for each in linearizations], level.damping)  # Eq. 4
            running = self._update(active, level.index, updates)
            motions = np.array([each.rms_motion(d) for each, d in zip(linearizations, updates, strict=True)])
            active = active[running & (motions > level.min_motion)]  # a motion that is NaN counts as converged

    def prefer_initial(self, levels: Sequence[Level]) -> None:
        """Go back to the initial pose wherever it costs less on these levels than what those before have found.

        A level finds the minimum near an initial pose only if there is one: things that repeat, or landmarks behind
        others, lead it away from a good prediction.
        """
        active = self._running()
        if not len(active):
            return
        found = self._rotations[active], self._translations[active]
        costs = self._costs(active, levels)
        self._rotations[active], self._translations[active] = (
            self._initial_rotations[active],
            self._initial_translations[active],
        )
        worse = self._costs(active, levels) > costs
        for own, value in zip((self._rotations, self._translations), found, strict=True):
            own[active[worse]] = value[worse]

    def keep_best(self, finalists: int) -> None:
        """Give up all poses but those of the lowest cost on the last level."""
        running = self._running()
        costs = np.array([self._hypotheses[i].cost for i in running])
        for i in running[np.argsort(costs, kind="stable")[finalists:]]:
            self._hypotheses[i].failure = _GIVEN_UP

    def outcomes(self, finest: Sequence[Level]) -> list[Alignment]:
        """Return the outcome of every pose; those that were given up are not linearized on the finest levels."""
        kept = np.flatnonzero([hypothesis.failure != _GIVEN_UP for hypothesis in self._hypotheses])
        linearizations = dict(zip(kept.tolist(), self._linearize(kept, finest), strict=True))
        return [self._outcome(i, linearizations.get(i), finest[0].loss) for i in range(len(self._hypotheses))]

    def first_costs(self) -> list[float]:
        """Return the cost of every pose on the last level before its first iteration there."""
        return [hypothesis.first_cost for hypothesis in self._hypotheses]

    def _running(self) -> Int64:
        """Return the indices of the poses that have not failed."""
        return np.flatnonzero([not hypothesis.failure for hypothesis in self._hypotheses])

    def _linearize(self, active: Int64, levels: Sequence[Level]) -> list[Linearization]:
        """Linearize the residuals of the views' levels at each active pose."""
        rotations, translations = self._rotations[active], self._translations[active]
        of_views = [linearize(level, active, rotations, translations) for level in levels]
        return [Linearization.of(views) for views in zip(*of_views, strict=True)]

    def _costs(self, active: Int64, levels: Sequence[Level]) -> Float64:
        """Return the costs of some poses on the views' levels; infinite with too few landmarks in the images."""
        level = levels[0]
        return np.array(
            [
                each.cost(level.loss) if each.num_points >= level.min_landmarks else np.inf
                for each in self._linearize(active, levels)
            ]
        )

    def _with_enough_landmarks(
        self, active: Int64, linearizations: list[Linearization], level: Level
    ) -> tuple[Int64, list[Linearization]]:
        """Return the active poses with enough landmarks in the image; on the finest level, the others have failed."""
        enough = np.array([each.num_points >= level.min_landmarks for each in linearizations])
        if enough.all():
            return active, linearizations
        if level.index == 0:
            for i in active[~enough]:
                self._hypotheses[i].failure = f"fewer than {level.min_landmarks} landmarks in the image"
        return active[enough], [each for each in linearizations if each.num_points >= level.min_landmarks]

    def _update(self, active: Int64, index: int, updates: Float64) -> Bool:
        """Apply (A, 6) updates to the active poses (PixLoc, Eq. 5); return the (A,) mask of those that can go on.

        A singular or diverged pose has failed; on a coarse level, it goes back to its initial pose if that is accurate.
        """
        solved: Bool = np.asarray(np.isfinite(updates).all(axis=1))
        moving = active[solved]
        self._rotations[moving], self._translations[moving] = apply_left_update(
            self._rotations[moving], self._translations[moving], updates[solved]
        )
        distances = np.linalg.norm(self._centers(active) - self._initial_centers[active], axis=1)
        near: Bool = np.logical_and(solved, distances < self._options.max_distance)
        for i, is_solved, is_near in zip(active, solved, near, strict=True):
            hypothesis = self._hypotheses[i]
            hypothesis.iterations[index] += int(is_solved)
            if hypothesis.trace is not None and is_solved:
                hypothesis.trace.append(self._pose(i))
            if is_near:
                continue
            if index > 0 and self._accurate:
                self._rotations[i], self._translations[i] = self._initial_rotations[i], self._initial_translations[i]
            elif not is_solved:
                hypothesis.failure = "the landmarks in the image do not fix the pose"
            else:
                hypothesis.failure = f"diverged: more than {self._options.max_distance:g} m away from the initial pose"
        return near

    def _outcome(self, i: int, linearization: Linearization | None, loss: BarronLoss) -> Alignment:
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
        views, distance = linearization.views, self._options.inlier_distance
        squared, weights = linearization.squared_residuals, linearization.weights
        return replace(
            given_up,
            cost=linearization.cost(loss),
            inlier_ratio=inlier_ratio(views, distance),
            num_points=linearization.num_points,
            covariance=covariance(linearization.equations, weights, squared, self._rotations[i]),
            fits=tuple(ViewFit(inlier_ratio([view], distance), view.num_points, view.contradiction) for view in views)
            if len(views) > 1
            else (),
        )

    def _centers(self, active: Int64) -> Float64:
        """Return (A, 3) positions of the rig [m, map]."""
        return -np.einsum("bji,bj->bi", self._rotations[active], self._translations[active])

    def _pose(self, i: int) -> Rigid3d:
        return pose_from_matrix(np.column_stack([self._rotations[i], self._translations[i]]))
