"""Pose of a query among places: matching, PnP with RANSAC, verification (HF-Net, sections 3 and 5.2).

The localizer runs this half of the hierarchical localization; the map server runs the other half, ``places``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, Int32
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.covariance import max_position_std, with_map_covariance
from vizloc_ros.localization.absolute_pose import (
    AbsolutePose,
    Matches,
    estimate_absolute_pose,
    pose_covariance,
    reprojection_errors,
)
from vizloc_ros.localization.guided_matching import guided_matches
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.place_matching import PlaceMatcher
from vizloc_ros.localization.places import Place
from vizloc_ros.localization.pose_refinement import refine_absolute_pose
from vizloc_ros.timing import Stopwatch

_GUIDED_RADIUS = 0.375  # of a guided match, as a ratio of max_reprojection_error: the pose is known better by then


@dataclass(frozen=True)
class LocalizedPose:
    """Verified pose of a query.

    Attributes:
        map_from_cam: pose of the camera's optical frame in the map.
        covariance: (6, 6) covariance [x y z, rotation about fixed x y z] in the map frame [m^2, rad^2].
        keypoints: (n,) indices of the query's inlier keypoints.
        landmark_ids: (n,) ids of the landmarks that they match.
        positions: (n, 3) landmark positions in the map frame [m].
        rejected: (m - n,) indices of the keypoints whose matches are outliers.
        reprojection_rms: RMS reprojection error of the inliers [px].
        place: index of the place among the candidates.
    """

    map_from_cam: Rigid3d
    covariance: Float64
    keypoints: Int32
    landmark_ids: Int32
    positions: Float64
    rejected: Int32
    reprojection_rms: float
    place: int


@dataclass(frozen=True)
class Localization:
    """Outcome for one query.

    Attributes:
        pose: verified pose, or None.
        reason: reason why there is no pose; empty with a pose.
        matches: number of matches in the place of the pose, or in the place that came closest to one.
        inliers: number of inliers among them.
        timings_ms: duration of each stage [ms].
    """

    pose: LocalizedPose | None
    reason: str
    matches: int
    inliers: int
    timings_ms: dict[str, float] = field(default_factory=dict)


class PoseSolver:
    """Solver for the verified pose of a query among places."""

    def __init__(self, options: PoseOptions | None = None) -> None:
        self.options = options or PoseOptions()

    def solve(
        self, features: Features, places: Sequence[Place], camera: PinholeCamera, stopwatch: Stopwatch | None = None
    ) -> Localization:
        """Try place after place, best first, and return the first confident pose, or else the best verified one.

        HF-Net takes the first verified pose. Poses at similar facades are verified too, but with a low inlier ratio, so
        a pose needs a higher one (``confident_inlier_ratio``) to end the search. The keypoints with the best
        scores are tried alone first: usually they are enough, and the cost of matching grows with their number.

        No pose is returned without verification: the outcome then has the reason of the place that came closest. The
        pose that is returned is refined with ``guided_matches``.
        """
        stopwatch = stopwatch or Stopwatch()
        outcome = self._search(features, places, camera, stopwatch)
        if outcome.pose is None or not self.options.guided:
            return outcome
        with stopwatch("pose"):
            pose = self._guided(outcome.pose, features, places[outcome.pose.place], camera)
        return replace(outcome, pose=pose, timings_ms=stopwatch.milliseconds)

    def _search(
        self, features: Features, places: Sequence[Place], camera: PinholeCamera, stopwatch: Stopwatch
    ) -> Localization:
        """Verified pose of the first confident place, or the best verified one."""
        if len(features) < self.options.min_inliers:
            needed = self.options.min_inliers
            return _failure(f"only {len(features)} keypoints in the image, {needed} are needed", stopwatch)
        if not places:
            return _failure("no place was retrieved", stopwatch)
        matcher = PlaceMatcher(features, self.options.ratio)
        if self.options.places == "first":
            outcome = self._quickly(len(features), places, matcher, camera, stopwatch)
            if outcome is not None:
                return outcome
        outcomes = []
        for outcome in self._outcomes(len(features), places, matcher, camera, stopwatch):
            outcomes.append(outcome)
            if self.options.places == "first" and self._is_confident(outcome):
                break
        return max(outcomes, key=closeness)

    def _quickly(
        self, keypoints: int, places: Sequence[Place], matcher: PlaceMatcher, camera: PinholeCamera, clock: Stopwatch
    ) -> Localization | None:
        """Confident pose with enough inliers, found without comparing all; None if there is none.

        The best keypoints are matched with the first observations of a place, which are those of the keyframes that
        resemble the query most, then with all of them; each time, if the pose is confident but has too few inliers,
        with twice as many keypoints again.
        """
        if self.options.first_keypoints >= keypoints:
            return None
        tops = [place.first(self.options.first_observations) for place in places]
        if any(len(top) < len(place) for top, place in zip(tops, places, strict=True)):
            outcome = self._with_growing_keypoints(2 * keypoints, tops, matcher.fresh(), camera, clock)
            if outcome is not None:
                return outcome
        return self._with_growing_keypoints(keypoints, places, matcher, camera, clock)

    def _with_growing_keypoints(
        self, end: int, places: Sequence[Place], matcher: PlaceMatcher, camera: PinholeCamera, clock: Stopwatch
    ) -> Localization | None:
        """Confident pose with enough inliers, of the first keypoints, or of twice as many below ``end`` each time."""
        count = self.options.first_keypoints
        while count < end:
            confident = next(filter(self._is_confident, self._outcomes(count, places, matcher, camera, clock)), None)
            if confident is None:
                return None
            if confident.inliers >= self.options.enough_inliers:
                return confident
            count *= 2
        return None

    def _guided(self, pose: LocalizedPose, features: Features, place: Place, camera: PinholeCamera) -> LocalizedPose:
        """Refine a verified pose with the matches that it finds. Its covariance stays: it says what was verified."""
        cam_from_map, most = pose.map_from_cam.inverse(), self.options.max_reprojection_error
        pixels = features.keypoints[pose.keypoints].astype(np.float64)
        verified = Matches(pose.keypoints, pixels, pose.landmark_ids, pose.positions)
        found = guided_matches(features, place, verified, cam_from_map, camera, _GUIDED_RADIUS * most)
        cam_from_map = refine_absolute_pose(cam_from_map, found.pixels, found.positions, camera)
        errors = reprojection_errors(cam_from_map, found.pixels, found.positions, camera)
        inlier = errors <= most
        if inlier.sum() < 0.5 * len(pose.keypoints):
            return pose
        return replace(
            pose,
            map_from_cam=cam_from_map.inverse(),
            keypoints=found.keypoints[inlier],
            landmark_ids=found.landmark_ids[inlier],
            positions=found.positions[inlier],
            rejected=_without(pose.rejected, found.keypoints, len(features)),
            reprojection_rms=float(np.sqrt(np.square(errors[inlier]).mean())),
        )

    def _outcomes(
        self, count: int, places: Sequence[Place], matcher: PlaceMatcher, camera: PinholeCamera, stopwatch: Stopwatch
    ) -> Iterator[Localization]:
        """Outcomes of the best ``count`` keypoints in one place after the other."""
        for index, place in enumerate(places):
            with stopwatch("match"):
                matches = matcher.matches(index, place, count)
            yield self._solve_in_place(index, matches, camera, stopwatch)

    def _is_confident(self, outcome: Localization) -> bool:
        return outcome.pose is not None and outcome.inliers >= self.options.confident_inlier_ratio * outcome.matches

    def _solve_in_place(
        self, index: int, matches: Matches, camera: PinholeCamera, stopwatch: Stopwatch
    ) -> Localization:
        """Estimate and verify a pose in one place; without a pose, return the reason and the counts so far."""
        try:
            estimate = self._estimate(matches, camera, stopwatch)
            pose = self._verify(estimate, matches, camera, index)
        except _RejectedError as rejected:
            return _failure(rejected.reason, stopwatch, len(matches), rejected.inliers)
        return Localization(pose, "", len(matches), len(pose.keypoints), stopwatch.milliseconds)

    def _estimate(self, matches: Matches, camera: PinholeCamera, stopwatch: Stopwatch) -> AbsolutePose:
        """Pose with the most inliers. Raises ``_RejectedError``."""
        options = self.options
        if len(matches) < options.min_inliers:
            raise _RejectedError(f"only {len(matches)} matches, {options.min_inliers} are needed")
        with stopwatch("pose"):
            estimate = estimate_absolute_pose(
                matches.pixels,
                matches.positions,
                camera,
                max_error=options.max_reprojection_error,
                max_trials=options.max_trials,
                seed=options.seed,
            )
        if estimate is None:
            raise _RejectedError(f"no pose is supported by the {len(matches)} matches")
        return estimate

    def _verify(
        self, estimate: AbsolutePose, matches: Matches, camera: PinholeCamera, place_index: int
    ) -> LocalizedPose:
        """Verified pose, if it has enough inliers and a small covariance. Raises ``_RejectedError``."""
        options, inlier = self.options, estimate.inliers
        inliers = int(inlier.sum())
        if inliers < options.min_inliers:
            raise _RejectedError(f"only {inliers} inliers, {options.min_inliers} are needed", inliers)
        if inliers < options.min_inlier_ratio * len(matches):
            needed = f"{options.min_inlier_ratio:.0%} are needed"
            raise _RejectedError(f"only {inliers} of {len(matches)} matches are inliers, {needed}", inliers)
        map_from_cam, positions = estimate.cam_from_map.inverse(), matches.positions[inlier]
        try:
            covariance, rms = pose_covariance(
                map_from_cam, positions, matches.pixels[inlier], camera, options.pixel_sigma
            )
        except np.linalg.LinAlgError:
            raise _RejectedError(f"the {inliers} inliers do not fix the pose", inliers) from None
        covariance = with_map_covariance(
            options.covariance_scale * covariance, options.map_position_std, options.map_rotation_std
        )
        std = max_position_std(covariance)
        if not std <= options.max_position_std:
            accepted = f"at most {options.max_position_std:g} m is accepted"
            raise _RejectedError(f"the position is uncertain by {std:.2g} m, {accepted}", inliers)
        return LocalizedPose(
            map_from_cam=map_from_cam,
            covariance=covariance,
            keypoints=matches.keypoints[inlier],
            landmark_ids=matches.landmark_ids[inlier],
            positions=positions,
            rejected=matches.keypoints[~inlier],
            reprojection_rms=rms,
            place=place_index,
        )


def _without(indices: Int32, others: Int32, count: int) -> Int32:
    """Ascending distinct indices below ``count`` that are not among the others."""
    kept = np.zeros(count, bool)
    kept[indices] = True
    kept[others] = False
    return np.flatnonzero(kept).astype(np.int32)


class _RejectedError(Exception):
    """Reason why a place gives no verified pose, and the number of inliers of the pose that was rejected."""

    def __init__(self, reason: str, inliers: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.inliers = reason, inliers


def _failure(reason: str, stopwatch: Stopwatch, matches: int = 0, inliers: int = 0) -> Localization:
    return Localization(None, reason, matches, inliers, stopwatch.milliseconds)


def closeness(outcome: Localization) -> tuple[bool, int, int]:
    """Key by which outcomes of one query are compared: a pose, then inliers, then matches."""
    return outcome.pose is not None, outcome.inliers, outcome.matches
