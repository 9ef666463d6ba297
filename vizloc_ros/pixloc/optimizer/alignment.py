"""The fast alignment of one image: from a handful of priors to poses, coarse to fine (PixLoc, section 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Bool, Float32, Float64, Int64
from vizloc_ros.errors import FeatureError
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.poses import pose_from_matrix
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions, LearnedAlignment
from vizloc_ros.pixloc.optimizer.equations import NormalEquations, covariance, solve
from vizloc_ros.pixloc.optimizer.products import ImageProducts, PointProducts
from vizloc_ros.pixloc.optimizer.projection import LevelCamera, moved
from vizloc_ros.pixloc.pyramid import FeatureLevel, FeaturePyramid
from vizloc_ros.pixloc.references import References

_GIVEN_UP = "given up: other starts fit better"


@dataclass(frozen=True)
class Alignment:
    """What came of one prior.

    Attributes:
        cam_from_map: the pose, however it ended.
        failure: why it is not to be used; empty when it converged, or used up its iterations.
        cost: mean robust cost of the landmarks in the image, weighted by confidence, on the finest level; on the one
            before where it was given up there.
        inlier_ratio: of those landmarks, by confidence, the share whose features are like their references.
        points: landmarks in the image.
        iterations: on each level, finest first.
        covariance: (6, 6) of the position and rotation, as ROS orders them, in the map's frame; NaN without a pose.
        trace: the poses on the way, the prior first; empty unless they were to be kept.
    """

    cam_from_map: Rigid3d
    failure: str
    cost: float
    inlier_ratio: float
    points: int
    iterations: tuple[int, ...]
    covariance: Float64
    trace: tuple[Rigid3d, ...] = ()


def align(
    pyramid: FeaturePyramid,
    references: References,
    camera: PinholeCamera,
    priors: Sequence[Rigid3d],
    learned: LearnedAlignment,
    options: AlignmentOptions | None = None,
    correction: IntrinsicsCorrection | None = None,
    *,
    coarsest: int | None = None,
    finalists: int | None = None,
    trace: bool = False,
) -> list[Alignment]:
    """Aligns an image with landmarks, from each of some priors.

    Several priors cost little more than one if only the best of them go on to the finest level.

    Args:
        pyramid: of the image.
        references: the landmarks, with as many levels.
        camera: of the image.
        priors: cam_from_map, at least one.
        learned: damping and loss of the features.
        options: see ``AlignmentOptions``.
        correction: what the camera's calibration is off by, where the map knows it.
        coarsest: index of the level to begin with, for priors that are good; the last by default.
        finalists: how many priors go on to the finest level, those that cost least; all by default.
        trace: keep the pose of every iteration.

    Returns:
        One outcome for each prior, in their order.

    Raises:
        FeatureError: the image's levels are not those of the references.
    """
    if not len(pyramid) == len(references.levels) == len(learned.dampings):
        raise FeatureError(
            f"the image has {len(pyramid)} levels, the references {len(references.levels)}, and what was learned "
            f"{len(learned.dampings)}: they must be of the same network"
        )
    options = options or AlignmentOptions()
    descent = _Descent(len(pyramid), priors, learned, options, trace)
    for index in reversed(range(len(pyramid) if coarsest is None else coarsest + 1)):
        of_image = LevelCamera(camera, correction or IntrinsicsCorrection(), pyramid.levels[index].scale)
        level = _Level(index, pyramid.levels[index], references, of_image, len(priors), options)
        if index == 0 and finalists is not None:
            descent.choose(finalists)
        descent.run(level)
    return descent.outcomes(level)


class _Level:
    """One level of the image, and the landmarks that it is aligned with: the coarser, the fewer.

    Attributes:
        index: 0 is the finest.
        camera: of the level.
        points: (3, N) [m, map].
        confidences: (N,) of the references.
        products: of image and references.
        least: how many landmarks must be in the image.
    """

    def __init__(
        self,
        index: int,
        level: FeatureLevel,
        references: References,
        camera: LevelCamera,
        hypotheses: int,
        options: AlignmentOptions,
    ) -> None:
        self.index, self.camera, self._options = index, camera, options
        most = max(len(references) >> index, min(len(references), options.coarse_landmarks))
        rows = np.linspace(0, len(references) - 1, most).round().astype(int) if most else np.zeros(0, int)
        of_level = references.levels[index].take(rows) if most < len(references) else references.levels[index]
        self.points = np.ascontiguousarray(references.points[rows].T)
        self.confidences = of_level.confidences
        self.products = PointProducts(ImageProducts(level), of_level, hypotheses)
        self.least = options.min_landmarks
        self._shape = level.shape

    def contains(self, u: Float64, v: Float64) -> Bool:
        """Which places lie on the level, and not too near to its border."""
        border = self._options.border
        rows, columns = self._shape
        return (u >= border) & (v >= border) & (u <= columns - 1 - border) & (v <= rows - 1 - border)


@dataclass(frozen=True)
class _Seen:
    """The landmarks in the image, as one hypothesis sees them.

    Attributes:
        by_u: (6, M) derivative of their columns on the level by the pose.
        by_v: (6, M) of their rows.
        squared: (M,) squared residuals.
        confidences: (M,) of image and reference together.
        weights: (M,) of the equations.
        equations: of the hypothesis.
    """

    by_u: Float64
    by_v: Float64
    squared: Float32
    confidences: Float32
    weights: Float32
    equations: NormalEquations


class _Descent:
    """Several hypotheses on their way down the levels."""

    def __init__(
        self,
        levels: int,
        priors: Sequence[Rigid3d],
        learned: LearnedAlignment,
        options: AlignmentOptions,
        trace: bool,
    ) -> None:
        self._learned, self._options = learned, options
        matrices = np.array([prior.matrix() for prior in priors])
        self._rotations, self._translations = matrices[:, :, :3].copy(), matrices[:, :, 3].copy()
        self._starts = self._centres(np.arange(len(priors)))
        self._failures = [""] * len(priors)
        self._iterations = [[0] * levels for _ in priors]
        self._traces: list[list[Rigid3d]] | None = [[prior] for prior in priors] if trace else None
        self._costs = np.full(len(priors), np.inf)  # on the last level

    def run(self, level: _Level) -> None:
        """Steps on one level until every hypothesis has converged, failed, or used up its iterations.

        A coarse level with too few landmarks in the image is left out; without the finest there is no pose.
        """
        options = self._options
        enough_motion = options.coarse_min_motion if level.index else options.min_motion
        active = self._alive()
        for _ in range(options.max_iterations):
            if not len(active):
                return
            seen = self._look(active, level)
            enough = np.array([len(s.squared) >= level.least for s in seen])
            if level.index == 0:
                for b in active[~enough]:
                    self._failures[b] = f"fewer than {level.least} landmarks in the image"
            active, seen = active[enough], [s for s in seen if len(s.squared) >= level.least]
            if not len(active):
                return
            self._costs[active] = [self._cost(s) for s in seen]
            steps = solve([s.equations for s in seen], self._learned.dampings[level.index])
            self._step(active, level.index, steps)
            motions = np.array([_motion(s, step) for s, step in zip(seen, steps, strict=True)])
            alive = np.array([not self._failures[b] for b in active])
            active = active[alive & (motions > enough_motion)]

    def choose(self, finalists: int) -> None:
        """Gives up all hypotheses but those that cost least, as far as it was seen."""
        alive = self._alive()
        for b in alive[np.argsort(self._costs[alive], kind="stable")[finalists:]]:
            self._failures[b] = _GIVEN_UP

    def _alive(self) -> Int64:
        return np.flatnonzero([not failure for failure in self._failures])

    def _cost(self, seen: _Seen) -> float:
        """Mean robust cost, by confidence."""
        confidences = seen.confidences.astype(np.float64)
        return float(confidences @ self._learned.loss.cost(seen.squared) / max(float(confidences.sum()), 1e-9))

    def outcomes(self, finest: _Level) -> list[Alignment]:
        """How the hypotheses ended; those that were given up are not looked at again."""
        looked = np.flatnonzero([failure != _GIVEN_UP for failure in self._failures])
        seen = dict(zip(looked.tolist(), self._look(looked, finest), strict=True))
        return [self._outcome(b, seen.get(b)) for b in range(len(self._failures))]

    def _outcome(self, b: int, seen: _Seen | None) -> Alignment:
        traced = tuple(self._traces[b]) if self._traces is not None else ()
        if seen is None:
            nothing, cost = np.full((6, 6), np.nan), float(self._costs[b])
            return Alignment(
                self._pose(b), self._failures[b], cost, 0.0, 0, tuple(self._iterations[b]), nothing, traced
            )
        confidences = seen.confidences.astype(np.float64)
        total = max(float(confidences.sum()), 1e-9)
        inliers = seen.squared < self._options.inlier_distance**2
        return Alignment(
            self._pose(b),
            self._failures[b],
            self._cost(seen),
            float(confidences @ inliers / total),
            len(seen.squared),
            tuple(self._iterations[b]),
            covariance(seen.equations, seen.weights, seen.squared, self._rotations[b]),
            traced,
        )

    def _look(self, active: Int64, level: _Level) -> list[_Seen]:
        """What each hypothesis sees on a level, with its normal equations."""
        looked = level.camera.look(self._rotations[active], self._translations[active], level.points)
        count = level.points.shape[1]
        seen = np.flatnonzero(looked.in_front & level.contains(looked.u, looked.v))
        x, y, inverse, u, v = (values.ravel()[seen] for values in looked[:5])
        hypothesis, row = np.divmod(seen, count)
        sums = level.products.at(active[hypothesis] * count + row, u, v)
        confidences = sums.confidences * level.confidences[row]
        weights = confidences * self._learned.loss.weight(sums.squared)
        by_u, by_v = level.camera.jacobian(x, y, inverse)
        xx, xy, yy = weights * sums.xx, weights * sums.xy, weights * sums.yy
        along_u, along_v = xx * by_u + xy * by_v, xy * by_u + yy * by_v
        xr, yr = weights * sums.xr, weights * sums.yr
        bounds = np.searchsorted(seen, count * np.arange(len(active) + 1))
        return [
            _Seen(
                ju := by_u[:, rows],
                jv := by_v[:, rows],
                sums.squared[rows],
                confidences[rows],
                weights[rows],
                NormalEquations(ju @ along_u[:, rows].T + jv @ along_v[:, rows].T, ju @ xr[rows] + jv @ yr[rows]),
            )
            for rows in map(slice, bounds[:-1], bounds[1:])
        ]

    def _step(self, active: Int64, index: int, steps: Float64) -> None:
        """Moves the hypotheses; one that nothing fixes, or that went too far, has failed."""
        solved = np.isfinite(steps).all(axis=1)
        for b in active[~solved]:
            self._failures[b] = "the landmarks in the image do not fix the pose"
        active, steps = active[solved], steps[solved]
        self._rotations[active], self._translations[active] = moved(
            self._rotations[active], self._translations[active], steps
        )
        away = np.linalg.norm(self._centres(active) - self._starts[active], axis=1)
        for b, distance in zip(active, away, strict=True):
            self._iterations[b][index] += 1
            if self._traces is not None:
                self._traces[b].append(self._pose(b))
            if not distance < self._options.max_distance:
                self._failures[b] = f"diverged: more than {self._options.max_distance:g} m away from the prior"

    def _centres(self, active: Int64) -> Float64:
        """(A, 3) positions of the cameras [m, map]."""
        return -np.einsum("bji,bj->bi", self._rotations[active], self._translations[active])

    def _pose(self, b: int) -> Rigid3d:
        return pose_from_matrix(np.column_stack([self._rotations[b], self._translations[b]]))


def _motion(seen: _Seen, step: Float64) -> float:
    """Root mean square [pixels of the level] of how far a step moves the landmarks; NaN counts as converged."""
    x, y = step @ seen.by_u, step @ seen.by_v
    return float(np.sqrt((x @ x + y @ y) / len(x)))
