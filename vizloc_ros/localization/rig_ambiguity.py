"""Ambiguity of the pose of a rig: other poses that its images explain nearly as well, and cameras that disagree."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from pycolmap import Rigid3d

from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization.absolute_pose import Matches, trials_to_find
from vizloc_ros.localization.ambiguity import FEWEST_TRIALS, MISSED, contradict
from vizloc_ros.localization.rig_candidate import RigCandidate, RigMatcher
from vizloc_ros.localization.rig_pose import errors_of, estimate_rig_pose

_PART = 0.5  # of a rival's inliers, from which it is looked at: its others may be in places of another rank


@dataclass(frozen=True)
class RigRivals:
    """Search for poses of a rig that contradict the one that was found, see ``Rivals``.

    Attributes:
        matcher: matches of the cameras.
    """

    matcher: RigMatcher

    def problem(self, found: RigCandidate, supporters: Sequence[int]) -> str:
        """Reason why a pose is ambiguous; empty if it is not.

        A rival has ``max_rival_ratio`` times the inliers of the pose, with each camera in the place that suits it most.

        Args:
            found: the pose.
            supporters: cameras that support it.
        """
        matcher, options = self.matcher, self.matcher.options
        needed = max(options.max_rival_ratio * found.counts(supporters)[1], options.min_inliers)
        map_from_rig = found.estimate.rig_from_map.inverse()
        rivals: list[Rigid3d] = []
        others = list(self._others(found))
        for matches in others:
            total = sum(map(len, matches))
            if total < _PART * needed:
                continue
            trials = ceil(trials_to_find(needed / max(total, needed), MISSED))
            rival = estimate_rig_pose(
                matcher.on_rig(matches),
                max_error=options.max_reprojection_error,
                max_trials=min(max(trials, FEWEST_TRIALS), options.max_trials),
                seed=options.seed,
                needed=_PART * needed,
            )
            if rival is None:
                continue
            map_from_rival = rival.rig_from_map.inverse()
            if not all(contradict(map_from_rival, pose, options.rival_distance) for pose in (map_from_rig, *rivals)):
                continue
            agreeing = [max(self._agreeing(rival.rig_from_map, c, each[c]) for each in others) for c in self._cameras]
            if sum(agreeing) < needed:
                continue
            rivals.append(map_from_rival)
            strong = [c for c in self._cameras if agreeing[c] >= options.min_inliers]
            if strong and not set(strong) & set(supporters):
                return self._disagreement(supporters, strong, map_from_rig, map_from_rival)
        return f"ambiguous: {len(rivals) + 1} places look alike" if rivals else ""

    @property
    def _cameras(self) -> range:
        return range(len(self.matcher.views))

    def _others(self, found: RigCandidate) -> Iterator[tuple[Matches, ...]]:
        """Matches of each camera that the pose leaves over, then those in each of its next places."""
        left = zip(found.matches, found.estimate.inliers, strict=True)
        yield tuple(matches.chosen(~inliers) for matches, inliers in left)
        others = [
            [place for place in range(len(matched.places)) if place != found.places[camera]]
            for camera, matched in enumerate(self.matcher.matched)
        ]
        for rank in range(min(max(map(len, others)), self.matcher.options.rival_places)):
            yield tuple(
                self.matcher.matches_of(camera, places[rank])
                if rank < len(places)
                else found.matches[camera].chosen(~found.estimate.inliers[camera])
                for camera, places in enumerate(others)
            )

    def _agreeing(self, rig_from_map: Rigid3d, camera: int, matches: Matches) -> int:
        errors = errors_of(rig_from_map, self.matcher.of_camera(camera, matches))
        return int((errors <= self.matcher.options.max_reprojection_error).sum())

    def _disagreement(
        self, supporters: Sequence[int], others: Sequence[int], map_from_rig: Rigid3d, map_from_rival: Rigid3d
    ) -> str:
        names = [" and ".join(self.matcher.views[c].name for c in cameras) for cameras in (supporters, others)]
        distance, angle = pose_error(map_from_rig, map_from_rival)
        return (
            f"ambiguous: {names[0]} and {names[1]} give poses that are {distance:.1f} m and {angle:.0f} deg apart: if "
            "always, the pose of a camera on the vehicle is wrong, or its images are late"
        )
