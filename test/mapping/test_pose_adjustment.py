"""Adjustment of poses and landmarks: Jacobians against differences, a pose graph, and a bundle with relative poses."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from pycolmap import Rigid3d

from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_error, transform_points
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.mapping.pose_adjustment import (
    Observations,
    RelativePoses,
    State,
    adjust,
    relative_residuals,
    reprojection_residuals,
)

CAMERA = PinholeCamera(640, 400, 350.0, 360.0, 310.25, 205.75)


def random_pose(rng: np.random.Generator, size: float) -> Rigid3d:
    return se3_exp(size * rng.normal(size=6))


def differences(state: State, pose: int, residuals_of: Callable[[State], np.ndarray]) -> np.ndarray:
    """Numeric Jacobian of residuals by a motion of one pose, central differences."""
    columns = []
    for k in range(6):
        motion = np.zeros((len(state.centers), 6))
        motion[pose, k] = 1e-6
        still = np.zeros_like(state.landmarks)
        ahead, back = (residuals_of(state.moved(sign * motion, still)) for sign in (1.0, -1.0))
        columns.append((ahead - back) / 2e-6)
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("size", [1e-5, 0.3, 1.0])
def test_jacobians_of_relative_poses_are_those_of_differences(size: float) -> None:
    rng = np.random.default_rng(3)
    poses = [random_pose(rng, 1.0) for _ in range(3)]
    pairs = [(0, 1), (2, 1)]
    measured = [poses[i].inverse() * poses[j] * random_pose(rng, size) for i, j in pairs]
    relative = RelativePoses.of(pairs, measured, np.array([[0.1, 0.02], [0.5, 0.3]]), robust=False)
    state = State.of(poses)
    _, by_i, by_j = relative_residuals(state, relative)
    for row, (i, j) in enumerate(pairs):
        for index, jacobian in ((i, by_i), (j, by_j)):
            numeric = differences(state, index, lambda s: relative_residuals(s, relative)[0])[row]
            np.testing.assert_allclose(jacobian[row], numeric, atol=1e-5 * np.abs(numeric).max())


def test_jacobians_of_reprojections_are_those_of_differences() -> None:
    rng = np.random.default_rng(4)
    state = State.of([random_pose(rng, 0.3) for _ in range(2)], rng.uniform((-2, -2, 8), (2, 2, 15), (5, 3)))
    seen = Observations(np.repeat([0, 1], 5), np.tile(np.arange(5), 2), rng.uniform(0, 400, (10, 2)), [CAMERA, CAMERA])
    _, by_pose, by_landmark = reprojection_residuals(state, seen)
    for pose in (0, 1):
        numeric = differences(state, pose, lambda s: reprojection_residuals(s, seen)[0])
        rows = seen.poses == pose
        np.testing.assert_allclose(by_pose[rows], numeric[rows], atol=1e-4)
        np.testing.assert_array_equal(numeric[~rows], 0)
    for k in range(3):
        offset = np.zeros((5, 3))
        offset[:, k] = 1e-6
        ahead, back = (reprojection_residuals(state.moved(np.zeros((2, 6)), s * offset), seen)[0] for s in (1.0, -1.0))
        np.testing.assert_allclose(by_landmark[:, :, k], (ahead - back) / 2e-6, atol=1e-4)


def circle(count: int, radius: float = 20.0) -> list[Rigid3d]:
    """Poses of a drive around a block, the last one where the first one was."""
    step = 2 * np.pi / (count - 1)
    return [
        se3_exp(np.array([0, 0, 0, 0, -step * k, 0])) * Rigid3d(np.eye(3, 4)) * _ahead(radius) for k in range(count)
    ]


def _ahead(radius: float) -> Rigid3d:
    return Rigid3d(Rigid3d().rotation, np.array([radius, 0.0, 0.0]))


def drifted(poses: list[Rigid3d], turn: float) -> list[Rigid3d]:
    """The same drive by an odometry whose heading drifts by ``turn`` [rad] a step."""
    moved = [poses[0]]
    for a, b in pairwise(poses):
        moved.append(moved[-1] * (a.inverse() * b) * se3_exp(np.array([0, 0, 0, 0, turn, 0])))
    return moved


def test_a_loop_closes_and_a_wrong_one_is_outvoted() -> None:
    poses = circle(41)
    odometry = drifted(poses, np.radians(0.4))
    pairs = [(k, k + 1) for k in range(40)]
    steps = [odometry[i].inverse() * odometry[j] for i, j in pairs]
    edges = RelativePoses.of(pairs, steps, np.tile([0.05, 0.01], (40, 1)), robust=False)
    right = [(0, 40), (1, 40), (0, 39), (1, 39)]
    loops = [*right, (5, 25)]
    measured = [*(poses[i].inverse() * poses[j] for i, j in right), Rigid3d()]
    closures = RelativePoses.of(loops, measured, np.tile([0.1, 0.01], (5, 1)), robust=True)
    closed = adjust(State.of(odometry), edges + closures).poses
    before, after = (max(pose_error(e, t)[0] for e, t in zip(p, poses, strict=True)) for p in (odometry, closed))
    assert before > 4
    assert after < 0.3
    assert pose_error(closed[0], poses[0]) == (0, 0)


def test_landmarks_straighten_a_drift_and_relative_poses_keep_the_scale() -> None:
    rng = np.random.default_rng(5)
    poses = [se3_exp(np.array([0, 0, 1.0 * k, 0, 0, 0])) for k in range(15)]
    landmarks = np.column_stack([rng.choice([-1, 1], 400) * rng.uniform(3, 9, 400), rng.uniform(-4, 2, 400)])
    landmarks = np.column_stack([landmarks, rng.uniform(5, 40, 400)])
    rows = []
    for k, pose in enumerate(poses):
        in_camera = transform_points(pose.inverse(), landmarks)
        pixels, visible = CAMERA.project(in_camera)
        rows += [(k, n, *pixels[n]) for n in np.flatnonzero(visible & (in_camera[:, 2] < 25))]
    table = np.array(rows)
    pixels = table[:, 2:] + 0.3 * rng.normal(size=(len(table), 2))
    pixels[::20] += 15.0  # wrong matches
    seen = Observations(table[:, 0].astype(int), table[:, 1].astype(int), pixels, [CAMERA] * 15)
    odometry = drifted(poses, np.radians(0.3))
    pairs = [(k, k + 1) for k in range(14)]
    edges = RelativePoses.of(
        pairs, [odometry[i].inverse() * odometry[j] for i, j in pairs], np.tile([0.02, 0.01], (14, 1)), robust=False
    )
    moved = landmarks + 0.2 * rng.normal(size=landmarks.shape)
    found = adjust(State.of(odometry, moved), edges, seen).poses
    before, after = (pose_error(p[-1], poses[-1]) for p in (odometry, found))
    assert before[0] > 0.4
    assert after[0] < 0.05
    assert after[1] < 0.1
