"""Pose of a query among places: matching, PnP with RANSAC, verification (HF-Net, sections 3 and 5.2).

The localizer runs this half of the hierarchical localization; the map server runs the other half, ``places``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, Int32
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.covariance import max_position_std, with_map_covariance
from vizloc_ros.localization.absolute_pose import (
    AbsolutePose,
    Matches,
    are_blurred,
    correlation_factor,
    estimate_absolute_pose,
    pose_covariance,
    reprojection_errors,
)
from vizloc_ros.localization.ambiguity import Rivals
from vizloc_ros.localization.candidate import Candidate
from vizloc_ros.localization.guided_matching import GuidedMatches, further_support, guided_matches
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.outcome import Localization, LocalizedPose
from vizloc_ros.localization.place_matching import Matched, PlaceMatcher
from vizloc_ros.localization.places import Place
from vizloc_ros.localization.pose_evidence import (
    FURTHER,
    PoseEvidence,
    depth_ratio,
    filled_cells,
    relative_thickness,
    shipped_model,
)
from vizloc_ros.localization.pose_refinement import refine_absolute_pose
from vizloc_ros.timing import Stopwatch

GUIDED_RADIUS = 0.375  # of a guided match, as a ratio of max_reprojection_error: the pose is known better by then
WIDE_RADIUS = 5.0  # the same in blurred images, as a ratio of the RMS error, if that is above that radius


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
        """Try place after place, best first, until one gives a confident pose; return the best of those tried.

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
class _Found:
    """Outcome for a query, with the pose that it was found from, if there was one, and what that was matched with."""

    outcome: Localization
    candidate: Candidate | None = None
    matched: Matched | None = None


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
        found = self._quickly(matcher := PlaceMatcher(self.features, self.options.ratio)) or self._thoroughly(matcher)
        outcome, candidate, matched = found.outcome, found.candidate, found.matched
        if outcome.pose is None or candidate is None or matched is None or self.options.max_rival_ratio >= 1:
            return outcome
        with self.stopwatch("rivals"):
            count = Rivals(self.options, matched, self.camera).count(candidate)
        if count:
            return self._failure(f"ambiguous: {count + 1} places look alike", outcome.matches, outcome.inliers)
        return replace(outcome, timings_ms=self.stopwatch.milliseconds)

    def _quickly(self, matcher: PlaceMatcher) -> _Found | None:
        """Confident pose with enough inliers, found without comparing all; None if there is none.

        The best keypoints are matched with the first observations of a place, which are those of the keyframes that
        resemble the query most, then with all of them; each time, if the pose is confident but has too few inliers,
        with twice as many keypoints again.
        """
        options, everything = self.options, len(self.features)
        if options.places != "first" or options.first_keypoints >= everything:
            return None
        tops = [place.first(options.first_observations) for place in self.places]
        if any(len(top) < len(place) for top, place in zip(tops, self.places, strict=True)):
            found = self._with_growing_keypoints(2 * everything, tops, matcher)
            if found is not None:
                return found
        return self._with_growing_keypoints(everything, self.places, matcher)

    def _with_growing_keypoints(self, end: int, places: Sequence[Place], matcher: PlaceMatcher) -> _Found | None:
        """Confident pose with enough inliers, of the first keypoints, or of twice as many below ``end`` each time."""
        count = self.options.first_keypoints
        while count < end:
            candidate = self._confident(matched := Matched(places, matcher, count))
            if candidate is None:
                return None
            if candidate.inliers >= self.options.enough_inliers:
                found = self._verified(candidate, matched)
                return found if found.outcome.pose is not None else None
            count *= 2
        return None

    def _thoroughly(self, matcher: PlaceMatcher) -> _Found:
        """Verified pose with the most inliers up to the first confident place, or what came closest to one."""
        matched, tried = Matched(self.places, matcher, len(self.features)), []
        for index in range(len(self.places)):
            try:
                found = self._verified(self._candidate(index, matched, self.options.min_inlier_ratio), matched)
            except _RejectedError as rejected:
                found = _Found(self._failure(rejected.reason, rejected.matches))
            tried.append(found)
            is_confident = found.candidate is not None and self._is_confident(found.candidate)
            if self.options.places == "first" and is_confident and found.outcome.pose is not None:
                break
        return max(tried, key=lambda found: closeness(found.outcome))

    def _confident(self, matched: Matched) -> Candidate | None:
        """Pose of the first place with a high inlier ratio, not verified yet."""
        for index in range(len(matched.places)):
            try:
                candidate = self._candidate(index, matched, self.options.confident_inlier_ratio)
            except _RejectedError:
                continue
            if self._is_confident(candidate):
                return candidate
        return None

    def _is_confident(self, candidate: Candidate) -> bool:
        options, inliers = self.options, candidate.inliers
        return inliers >= max(options.min_inliers, options.confident_inlier_ratio * len(candidate.matches))

    def _candidate(self, index: int, matched: Matched, needed_ratio: float) -> Candidate:
        """Match, and estimate a pose in one place; below an inlier ratio it is of no use. Raises ``_RejectedError``."""
        with self.stopwatch("match"):
            matches = matched.matches(index)
        candidate = Candidate(index, matched.keypoints, matches, self._estimate(matches, needed_ratio))
        if self.on_candidate is not None:
            self.on_candidate(candidate)
        return candidate

    def _verified(self, candidate: Candidate, matched: Matched) -> _Found:
        """Outcome of a pose: verified, or the reason why it is not."""
        matches, inliers = len(candidate.matches), candidate.inliers
        try:
            with self.stopwatch("pose"):
                pose = self._verify(candidate)
        except _RejectedError as rejected:
            return _Found(self._failure(rejected.reason, matches, inliers), candidate, matched)
        return _Found(Localization(pose, "", matches, inliers, self.stopwatch.milliseconds), candidate, matched)

    def _estimate(self, matches: Matches, needed_ratio: float) -> AbsolutePose:
        """Pose with the most inliers. Raises ``_RejectedError``."""
        options = self.options
        if len(matches) < options.min_inliers:
            raise _RejectedError(f"only {len(matches)} matches, {options.min_inliers} are needed", len(matches))
        with self.stopwatch("pose"):
            estimate = estimate_absolute_pose(
                matches.pixels,
                matches.positions,
                self.camera,
                max_error=options.max_reprojection_error,
                max_trials=options.max_trials,
                seed=options.seed,
                needed=max(options.min_inliers, needed_ratio * len(matches)),
            )
        if estimate is None:
            raise _RejectedError(f"no pose is supported by the {len(matches)} matches", len(matches))
        return estimate

    def _verify(self, candidate: Candidate) -> LocalizedPose:
        """Verified pose: enough inliers, a small covariance, and evidence that it is right. Raises ``_RejectedError``.

        The pose is refined with ``guided_matches``. In a blurred image keypoints are far from the landmarks, so these
        are looked for in a wide radius, and counted as evidence where the refined pose sees them. The covariance is
        that of the verified matches alone.
        """
        options, inliers, matches = self.options, candidate.inliers, candidate.matches
        if inliers < options.min_inliers:
            raise _RejectedError(f"only {inliers} inliers, {options.min_inliers} are needed")
        if inliers < options.min_inlier_ratio * len(matches):
            needed = f"{options.min_inlier_ratio:.0%} are needed"
            raise _RejectedError(f"only {inliers} of {len(matches)} matches are inliers, {needed}")
        verified, cam_from_map = candidate.verified, candidate.estimate.cam_from_map
        covariance, rms, errors = self._covariance(candidate)
        radius = GUIDED_RADIUS * options.max_reprojection_error
        blurred = are_blurred(errors, radius)
        guided = found = self._guided(candidate, cam_from_map, WIDE_RADIUS * rms if blurred else radius)
        refined = refine_absolute_pose(cam_from_map, found.matches.pixels, found.matches.positions, self.camera)
        if blurred:
            guided = self._guided(candidate, refined, radius)
        evidence = PoseEvidence(
            matches=len(matches),
            inliers=inliers,
            rms=rms / options.max_reprojection_error,
            cells=filled_cells(verified.pixels, self.camera),
            depths=depth_ratio(cam_from_map, verified.positions),
            thickness=relative_thickness(verified.positions),
            near=guided.near,
            alike=guided.alike,
            further=0.0,
        )
        probability = shipped_model().probability(evidence)
        for every in FURTHER:
            if probability >= options.min_probability and self.on_evidence is None:
                break
            evidence = replace(evidence, further=self._further(candidate, refined, max(radius, rms), every))
            probability = shipped_model().probability(evidence)
        if self.on_evidence is not None:
            self.on_evidence(candidate, evidence)
        if probability < options.min_probability:
            raise _RejectedError(
                f"{inliers} of {len(matches)} matches and {guided.alike} of {guided.near} landmarks agree, which is "
                f"right with a probability of {probability:.2g}; {options.min_probability:g} is needed"
            )
        pose = LocalizedPose(
            map_from_cam=cam_from_map.inverse(),
            covariance=covariance,
            keypoints=verified.keypoints,
            landmark_ids=verified.landmark_ids,
            positions=verified.positions,
            rejected=matches.keypoints[~candidate.estimate.inliers],
            reprojection_rms=rms,
            place=candidate.place,
            probability=probability,
        )
        return self._refined(pose, refined, found.matches) if options.guided else pose

    def _guided(self, candidate: Candidate, cam_from_map: Rigid3d, radius: float) -> GuidedMatches:
        """Matches of all keypoints within a radius [px] of the landmarks of the candidate's place, seen from a pose."""
        place = self.places[candidate.place]
        return guided_matches(self.features, place, candidate.verified, cam_from_map, self.camera, radius)

    def _further(self, candidate: Candidate, cam_from_map: Rigid3d, radius: float, every: int) -> float:
        """Support of a pose by the landmarks of the candidate's place that it was not found with."""
        place = self.places[candidate.place]
        return further_support(self.features, place, candidate.verified, cam_from_map, self.camera, radius, every)

    def _covariance(self, candidate: Candidate) -> tuple[Float64, float, Float64]:
        """Covariance, RMS and errors (N,) [px] of a candidate's inliers. Raises ``_RejectedError`` for a large one."""
        options, verified, cam_from_map = self.options, candidate.verified, candidate.estimate.cam_from_map
        try:
            covariance, rms = pose_covariance(
                cam_from_map.inverse(), verified.positions, verified.pixels, self.camera, options.pixel_sigma
            )
        except np.linalg.LinAlgError:
            raise _RejectedError(f"the {len(verified)} inliers do not fix the pose") from None
        errors = reprojection_errors(cam_from_map, verified.pixels, verified.positions, self.camera)
        scale = options.covariance_scale * correlation_factor(errors)
        covariance = with_map_covariance(scale * covariance, options.map_position_std, options.map_rotation_std)
        std = max_position_std(covariance)
        if not std <= options.max_position_std:
            accepted = f"at most {options.max_position_std:g} m is accepted"
            raise _RejectedError(f"the position is uncertain by {std:.2g} m, {accepted}")
        return covariance, rms, errors

    def _refined(self, pose: LocalizedPose, cam_from_map: Rigid3d, found: Matches) -> LocalizedPose:
        """Verified pose, refined with the matches that it found. Its covariance stays: it says what was verified."""
        most = self.options.max_reprojection_error
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
            rejected=without(pose.rejected, found.keypoints, len(self.features)),
            reprojection_rms=float(np.sqrt(np.square(errors[inlier]).mean())),
        )

    def _failure(self, reason: str, matches: int = 0, inliers: int = 0) -> Localization:
        return Localization(None, reason, matches, inliers, self.stopwatch.milliseconds)


def without(indices: Int32, others: Int32, count: int) -> Int32:
    """Ascending distinct indices below ``count`` that are not among the others."""
    kept = np.zeros(count, bool)
    kept[indices] = True
    kept[others] = False
    return np.flatnonzero(kept).astype(np.int32)


class _RejectedError(Exception):
    """Reason why a place gives no verified pose, and the number of matches if there was no pose at all."""

    def __init__(self, reason: str, matches: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.matches = reason, matches


def closeness(outcome: Localization) -> tuple[bool, int, int]:
    """Key by which outcomes of one query are compared: a pose, then inliers, then matches."""
    return outcome.pose is not None, outcome.inliers, outcome.matches
