"""Ambiguity: other poses, far from the one that was found, that explain the image nearly as well.

Facades that repeat give a pose at each of them, and each is verified. Nothing in the best one alone tells that it is
wrong. So the other retrieved places are asked as well, and the matches that the pose leaves over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from pycolmap import Rigid3d

from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization.absolute_pose import Matches, estimate_absolute_pose, trials_to_find
from vizloc_ros.localization.candidate import Candidate
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.place_matching import Matched

MISSED = 0.01  # probability that RANSAC misses a rival
FEWEST_TRIALS = 100  # of pycolmap
_OTHER_DIRECTION = 10.0  # deg; at one position, poses that face other directions contradict each other, too


@dataclass(frozen=True)
class Rivals:
    """Search for poses that contradict the one that was found.

    Attributes:
        options: options of the pose.
        matched: what the pose was matched with.
        camera: camera of the query.
    """

    options: PoseOptions
    matched: Matched
    camera: PinholeCamera

    def count(self, found: Candidate) -> int:
        """Number of contradicting poses that have at least ``max_rival_ratio`` times the inliers of a pose."""
        needed = max(self.options.max_rival_ratio * found.inliers, self.options.min_inliers)
        poses: list[Rigid3d] = [found.estimate.cam_from_map.inverse()]
        for others in self._others(found):
            if len(others) < needed:
                continue
            trials = ceil(trials_to_find(needed / len(others), MISSED))
            rival = estimate_absolute_pose(
                others.pixels,
                others.positions,
                self.camera,
                max_error=self.options.max_reprojection_error,
                max_trials=min(max(trials, FEWEST_TRIALS), self.options.max_trials),
                seed=self.options.seed,
            )
            if rival is None or int(rival.inliers.sum()) < needed:
                continue
            pose = rival.cam_from_map.inverse()
            if all(contradict(pose, other, self.options.rival_distance) for other in poses):
                poses.append(pose)
        return len(poses) - 1

    def _others(self, found: Candidate) -> Iterator[Matches]:
        """Matches that the pose leaves over, then those in each of the next places."""
        yield found.matches.chosen(~found.estimate.inliers)
        others = [index for index in range(len(self.matched.places)) if index != found.place]
        for index in others[: self.options.rival_places]:
            yield self.matched.matches(index)


def contradict(map_from_a: Rigid3d, map_from_b: Rigid3d, rival_distance: float) -> bool:
    """Return True for two poses that cannot both be right, from a distance [m] on."""
    distance, angle = pose_error(map_from_a, map_from_b)
    return distance > rival_distance or angle > _OTHER_DIRECTION
