"""Pose of a query among places: matching, PnP with RANSAC, verification (HF-Net, sections 3 and 5.2).

The localizer runs this half of the hierarchical localization; the map server runs the other half, ``places``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

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
from vizloc_ros.localization.ambiguity import Rivals
from vizloc_ros.localization.candidate import Candidate
from vizloc_ros.localization.guided_matching import guided_matches
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.outcome import Localization, LocalizedPose
from vizloc_ros.localization.place_matching import matches_in_place
from vizloc_ros.localization.places import Place
from vizloc_ros.localization.pose_evidence import PoseEvidence, shipped_model
from vizloc_ros.localization.pose_refinement import refine_absolute_pose
from vizloc_ros.timing import Stopwatch

_GUIDED_RADIUS = 0.375  # of a guided match, as a ratio of max_reprojection_error: the pose is known better by then


class PoseSolver:
    """Solver for the verified pose of a query among places."""

    def __init__(
        self,
        options: PoseOptions | None = None,
        on_candidate: Callable[[Candidate], None] | None = None,
        on_evidence: Callable[[Candidate, PoseEvidence], None] | None = None,
    ) -> None:
        """Take the options, and functions for those who study the verification.

        Args:
            options: see ``PoseOptions``.
            on_candidate: sees every pose before it is verified, accepted or not.
            on_evidence: sees every pose whose evidence is weighed, accepted or not.
        """
        self.options = options or PoseOptions()
        self._on_candidate, self._on_evidence = on_candidate, on_evidence

    def solve(
        self, features: Features, places: Sequence[Place], camera: PinholeCamera, stopwatch: Stopwatch | None = None
    ) -> Localization:
        """Try place after place, best first, and return the first confident pose, or else the best verified one.

        HF-Net takes the first verified pose. Poses at similar facades are verified too, but with a low inlier ratio, so
        a pose needs a higher one (``confident_inlier_ratio``) to end the search. The keypoints with the best
        scores are tried alone first: usually they are enough, and the cost of matching grows with their number.

        No pose is returned without verification: the outcome then has the reason of the place that came closest. Nor
        is one if another place explains the image nearly as well.
        """
        watch = stopwatch or Stopwatch()
        search = _Search(self.options, features, places, camera, watch, self._on_candidate, self._on_evidence)
        return search.outcome()


@dataclass(frozen=True)
class _Search:
    """Search for the pose of one query."""

    options: PoseOptions
    features: Features
    places: Sequence[Place]
    camera: PinholeCamera
    stopwatch: Stopwatch
    on_candidate: Callable[[Candidate], None] | None = None
    on_evidence: Callable[[Candidate, PoseEvidence], None] | None = None

    def outcome(self) -> Localization:
        """Outcome for the query, see ``PoseSolver.solve``."""
        if len(self.features) < (needed := self.options.min_inliers):
            return self._failure(f"only {len(self.features)} keypoints in the image, {needed} are needed")
        if not self.places:
            return self._failure("no place was retrieved")
        best, candidate = self._first_or_best()
        if best.pose is None or candidate is None or self.options.max_rival_ratio >= 1:
            return best
        rivals = Rivals(self.options, candidate.features, self.places, self.camera)
        with self.stopwatch("rivals"):
            count = rivals.count(candidate.place, candidate.matches, candidate.estimate)
        if count:
            alike = f"ambiguous: {count + 1} places look alike"
            return self._failure(alike, len(candidate.matches), candidate.inliers)
        return replace(best, timings_ms=self.stopwatch.milliseconds)

    def _first_or_best(self) -> tuple[Localization, Candidate | None]:
        """Verified pose of the first confident place, or the best verified one, with what it was found from."""
        options, first = self.options, self.options.places == "first"
        if first and len(self.features) > options.first_keypoints:
            best = self.features.best(options.first_keypoints)
            for index in range(len(self.places)):
                tried = self._in_place(index, best)
                if self._is_confident(tried[0]):
                    if tried[0].inliers >= options.enough_inliers:
                        return tried
                    break
        outcomes = []
        for index in range(len(self.places)):
            outcomes.append(self._in_place(index, self.features))
            if first and self._is_confident(outcomes[-1][0]):
                break
        return max(outcomes, key=lambda outcome: closeness(outcome[0]))

    def _is_confident(self, outcome: Localization) -> bool:
        return outcome.pose is not None and outcome.inliers >= self.options.confident_inlier_ratio * outcome.matches

    def _in_place(self, index: int, features: Features) -> tuple[Localization, Candidate | None]:
        """Match, estimate and verify a pose in one place; without a pose, return the reason and the counts so far."""
        with self.stopwatch("match"):
            matches = matches_in_place(features, self.places[index], self.options.ratio)
        candidate = None
        try:
            candidate = Candidate(index, features, matches, self._estimate(matches))
            if self.on_candidate is not None:
                self.on_candidate(candidate)
            with self.stopwatch("pose"):
                pose = self._verify(candidate)
        except _RejectedError as rejected:
            return self._failure(rejected.reason, len(matches), rejected.inliers), candidate
        return Localization(pose, "", len(matches), candidate.inliers, self.stopwatch.milliseconds), candidate

    def _estimate(self, matches: Matches) -> AbsolutePose:
        """Pose with the most inliers. Raises ``_RejectedError``."""
        options = self.options
        if len(matches) < options.min_inliers:
            raise _RejectedError(f"only {len(matches)} matches, {options.min_inliers} are needed")
        with self.stopwatch("pose"):
            estimate = estimate_absolute_pose(
                matches.pixels,
                matches.positions,
                self.camera,
                max_error=options.max_reprojection_error,
                max_trials=options.max_trials,
                seed=options.seed,
            )
        if estimate is None:
            raise _RejectedError(f"no pose is supported by the {len(matches)} matches")
        return estimate

    def _verify(self, candidate: Candidate) -> LocalizedPose:
        """Verified pose: enough inliers, a small covariance, and evidence that it is right. Raises ``_RejectedError``.

        The pose is refined with ``guided_matches``. Its covariance is that of the verified matches alone.
        """
        options, inliers, matches = self.options, candidate.inliers, candidate.matches
        if inliers < options.min_inliers:
            raise _RejectedError(f"only {inliers} inliers, {options.min_inliers} are needed", inliers)
        if inliers < options.min_inlier_ratio * len(matches):
            needed = f"{options.min_inlier_ratio:.0%} are needed"
            raise _RejectedError(f"only {inliers} of {len(matches)} matches are inliers, {needed}", inliers)
        verified, map_from_cam = candidate.verified, candidate.estimate.cam_from_map.inverse()
        covariance, rms = self._covariance(candidate)
        guided = guided_matches(
            self.features,
            self.places[candidate.place],
            verified,
            candidate.estimate.cam_from_map,
            self.camera,
            _GUIDED_RADIUS * options.max_reprojection_error,
        )
        evidence = PoseEvidence(
            matches=len(matches),
            inliers=inliers,
            rms=rms / options.max_reprojection_error,
            position_std=max_position_std(covariance),
            near=guided.near,
            alike=guided.alike,
        )
        if self.on_evidence is not None:
            self.on_evidence(candidate, evidence)
        probability = shipped_model().probability(evidence)
        if probability < options.min_probability:
            raise _RejectedError(
                f"{inliers} of {len(matches)} matches and {guided.alike} of {guided.near} landmarks agree, which is "
                f"right with a probability of {probability:.2g}; {options.min_probability:g} is needed",
                inliers,
            )
        pose = LocalizedPose(
            map_from_cam=map_from_cam,
            covariance=covariance,
            keypoints=verified.keypoints,
            landmark_ids=verified.landmark_ids,
            positions=verified.positions,
            rejected=matches.keypoints[~candidate.estimate.inliers],
            reprojection_rms=rms,
            place=candidate.place,
            probability=probability,
        )
        return self._refined(pose, guided.matches) if options.guided else pose

    def _covariance(self, candidate: Candidate) -> tuple[Float64, float]:
        """Covariance of a candidate, and RMS of its inliers [px]. Raises ``_RejectedError`` for a large one."""
        options, verified = self.options, candidate.verified
        try:
            covariance, rms = pose_covariance(
                candidate.estimate.cam_from_map.inverse(),
                verified.positions,
                verified.pixels,
                self.camera,
                options.pixel_sigma,
            )
        except np.linalg.LinAlgError:
            raise _RejectedError(f"the {len(verified)} inliers do not fix the pose", len(verified)) from None
        covariance = with_map_covariance(
            options.covariance_scale * covariance, options.map_position_std, options.map_rotation_std
        )
        std = max_position_std(covariance)
        if not std <= options.max_position_std:
            accepted = f"at most {options.max_position_std:g} m is accepted"
            raise _RejectedError(f"the position is uncertain by {std:.2g} m, {accepted}", len(verified))
        return covariance, rms

    def _refined(self, pose: LocalizedPose, found: Matches) -> LocalizedPose:
        """Refine a verified pose with the matches that it finds. Its covariance stays: it says what was verified."""
        most = self.options.max_reprojection_error
        cam_from_map = refine_absolute_pose(pose.map_from_cam.inverse(), found.pixels, found.positions, self.camera)
        errors = reprojection_errors(cam_from_map, found.pixels, found.positions, self.camera)
        inlier = errors <= most
        if inlier.sum() < 0.5 * len(pose.keypoints):
            return pose
        return replace(
            pose,
            map_from_cam=cam_from_map.inverse(),
            keypoints=found.keypoints[inlier],
            landmark_ids=found.landmark_ids[inlier],
            positions=found.positions[inlier],
            rejected=_without(pose.rejected, found.keypoints, len(self.features)),
            reprojection_rms=float(np.sqrt(np.square(errors[inlier]).mean())),
        )

    def _failure(self, reason: str, matches: int = 0, inliers: int = 0) -> Localization:
        return Localization(None, reason, matches, inliers, self.stopwatch.milliseconds)


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


def closeness(outcome: Localization) -> tuple[bool, int, int]:
    """Key by which outcomes of one query are compared: a pose, then inliers, then matches."""
    return outcome.pose is not None, outcome.inliers, outcome.matches
