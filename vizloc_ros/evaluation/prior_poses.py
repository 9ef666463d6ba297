"""Pose priors of images from the retrieval, as the PixLoc paper starts its alignments (PixLoc, sections 4 to 5.2)."""

from enum import Enum
from typing import NamedTuple

import numpy as np
from pycolmap import Rigid3d
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Float32, Float64, Int64
from vizloc_ros.errors import ConfigError
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_from_quaternion, pose_of
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.places import covisible_clusters
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch

_AVERAGED = 3  # keyframes of "top3"
_SHARPNESS = 8  # power of the cosines that weight them; as Pion et al., 3DV 2020, which PixLoc cites


class Prior(Enum):
    """Source of the pose prior of an image.

    RETRIEVAL is the pose of the most similar keyframe. TOP3 is the weighted average of the three most similar ones.
    ORACLE is the pose of the retrieved keyframe that observes the most inliers of the localizer. It needs no ground
    truth, and shows the benefit of a better retrieval (PixLoc, section 5.1).
    """

    RETRIEVAL = "retrieval"
    TOP3 = "top3"
    ORACLE = "oracle"

    @staticmethod
    def named(name: str) -> "Prior":
        """Prior of an option. Raises ``ConfigError`` for any other word."""
        try:
            return Prior(name)
        except ValueError as error:
            known = ", ".join(prior.value for prior in Prior)
            raise ConfigError(f"prior {name}: there is no such prior; there is {known}") from error


class PriorPose(NamedTuple):
    """Prior of an image.

    Attributes:
        map_from_cam: pose of the camera in the map.
        keyframes: (k,) retrieved keyframes, best first.
    """

    map_from_cam: Rigid3d
    keyframes: Int64


class PriorPoses:
    """Pose priors of images in a map."""

    def __init__(
        self, visual_map: VisualMap, localizer: HierarchicalLocalizer, prior: Prior, roll: Roll = Roll.NONE
    ) -> None:
        """Take the retrieval of a localizer of the map; ``roll`` is that of the cameras against the map."""
        self._map, self._localizer, self._prior, self._roll = visual_map, localizer, prior, roll

    def of(self, features: Features, camera: PinholeCamera, stopwatch: Stopwatch) -> PriorPose:
        """Prior of an image by its features. Raises ``FeatureError`` if they are of another kind than the map's."""
        finder = self._localizer.finder
        with stopwatch("retrieve"):
            keyframes, similarities = finder.index.search(features.global_descriptor, finder.options.top_k)
        if self._prior is Prior.TOP3:
            pose = self._average(keyframes[:_AVERAGED], similarities[:_AVERAGED])
        elif self._prior is Prior.ORACLE:
            pose = self._pose(self._with_most_inliers(features, camera, stopwatch, keyframes))
        else:
            pose = self._pose(int(keyframes[0]))
        return PriorPose(pose * self._roll.upright_from_cam, keyframes)

    def _pose(self, keyframe: int) -> Rigid3d:
        return pose_of(self._map.keyframe_poses[keyframe])

    def _average(self, keyframes: Int64, similarities: Float32) -> Rigid3d:
        """Average of the keyframes that belong to the largest covisible cluster."""
        of_cluster = np.isin(keyframes, covisible_clusters(self._map, keyframes)[0])
        return weighted_pose(self._map.keyframe_poses[keyframes[of_cluster]], similarities[of_cluster])

    def _with_most_inliers(
        self, features: Features, camera: PinholeCamera, stopwatch: Stopwatch, similar: Int64
    ) -> int:
        """Retrieved keyframe that observes the most inliers; without a localization, the most similar one."""
        outcome, retrieved = self._localizer.localize_with_candidates(features, camera, stopwatch)
        if outcome.pose is None:
            return int(similar[0])
        inliers = [
            np.isin(outcome.pose.landmark_ids, self._map.landmarks_of(int(keyframe))).sum()
            for keyframe in retrieved.keyframes
        ]
        return int(retrieved.keyframes[int(np.argmax(inliers))])


def weighted_pose(poses: Float64, similarities: Float32) -> Rigid3d:
    """Mean pose, weighted by the eighth power of similarities (Pion et al., 3DV 2020): of positions and rotations.

    Args:
        poses: (N, 7) poses map_from_cam: tx ty tz [m] qx qy qz qw.
        similarities: (N,) cosines of global descriptors; a negative one counts as 0, and all 0 as equal.
    """
    weights = np.asarray(similarities, np.float64).clip(min=0) ** _SHARPNESS
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1 / len(weights))
    rotation = Rotation.from_quat(poses[:, 3:]).mean(weights)
    return pose_from_quaternion(weights @ poses[:, :3], rotation.as_quat())
