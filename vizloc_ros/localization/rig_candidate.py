"""Pose of a rig before its verification: each camera's place, its matches there, and which of them agree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.localization.absolute_pose import Matches, estimate_absolute_pose
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.place_matching import Matched
from vizloc_ros.localization.pose_refinement import RigMatches
from vizloc_ros.localization.rig_pose import RigEstimate, errors_of, estimate_rig_pose, refined_estimate
from vizloc_ros.localization.rig_view import RigView

_FEWEST_INLIERS = 6  # of a camera that supports a pose; RANSAC's sample alone has three


@dataclass(frozen=True)
class RigCandidate:
    """Pose of a rig with the matches that it was found from.

    Attributes:
        places: index of the place of each camera among those that were retrieved for it.
        matches: all matches of each camera there.
        estimate: pose, and the mask of the inliers of each camera.
    """

    places: tuple[int, ...]
    matches: tuple[Matches, ...]
    estimate: RigEstimate

    def inliers_of(self, camera: int) -> int:
        """Number of inliers of a camera."""
        return int(self.estimate.inliers[camera].sum())

    def supports(self, camera: int, ratio: float) -> bool:
        """Return True if a camera has inliers, more than a few by chance, at least in this ratio to its matches."""
        return self.inliers_of(camera) >= max(_FEWEST_INLIERS, ratio * len(self.matches[camera]))

    def supporters(self, ratio: float) -> list[int]:
        """Cameras with at least this inlier ratio. One that is covered, or sees another place, does not count."""
        return [camera for camera in range(len(self.matches)) if self.supports(camera, ratio)]

    def counts(self, cameras: Sequence[int]) -> tuple[int, int]:
        """Numbers of matches and inliers of some cameras."""
        return sum(len(self.matches[c]) for c in cameras), sum(map(self.inliers_of, cameras))


@dataclass(frozen=True)
class RigMatcher:
    """Matches of the cameras of a rig with their places, and the poses that these give.

    Attributes:
        options: options of the pose.
        views: images of the cameras.
        matched: what each of them is matched with.
    """

    options: PoseOptions
    views: Sequence[RigView]
    matched: Sequence[Matched]

    @property
    def ranks(self) -> int:
        """Largest number of places of a camera."""
        return max(len(matched.places) for matched in self.matched)

    def places_of_rank(self, rank: int) -> tuple[int, ...]:
        """Place of each camera with a rank among its own; the best one of a camera that has fewer."""
        return tuple(rank if rank < len(matched.places) else 0 for matched in self.matched)

    def matches(self, places: Sequence[int]) -> tuple[Matches, ...]:
        """Matches of each camera in a place; none of a camera without places."""
        return tuple(self.matches_of(camera, place) for camera, place in enumerate(places))

    def matches_of(self, camera: int, place: int) -> Matches:
        """Matches of a camera in one of its places; none if it has no places."""
        matched = self.matched[camera]
        if not matched.places:
            return Matches(np.zeros(0, np.int32), np.zeros((0, 2)), np.zeros(0, np.int32), np.zeros((0, 3)))
        return matched.matches(place)

    def of_camera(self, camera: int, matches: Matches) -> RigMatches:
        """Matches of a camera with its pose on the rig."""
        view = self.views[camera]
        return RigMatches(view.camera, view.rig_from_cam.inverse(), matches.pixels, matches.positions)

    def on_rig(self, matches: Sequence[Matches]) -> list[RigMatches]:
        """Matches of all cameras with their poses on the rig."""
        return [self.of_camera(camera, each) for camera, each in enumerate(matches)]

    def together(self, places: tuple[int, ...], needed_ratio: float) -> RigCandidate | None:
        """Pose that the matches of all cameras give; None if there is none.

        Below ``needed_ratio`` of the matches of a camera it is of no use.
        """
        matches = self.matches(places)
        needed = max(self.options.min_inliers, needed_ratio * max(map(len, matches)))
        if sum(map(len, matches)) < self.options.min_inliers:
            return None
        estimate = estimate_rig_pose(
            self.on_rig(matches),
            max_error=self.options.max_reprojection_error,
            max_trials=self.options.max_trials,
            seed=self.options.seed,
            needed=needed,
        )
        return None if estimate is None else self.with_better_places(RigCandidate(places, matches, estimate))

    def alone(self, camera: int, places: tuple[int, ...], needed_ratio: float) -> RigCandidate | None:
        """Pose that the matches of one camera give, with all matches that agree; None if there is none."""
        matches, view, options = self.matches(places), self.views[camera], self.options
        own = matches[camera]
        if len(own) < options.min_inliers:
            return None
        found = estimate_absolute_pose(
            own.pixels,
            own.positions,
            view.camera,
            max_error=options.max_reprojection_error,
            max_trials=options.max_trials,
            seed=options.seed,
            needed=max(options.min_inliers, needed_ratio * len(own)),
        )
        if found is None:
            return None
        estimate = self._agreeing(view.rig_from_cam * found.cam_from_map, matches)
        return self.with_better_places(RigCandidate(places, matches, estimate))

    def with_better_places(self, candidate: RigCandidate) -> RigCandidate:
        """Candidate in which a camera that hardly supports it has the place where it does so most."""
        rig_from_map, places = candidate.estimate.rig_from_map, list(candidate.places)
        for camera, matched in enumerate(self.matched):
            if candidate.supports(camera, self.options.confident_inlier_ratio):
                continue
            tried = range(min(len(matched.places), 1 + self.options.rival_places))
            agreeing = {place: self.agreeing_in(rig_from_map, camera, place) for place in tried}
            best = max(agreeing, key=lambda place: agreeing[place], default=places[camera])
            if agreeing.get(best, 0) > candidate.inliers_of(camera):
                places[camera] = best
        if tuple(places) == candidate.places:
            return candidate
        matches = self.matches(places)
        return RigCandidate(tuple(places), matches, self._agreeing(rig_from_map, matches))

    def agreeing_in(self, rig_from_map: Rigid3d, camera: int, place: int) -> int:
        """Number of matches of a camera in a place that agree with a pose."""
        matches = self.of_camera(camera, self.matches_of(camera, place))
        return int((errors_of(rig_from_map, matches) <= self.options.max_reprojection_error).sum())

    def _agreeing(self, rig_from_map: Rigid3d, matches: Sequence[Matches]) -> RigEstimate:
        """Pose refined on the matches that agree with it."""
        cameras, most = self.on_rig(matches), self.options.max_reprojection_error
        inliers = [errors_of(rig_from_map, one) <= most for one in cameras]
        return refined_estimate(rig_from_map, cameras, inliers, most)
