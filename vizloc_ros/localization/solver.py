"""x"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, Int32
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.localization.absolute_pose import estimate_absolute_pose
from vizloc_ros.localization.matching import match_to_place
from vizloc_ros.localization.options import PoseOptions
from vizloc_ros.localization.place import Place
from vizloc_ros.localization.pose_covariance import pose_covariance
from vizloc_ros.stopwatch import Stopwatch


@dataclass(frozen=True)
class LocalizedPose:
    """A pose that passed verification.

    Attributes:
        world_from_cam: pose of the camera's optical frame in the map.
        covariance: (6, 6) [x y z, rotation about fixed x y z] in the map frame [m^2, rad^2].
        keypoints: (n,) inlier keypoints of the query.
        landmarks: (n,) the landmarks that they see.
        points: (n, 3) their positions [m].
        rejected: (m - n,) keypoints whose matches do not agree with the pose.
        reprojection_rms: [px].
        place: index of the place in the candidates.
    """

    world_from_cam: Rigid3d
    covariance: Float64
    keypoints: Int32
    landmarks: Int32
    points: Float64
    rejected: Int32
    reprojection_rms: float
    place: int


@dataclass(frozen=True)
class Localization:
    """The outcome for one query: a pose, or the reason why there is none."""

    pose: LocalizedPose | None
    reason: str
    matches: int
    inliers: int
    timings_ms: dict[str, float] = field(default_factory=dict)


class PoseSolver:
    """Finds and verifies the pose of a query among places."""

    def __init__(self, options: PoseOptions | None = None) -> None:
        self.options = options or PoseOptions()

    def solve(
        self, features: Features, places: Sequence[Place], camera: PinholeCamera, stopwatch: Stopwatch | None = None
    ) -> Localization:
        """Tries place after place, best first, and returns the first pose that is sure, or the best of all.

        HF-Net takes the first that verifies. Facades that look alike verify too, with few inliers among many matches.
        The best keypoints are tried alone first: mostly they are enough, and matching costs as many times less.

        Never returns a pose that did not verify: without one, the reason of the place that came closest is given.
        """
        stopwatch = stopwatch or Stopwatch()
        if len(features) < self.options.min_inliers:
            needed = self.options.min_inliers
            return _failure(f"only {len(features)} keypoints in the image, {needed} are needed", stopwatch)
        if not places:
            return _failure("no place was retrieved", stopwatch)
        options, first = self.options, self.options.places == "first"
        if first and len(features) > options.first_keypoints:
            few = features.best(options.first_keypoints)
            for outcome in self._outcomes(few, places, camera, stopwatch):
                if self._is_sure(outcome):
                    if outcome.inliers >= options.enough_inliers:
                        return outcome
                    break
        outcomes = []
        for outcome in self._outcomes(features, places, camera, stopwatch):
            outcomes.append(outcome)
            if first and self._is_sure(outcome):
                break
        return max(outcomes, key=_rank)

    def _outcomes(
        self, features: Features, places: Sequence[Place], camera: PinholeCamera, stopwatch: Stopwatch
    ) -> Iterator[Localization]:
        for index, place in enumerate(places):
            yield self._solve_in_place(index, features, place, camera, stopwatch)

    def _is_sure(self, outcome: Localization) -> bool:
        return outcome.pose is not None and outcome.inliers >= self.options.confident_inlier_ratio * outcome.matches

    def _solve_in_place(
        self, index: int, features: Features, place: Place, camera: PinholeCamera, stopwatch: Stopwatch
    ) -> Localization:
        options = self.options
        with stopwatch("match"):
            keypoints, rows = match_to_place(features.descriptors, place, options.ratio)
        matches = len(keypoints)
        if matches < options.min_inliers:
            return _failure(f"only {matches} matches, {options.min_inliers} are needed", stopwatch, matches)
        pixels = features.keypoints[keypoints].astype(np.float64)
        points = place.positions[rows].astype(np.float64)
        with stopwatch("pose"):
            estimate = estimate_absolute_pose(
                pixels,
                points,
                camera,
                max_error=options.max_reprojection_error,
                max_trials=options.max_trials,
                seed=options.seed,
            )
        if estimate is None:
            return _failure(f"no pose is supported by the {matches} matches", stopwatch, matches)
        inlier, world_from_cam = estimate.inliers, estimate.cam_from_world.inverse()
        inliers = int(inlier.sum())
        if inliers < options.min_inliers:
            return _failure(f"only {inliers} inliers, {options.min_inliers} are needed", stopwatch, matches, inliers)
        if inliers < options.min_inlier_ratio * matches:
            return _failure(
                f"only {inliers} of {matches} matches are inliers, {options.min_inlier_ratio:.0%} are needed",
                stopwatch,
                matches,
                inliers,
            )
        try:
            covariance, rms = pose_covariance(
                world_from_cam, points[inlier], pixels[inlier], camera, options.pixel_sigma
            )
            covariance = options.covariance_scale * covariance + options.map_covariance
            std = position_std(covariance)
        except np.linalg.LinAlgError:
            return _failure(f"the {inliers} inliers do not fix the pose", stopwatch, matches, inliers)
        if not std <= options.max_position_std:
            return _failure(
                f"the position is uncertain by {std:.2g} m, at most {options.max_position_std:g} m is believed",
                stopwatch,
                matches,
                inliers,
            )
        pose = LocalizedPose(
            world_from_cam,
            covariance,
            keypoints[inlier],
            place.landmarks[rows[inlier]],
            points[inlier],
            keypoints[~inlier],
            rms,
            index,
        )
        return Localization(pose, "", matches, inliers, stopwatch.milliseconds)


def position_std(covariance: Float64) -> float:
    """Standard deviation [m] of a position in its most uncertain direction, of a (6, 6) covariance."""
    return float(np.sqrt(np.linalg.eigvalsh(covariance[:3, :3])[-1]))


def _failure(reason: str, stopwatch: Stopwatch, matches: int = 0, inliers: int = 0) -> Localization:
    return Localization(None, reason, matches, inliers, stopwatch.milliseconds)


def _rank(outcome: Localization) -> tuple[bool, int, int]:
    return outcome.pose is not None, outcome.inliers, outcome.matches
