"""Loop closures: the pose graph with right and wrong ones, what stays open, and the way along a drive."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from point_street import CAMERA
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.features.types import Features
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.mapping.drift_correction import nearby_pairs, way_of
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions
from vizloc_ros.mapping.loop_closures import LoopClosure, LoopOptions, close_loops, loop_candidates, open_stretches
from vizloc_ros.mapping.pose_adjustment import RelativePoses, State

TURN = np.radians(9.0)


def lap(steps: int, turn: float) -> list[Rigid3d]:
    """Poses every 2 m of a drive that turns left by ``turn`` [rad] in each step."""
    poses = [Rigid3d()]
    for _ in range(steps):
        poses.append(poses[-1] * se3_exp(np.array([0, 0, 2.0, 0, -turn, 0])))
    return poses


def keyframe(index: int, pose: Rigid3d, descriptor: np.ndarray) -> Keyframe:
    empty = np.zeros((0, 2), np.float32)
    features = Features(empty, empty[:, 0], np.zeros((0, 8), np.int8), descriptor.astype(np.float32), CAMERA.size)
    return Keyframe(f"{index}", index, CAMERA, pose, features)


def test_right_loops_close_a_drive_and_wrong_ones_are_rejected() -> None:
    truth, odometry = lap(44, TURN), lap(44, TURN * 1.06)  # 40 steps are a lap
    pairs = [(k, k + 1) for k in range(44)]
    measured = [a.inverse() * b for a, b in pairwise(odometry)]
    steps = RelativePoses.of(pairs, measured, np.tile([0.04, 0.01], (44, 1)), robust=False)
    right = [LoopClosure(i, i + 40, truth[i].inverse() * truth[i + 40]) for i in range(5)]
    far = LoopClosure(2, 20, Rigid3d())  # 25 m apart after 36 m of way, which is no drift
    near = LoopClosure(3, 42, Rigid3d(Rotation3d(np.array([0.0, 0.5, 0.0])), np.array([2.0, 0.0, 0.0])))
    way = 2.0 * np.arange(45)
    state, kept = close_loops(State.of(odometry), steps, [far, *right, near], way, LoopOptions())
    assert kept == right
    before, after = (max(pose_error(e, t)[0] for e, t in zip(p, truth, strict=True)) for p in (odometry, state.poses))
    assert before > 4
    assert after < 0.8
    unchanged, none = close_loops(State.of(odometry), steps, [far], way, LoopOptions())
    assert none == []
    np.testing.assert_array_equal(unchanged.centers, State.of(odometry).centers)


def test_stretches_outside_of_all_loops_are_open() -> None:
    way = np.arange(10.0)
    assert open_stretches([], way) == [(0, 9)]
    assert open_stretches([LoopClosure(2, 5, Rigid3d()), LoopClosure(4, 7, Rigid3d())], way) == [(0, 2), (7, 9)]
    assert open_stretches([LoopClosure(0, 9, Rigid3d())], way) == []


def test_candidates_are_similar_a_long_way_back_and_within_reach_of_the_drift() -> None:
    rng = np.random.default_rng(0)
    poses = lap(42, TURN)
    descriptors = np.eye(43) + 0.01 * rng.normal(size=(43, 43))
    for late, early in ((40, 1), (41, 20), (42, 41)):  # the same place, across the lap, the step before
        descriptors[late] = descriptors[early]
    keyframes = [keyframe(k, pose, d) for k, (pose, d) in enumerate(zip(poses, descriptors, strict=True))]
    found = loop_candidates(keyframes, 2.0 * np.arange(43), LoopOptions(candidates=1))
    assert (1, 40) in found
    assert all(j - i >= 15 for i, j in found)
    assert not any(j == 41 and i == 20 for i, j in found)


def test_the_way_of_a_rig_is_that_of_one_camera() -> None:
    left = [keyframe(k, pose, np.ones(2)) for k, pose in enumerate(lap(5, 0.0))]
    aside = Rigid3d(Rotation3d(), np.array([0.5, 0.0, 0.0]))
    both = [k for one in left for k in (one, replace(one, map_from_cam=one.map_from_cam * aside))]
    way = way_of(both, ["left", "right"] * 6)
    np.testing.assert_allclose(way[::2], 2.0 * np.arange(6))
    assert (np.diff(way) >= 0).all()
    pairs = nearby_pairs(both, way, PairOptions(max_distance=5.0))
    assert all(0.05 <= way[j] - way[i] <= 5.0 and i < j for i, j in pairs)
    assert {(0, 2), (0, 4)} <= set(pairs)
