"""Pose that RANSAC found in one place, before its verification."""

from dataclasses import dataclass
from functools import cached_property

from vizloc_ros.localization.absolute_pose import AbsolutePose, Matches


@dataclass(frozen=True)
class Candidate:
    """Pose in one place, with all matches that it was found from.

    Attributes:
        place: index of the place among those that were retrieved.
        keypoints: number of the query's keypoints that were to be matched.
        matches: all matches in the place.
        estimate: pose, and the mask of the matches that are its inliers.
    """

    place: int
    keypoints: int
    matches: Matches
    estimate: AbsolutePose

    @cached_property
    def inliers(self) -> int:
        """Number of inliers."""
        return int(self.estimate.inliers.sum())

    @cached_property
    def verified(self) -> Matches:
        """Matches that are inliers."""
        return self.matches.chosen(self.estimate.inliers)
