"""Pose of a rig of cameras among the places of each: one estimate, verified as that of one camera (not in HF-Net).

A camera that is covered, or whose places are wrong, does not support the pose, and says nothing about it. One that
contradicts it, with a pose of its own elsewhere, makes it ambiguous.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.place_matching import Matched, PlaceMatcher
from vizloc_ros.localization.places import Place
from vizloc_ros.localization.pose_solver import PoseSolver
from vizloc_ros.localization.rig_ambiguity import RigRivals
from vizloc_ros.localization.rig_candidate import RigCandidate, RigMatcher
from vizloc_ros.localization.rig_verification import RejectedError, verify
from vizloc_ros.localization.rig_view import RigLocalization, RigView, of_one_camera
from vizloc_ros.timing import Stopwatch


class RigSolver:
    """Solver for the verified pose of a rig from the images of its cameras at one instant."""

    def __init__(self, options: PoseOptions | None = None) -> None:
        self.options = options or PoseOptions()

    def solve(self, views: Sequence[RigView], stopwatch: Stopwatch | None = None) -> RigLocalization:
        """Find the pose that the images of all cameras give together.

        One camera alone, or the only one that can be localized, is localized by ``PoseSolver``. With several, each
        one's best place gives matches, and all of them one pose; then the next best places. A pose must be verified by
        the inliers of the cameras that support it, or by those of the one with the most.

        Args:
            views: images of one or more cameras.
            stopwatch: takes the stages.
        """
        watch = stopwatch or Stopwatch()
        usable = [view for view in views if view.places and len(view.features)]
        if len(usable) < 2:
            [view] = usable or views[:1]
            return of_one_camera(view, PoseSolver(self.options).solve(view.features, view.places, view.camera, watch))
        return _RigSearch(self.options, usable, watch).outcome()


@dataclass(frozen=True)
class _RigSearch:
    """Search for the pose of a rig with two or more images."""

    options: PoseOptions
    views: Sequence[RigView]
    stopwatch: Stopwatch

    def outcome(self) -> RigLocalization:
        """Outcome, see ``RigSolver.solve``."""
        matchers = [PlaceMatcher(view.features, self.options.ratio) for view in self.views]
        outcome = None
        for search in (self._quickly, self._thoroughly):
            if (found := search(matchers)) is not None:
                outcome = self._verified(found[0])
                if outcome.pose is not None:
                    return self._without_rivals(outcome, *found)
        return outcome or self._without_pose(matchers)

    def _verified(self, candidate: RigCandidate) -> RigLocalization:
        """Outcome of a pose: verified, or the reason why it is not."""
        matches, inliers = candidate.counts(self._supporters(candidate))
        try:
            with self.stopwatch("pose"):
                pose = verify(candidate, self.views, self.options)
        except RejectedError as rejected:
            return self._failure(str(rejected), matches, inliers)
        return RigLocalization(pose, "", matches, inliers, self.stopwatch.milliseconds)

    def _without_rivals(
        self, outcome: RigLocalization, candidate: RigCandidate, matcher: RigMatcher
    ) -> RigLocalization:
        """Outcome with a verified pose, unless another pose explains the images nearly as well."""
        if self.options.max_rival_ratio >= 1:
            return outcome
        with self.stopwatch("rivals"):
            problem = RigRivals(matcher).problem(candidate, self._supporters(candidate))
        if problem:
            return self._failure(problem, outcome.matches, outcome.inliers)
        return replace(outcome, timings_ms=self.stopwatch.milliseconds)

    def _quickly(self, matchers: Sequence[PlaceMatcher]) -> tuple[RigCandidate, RigMatcher] | None:
        """Confident pose with enough inliers, of the best keypoints and first observations alone; None without one.

        As many keypoints as of one camera are tried first, shared by the cameras, then twice as many.
        """
        options = self.options
        count = options.first_keypoints // len(self.views)
        if options.places != "first":
            return None
        tops = [[place.first(options.first_observations) for place in view.places] for view in self.views]
        while 0 < count < self._most_keypoints:
            matcher = self._matcher(tops, matchers, count)
            for rank in range(matcher.ranks):
                with self.stopwatch("match"):
                    candidate = matcher.together(matcher.places_of_rank(rank), options.confident_inlier_ratio)
                if candidate is not None and self._is_confident(candidate):
                    break
            else:
                return None
            if candidate.counts(self._supporters(candidate))[1] >= options.enough_inliers:
                return candidate, matcher
            count *= 2
        return None

    def _thoroughly(self, matchers: Sequence[PlaceMatcher]) -> tuple[RigCandidate, RigMatcher] | None:
        """Pose of the first confident places, together or of one camera, or that with the most inliers."""
        options, tried = self.options, []
        matcher = self._matcher([view.places for view in self.views], matchers, self._most_keypoints)
        for rank in range(matcher.ranks):
            of_rank, ratio = matcher.places_of_rank(rank), options.min_inlier_ratio
            with self.stopwatch("match"):
                candidates = [matcher.together(of_rank, ratio)]
                if candidates[0] is None or not self._is_confident(candidates[0]):
                    candidates += [matcher.alone(camera, of_rank, ratio) for camera in range(len(self.views))]
            tried += [candidate for candidate in candidates if candidate is not None]
            if options.places == "first" and any(map(self._is_confident, tried)):
                break
        best = max(tried, key=lambda each: each.counts(self._supporters(each))[1], default=None)
        return None if best is None else (best, matcher)

    def _matcher(self, places: Sequence[Sequence[Place]], matchers: Sequence[PlaceMatcher], count: int) -> RigMatcher:
        matched = [Matched(each, matcher, count) for each, matcher in zip(places, matchers, strict=True)]
        return RigMatcher(self.options, self.views, matched)

    def _supporters(self, candidate: RigCandidate) -> list[int]:
        return candidate.supporters(self.options.min_inlier_ratio)

    def _is_confident(self, candidate: RigCandidate) -> bool:
        matches, inliers = candidate.counts(self._supporters(candidate))
        return inliers >= max(self.options.min_inliers, self.options.confident_inlier_ratio * matches)

    def _without_pose(self, matchers: Sequence[PlaceMatcher]) -> RigLocalization:
        every = self._matcher([view.places for view in self.views], matchers, self._most_keypoints)
        matches = sum(map(len, every.matches(every.places_of_rank(0))))
        names = " and ".join(view.name for view in self.views)
        return self._failure(f"no pose is supported by the {matches} matches of {names}", matches)

    @property
    def _most_keypoints(self) -> int:
        return max(len(view.features) for view in self.views)

    def _failure(self, reason: str, matches: int = 0, inliers: int = 0) -> RigLocalization:
        return RigLocalization(None, reason, matches, inliers, self.stopwatch.milliseconds)
