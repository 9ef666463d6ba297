"""Guided matching: further matches near a verified pose, and the pose that they refine."""

import numpy as np
from point_street import CAMERA
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float32, Float64, Int8
from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features, quantize
from vizloc_ros.geometry.poses import pose_error, transform_points
from vizloc_ros.localization.absolute_pose import Matches
from vizloc_ros.localization.guided_matching import (
    _pairs_within,
    further_support,
    guided_matches,
)
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.places import Place
from vizloc_ros.localization.pose_solver import PoseSolver

CAM_FROM_MAP = Rigid3d(Rotation3d([0.01, 0.02, 0.0, 1.0]), [0.3, -0.2, 0.5])
NUM_LANDMARKS = 400


def unit_rows(count: int, rng: np.random.Generator) -> Float32:
    vectors = rng.normal(size=(count, 32))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Scene:
    """Landmarks in front of a camera, each observed twice; every second one has a twin with the same descriptor."""

    def __init__(self, noise: float, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        pixels = rng.uniform([20, 20], [CAMERA.width - 20, CAMERA.height - 20], (NUM_LANDMARKS, 2))
        depths = rng.uniform(4, 40, NUM_LANDMARKS)
        rays = np.column_stack(
            [(pixels[:, 0] - CAMERA.cx) / CAMERA.fx, (pixels[:, 1] - CAMERA.cy) / CAMERA.fy, np.ones(NUM_LANDMARKS)]
        )
        self.positions: Float64 = transform_points(CAM_FROM_MAP.inverse(), rays * depths[:, None])
        descriptors = unit_rows(NUM_LANDMARKS, rng)
        descriptors[1::4] = descriptors[3::4]  # twins elsewhere: the ratio test leaves both out
        self.descriptors: Int8 = quantize(descriptors)
        ids = np.arange(NUM_LANDMARKS, dtype=np.int32)
        self.place = Place(
            np.tile(self.positions, (2, 1)).astype(np.float32), np.tile(ids, 2), np.tile(self.descriptors, (2, 1))
        )
        keypoints = (pixels + rng.normal(scale=noise, size=pixels.shape)).astype(np.float32)
        scores = np.linspace(1, 0.1, NUM_LANDMARKS).astype(np.float32)
        size = (CAMERA.width, CAMERA.height)
        self.features = Features(keypoints, scores, self.descriptors, NO_GLOBAL_DESCRIPTOR, size)

    def verified(self, count: int) -> Matches:
        ids = np.arange(0, 2 * count, 2, dtype=np.int32)
        return Matches(ids, self.features.keypoints[ids].astype(np.float64), ids, self.positions[ids])


def test_landmarks_with_twins_are_matched_where_they_project() -> None:
    scene = Scene(noise=0.3)
    found = guided_matches(scene.features, scene.place, scene.verified(50), CAM_FROM_MAP, CAMERA, radius=4.0).matches
    np.testing.assert_array_equal(found.keypoints, found.landmark_ids)
    assert len(found.keypoints) >= 0.85 * NUM_LANDMARKS  # at most a tenth is less similar than the verified ones
    np.testing.assert_allclose(found.positions, scene.positions[found.landmark_ids], atol=1e-5)


def test_each_landmark_and_each_keypoint_is_matched_once() -> None:
    scene = Scene(noise=0.3)
    doubled = Features(
        *(np.concatenate([part, part]) for part in (scene.features.keypoints, scene.features.scores)),
        np.concatenate([scene.descriptors, scene.descriptors]),
        NO_GLOBAL_DESCRIPTOR,
        scene.features.image_size,
    )
    found = guided_matches(doubled, scene.place, scene.verified(50), CAM_FROM_MAP, CAMERA, radius=4.0).matches
    assert len(np.unique(found.keypoints)) == len(np.unique(found.landmark_ids)) == len(found.keypoints)


def test_nothing_near_the_verified_pose_leaves_the_verified_matches() -> None:
    scene = Scene(noise=0.3)
    elsewhere = Rigid3d(Rotation3d(), [0.0, 0.0, -1000.0])  # all landmarks are behind this camera
    verified = scene.verified(30)
    found = guided_matches(scene.features, scene.place, verified, elsewhere, CAMERA, radius=4.0)
    assert (found.matches, found.near, found.alike) == (verified, 0, 0)


def with_(features: Features, keypoints: Float32, descriptors: Int8) -> Features:
    return Features(keypoints, features.scores, descriptors, NO_GLOBAL_DESCRIPTOR, features.image_size)


def test_landmarks_that_a_pose_was_not_found_with_support_it_only_if_it_is_right() -> None:
    scene = Scene(noise=0.3)
    verified = scene.verified(50)
    aside = Rigid3d(Rotation3d([0.0, 0.03, 0.0, 1.0]), [0.0, 0.0, 0.0]) * CAM_FROM_MAP  # by 3.4 deg
    right, wrong = (
        further_support(scene.features, scene.place, verified, pose, CAMERA, 4.0) for pose in (CAM_FROM_MAP, aside)
    )
    assert right > NUM_LANDMARKS - 50
    assert 0 <= wrong < 5


def test_obstacles_leave_the_support_of_what_they_do_not_hide() -> None:
    """Four of five keypoints are on obstacles: anywhere around the landmarks, and unlike all of them."""
    scene, rng = Scene(noise=0.3), np.random.default_rng(1)
    hidden = rng.random(NUM_LANDMARKS) < 0.8
    hidden[scene.verified(50).keypoints] = False
    keypoints, descriptors = scene.features.keypoints.copy(), scene.descriptors.copy()
    keypoints[hidden] += rng.uniform(-10, 10, (hidden.sum(), 2)).astype(np.float32)
    descriptors[hidden] = quantize(unit_rows(int(hidden.sum()), rng))
    arguments = (scene.place, scene.verified(50), CAM_FROM_MAP, CAMERA, 4.0)
    support = further_support(with_(scene.features, keypoints, descriptors), *arguments)
    assert 50 < support < further_support(scene.features, *arguments) / 3


def test_a_part_of_the_landmarks_tells_a_right_pose_from_one_aside() -> None:
    scene = Scene(noise=0.3)
    verified = scene.verified(50)
    aside = Rigid3d(Rotation3d([0.0, 0.03, 0.0, 1.0]), [0.0, 0.0, 0.0]) * CAM_FROM_MAP  # by 3.4 deg
    right, whole, wrong = (
        further_support(scene.features, scene.place, verified, pose, CAMERA, 4.0, every)
        for pose, every in ((CAM_FROM_MAP, 4), (CAM_FROM_MAP, 1), (aside, 4))
    )
    assert wrong < 5 < right < 0.6 * whole


def test_nothing_supports_a_pose_where_all_keypoints_look_the_same() -> None:
    scene = Scene(noise=0.3)
    scene.place.descriptors[:] = scene.descriptors[0]
    same = with_(scene.features, scene.features.keypoints, np.tile(scene.descriptors[:1], (NUM_LANDMARKS, 1)))
    assert further_support(same, scene.place, scene.verified(50), CAM_FROM_MAP, CAMERA, 8.0) == 0


def test_no_further_landmarks_in_view_give_no_support() -> None:
    scene = Scene(noise=0.3)
    elsewhere = Rigid3d(Rotation3d(), [0.0, 0.0, -1000.0])
    assert further_support(scene.features, scene.place, scene.verified(30), elsewhere, CAMERA, 4.0) == 0
    ids = np.arange(NUM_LANDMARKS, dtype=np.int32)
    everything = Matches(ids, scene.features.keypoints.astype(np.float64), ids, scene.positions)
    assert further_support(scene.features, scene.place, everything, CAM_FROM_MAP, CAMERA, 4.0) == 0


def test_refined_poses_are_more_accurate() -> None:
    truth, errors, matches = CAM_FROM_MAP.inverse(), [], []
    for seed in range(40):
        scene = Scene(noise=1.5, seed=seed)
        plain, guided = (
            PoseSolver(PoseOptions(guided=on)).solve(scene.features, [scene.place], CAMERA) for on in (False, True)
        )
        assert plain.pose is not None
        assert guided.pose is not None
        assert (guided.inliers, guided.matches) == (plain.inliers, plain.matches)  # what was verified
        np.testing.assert_array_equal(guided.pose.covariance, plain.pose.covariance)
        matches.append([len(outcome.pose.keypoints) for outcome in (plain, guided)])
        assert not set(guided.pose.rejected) & set(guided.pose.keypoints)
        errors.append([pose_error(outcome.pose.map_from_cam, truth)[0] for outcome in (plain, guided)])
    (plain_matches, guided_matches), (plain_error, guided_error) = np.mean(matches, axis=0), np.mean(errors, axis=0)
    assert guided_matches > 1.15 * plain_matches
    assert guided_error < 0.95 * plain_error


def test_near_pairs_are_all_those_within_the_radius() -> None:
    rng = np.random.default_rng(0)
    for size, radius in (((200, 80), 3.0), ((64, 48), 1.7), ((9, 7), 12.0)):
        keypoints = rng.uniform(-0.5, np.array(size) - 0.5, (300, 2))
        pixels = rng.uniform(-radius - 0.5, np.array(size) + radius - 0.5, (400, 2))
        distances = np.linalg.norm(pixels[:, None] - keypoints[None], axis=2)
        found = set(zip(*_pairs_within(radius, pixels, keypoints, size), strict=True))
        assert found == set(zip(*np.nonzero(distances <= radius), strict=True))
        assert 0 < len(found) < distances.size
    none = np.zeros((0, 2))
    assert [len(x) for x in _pairs_within(3.0, none, keypoints, size)] == [0, 0]
    assert [len(x) for x in _pairs_within(3.0, pixels, none, size)] == [0, 0]
