"""Pose priors from the retrieval: the most similar keyframe, the weighted average of three, the oracle."""

from dataclasses import replace

import numpy as np
import pytest
from point_street import View
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.errors import ConfigError
from vizloc_ros.evaluation.prior_poses import Prior, PriorPose, PriorPoses, weighted_pose
from vizloc_ros.geometry.poses import array_of, pose_error, pose_of
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.localization_options import PoseOptions, RetrievalOptions
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch


def turned(degrees: float, x: float) -> np.ndarray:
    """Array of a pose at (x, 0, 0), turned about z."""
    return array_of(Rigid3d(Rotation3d(np.array([0, 0, np.radians(degrees)])), np.array([x, 0, 0])))


def test_weights_are_the_eighth_powers_of_similarities() -> None:
    # 3 ** (1 / 8) to the eighth is 3: weights 3/4 and 1/4.
    mean = weighted_pose(np.stack([turned(0, 0), turned(20, 4)]), np.array([3 ** (1 / 8), 1], np.float32))
    np.testing.assert_allclose(mean.translation, [1, 0, 0], atol=1e-6)
    assert 0 < pose_error(mean, pose_of(turned(0, 1)))[1] < 6
    same = weighted_pose(np.stack([turned(0, 0), -turned(20, -4)]), np.array([0.5, 0.5], np.float32))  # q is -q
    assert pose_error(same, pose_of(turned(10, 2))) == pytest.approx((0, 0), abs=1e-4)
    for similarities in ([0.0, -0.5], [0.0, 0.0]):
        equal = weighted_pose(np.stack([turned(0, 0), turned(0, 4)]), np.array(similarities, np.float32))
        np.testing.assert_allclose(equal.translation, [2, 0, 0], atol=1e-9)


def test_there_are_three_priors() -> None:
    assert [Prior.named(name) for name in ("retrieval", "top3", "oracle")] == list(Prior)
    with pytest.raises(ConfigError, match="prior nearest: there is no such prior; there is retrieval, top3, oracle"):
        Prior.named("nearest")


@pytest.fixture(scope="module")
def orthogonal(point_map: VisualMap) -> VisualMap:
    """The map of points with orthogonal global descriptors; the last keyframe shares no landmark."""
    landmarks = np.array(point_map.observation_landmarks)
    alone = landmarks.max()
    landmarks[landmarks == alone] = 0
    landmarks[point_map.observations_of(11)] = alone
    return replace(point_map, global_descriptors=np.eye(12, dtype=np.float32), observation_landmarks=landmarks)


def prior_of(
    visual_map: VisualMap,
    view: View,
    prior: Prior,
    similarities: dict[int, float],
    roll: Roll = Roll.NONE,
    min_inliers: int = 15,
) -> PriorPose:
    """Prior of a view that is similar to some keyframes."""
    descriptor = np.zeros(12, np.float32)
    for keyframe, similarity in similarities.items():
        descriptor[keyframe] = similarity
    localizer = HierarchicalLocalizer(visual_map, RetrievalOptions(top_k=12), PoseOptions(min_inliers=min_inliers))
    features = replace(view.keyframe.features, global_descriptor=descriptor)
    return PriorPoses(visual_map, localizer, prior, roll).of(features, view.keyframe.camera, Stopwatch())


def test_the_prior_is_the_pose_of_the_most_similar_keyframe(orthogonal: VisualMap, point_views: list[View]) -> None:
    found = prior_of(orthogonal, point_views[6], Prior.RETRIEVAL, {3: 0.8, 6: 0.6})
    assert found.keyframes[:2].tolist() == [3, 6]
    np.testing.assert_allclose(array_of(found.map_from_cam), orthogonal.keyframe_poses[3], atol=1e-12)
    rolled = prior_of(orthogonal, point_views[6], Prior.RETRIEVAL, {3: 0.8}, Roll.CLOCKWISE)
    # The right side of a clockwise camera is at the bottom: its x axis is y of the upright one.
    upright = found.map_from_cam.rotation.matrix()
    np.testing.assert_allclose(rolled.map_from_cam.rotation.matrix()[:, 0], upright[:, 1], atol=1e-12)
    np.testing.assert_allclose(rolled.map_from_cam.translation, found.map_from_cam.translation)


def test_three_keyframes_are_averaged_but_none_of_another_place(orthogonal: VisualMap, point_views: list[View]) -> None:
    found = prior_of(orthogonal, point_views[6], Prior.TOP3, {4: 0.7, 5: 0.5, 6: 0.5, 7: 0.1})
    expected = weighted_pose(orthogonal.keyframe_poses[[4, 5, 6]], np.array([0.7, 0.5, 0.5], np.float32))
    assert pose_error(found.map_from_cam, expected) == pytest.approx((0, 0), abs=1e-5)
    without = prior_of(orthogonal, point_views[6], Prior.TOP3, {11: 0.8, 4: 0.5, 5: 0.3})
    expected = weighted_pose(orthogonal.keyframe_poses[[4, 5]], np.array([0.5, 0.3], np.float32))
    assert pose_error(without.map_from_cam, expected) == pytest.approx((0, 0), abs=1e-5)


def test_the_oracle_takes_the_keyframe_with_the_most_inliers(orthogonal: VisualMap, point_views: list[View]) -> None:
    similarities = {0: 0.9, 2: 0.3, 6: 0.2, 8: 0.2}
    found = prior_of(orthogonal, point_views[6], Prior.ORACLE, similarities)
    np.testing.assert_allclose(array_of(found.map_from_cam), orthogonal.keyframe_poses[6], atol=1e-12)
    lost = prior_of(orthogonal, point_views[6], Prior.ORACLE, similarities, min_inliers=5000)
    np.testing.assert_allclose(array_of(lost.map_from_cam), orthogonal.keyframe_poses[0], atol=1e-12)
