"""Matches that fit no pose: places that look alike, keyframes too far apart and wrong poses are told apart."""

import re
from dataclasses import replace

import numpy as np
import pytest
from point_street import CAMERA, PointStreet, matched
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features, quantize
from vizloc_ros.geometry.poses import pose_from_matrix, transform_points
from vizloc_ros.mapping.ambiguous_places import consistency
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions
from vizloc_ros.mapping.pair_matching import MatchOptions
from vizloc_ros.mapping.pose_diagnosis import pose_agreement, pose_warnings

PERIOD, STEP = 3.0, 4.0  # m


class RepeatingFacades:
    """A straight street of the same facade again and again; of its copies, those at one place in the image look alike.

    As a network describes what it sees, a descriptor changes with the viewpoint: between keyframes, the most similar
    copy is the one that is seen from about the same place.
    """

    def __init__(self, seed: int, period: float = PERIOD) -> None:
        rng = np.random.default_rng(seed)
        count, copies = 60, int(120 / period)
        tile = np.column_stack(
            [
                rng.uniform(0, period, count),
                rng.choice([-1, 1], count) * rng.uniform(4, 7, count),
                rng.uniform(-1.5, 4, count),
            ]
        )
        self.points = np.concatenate([tile + np.array([period * k, 0, 0]) for k in range(copies)])
        self._own = np.tile(rng.normal(size=(count, 128)), (copies, 1))
        self._views = rng.normal(size=(3, 128)) / 2.0  # 1/m
        self._phases = rng.uniform(0, 2 * np.pi, 128)
        self._rng = rng

    def keyframe(self, distance: float) -> Keyframe:
        axes = np.column_stack([[0, -1, 0], [0, 0, -1], [1, 0, 0], [distance, self._rng.uniform(-1.2, 1.2), 0]])
        pose = pose_from_matrix(axes.astype(float)) * Rigid3d(Rotation3d(np.array([0.0, 0.15, 0.0])), np.zeros(3))
        in_camera = transform_points(pose.inverse(), self.points)
        pixels, visible = CAMERA.project(in_camera)
        seen = np.flatnonzero(visible & (in_camera[:, 2] > 2) & (in_camera[:, 2] < 20))
        look = np.sqrt(2) * np.cos(in_camera[seen] @ self._views + self._phases)
        descriptors = self._own[seen] + 0.7 * look + 0.05 * self._rng.normal(size=look.shape)
        descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
        keypoints = (pixels[seen] + 0.3 * self._rng.normal(size=(len(seen), 2))).astype(np.float32)
        scores = np.ones(len(seen), np.float32)
        features = Features(
            keypoints, scores, quantize(descriptors.astype(np.float32)), NO_GLOBAL_DESCRIPTOR, CAMERA.size
        )
        return Keyframe(f"{distance:05.1f}.png", round(distance * 2e8), CAMERA, pose, features)


@pytest.fixture(scope="module")
def facades() -> list[Keyframe]:
    world = RepeatingFacades(seed=1)
    return [world.keyframe(STEP * i) for i in range(16)]


@pytest.fixture(scope="module")
def street() -> list[Keyframe]:
    world = PointStreet(seed=5, count=1200)
    return [world.view(3.5 * i, noise_px=0.5, clutter=100).keyframe for i in range(16)]


def test_repeated_structure_is_no_fault_of_the_poses(facades: list[Keyframe]) -> None:
    matches = matched(facades)
    assert pose_agreement(matches) < 0.6
    (warning,) = pose_warnings(facades, matches)
    assert re.match(r"repeated structure: \d+ of \d+ pairs of keyframes .* match like neighbors", warning)
    assert re.search(r"\d+% of the matches fit the known poses, which says nothing against the poses", warning)


def test_repeated_structure_is_named_before_a_convention(facades: list[Keyframe]) -> None:
    """With poses that are wrong as well, some convention fits by chance: nothing can be told from such matches."""
    turned = [
        replace(k, map_from_cam=k.map_from_cam * Rigid3d(Rotation3d(np.diag([1.0, -1.0, -1.0])), np.zeros(3)))
        for k in facades
    ]
    (warning,) = pose_warnings(turned, matched(facades))
    assert warning.startswith("repeated structure")


def shaken(keyframes: list[Keyframe]) -> list[Keyframe]:
    rng = np.random.default_rng(0)
    return [
        replace(
            k,
            map_from_cam=Rigid3d(
                Rotation3d(rng.uniform(-1, 1, 3)) * k.map_from_cam.rotation,
                k.map_from_cam.translation + rng.normal(size=3) * 5,
            ),
        )
        for k in keyframes
    ]


def test_wrong_poses_are_no_repeated_structure(street: list[Keyframe]) -> None:
    """The route is long enough for pairs that are far apart."""
    found, matches = consistency(street, PairOptions(), MatchOptions()), matched(street)
    assert len(found.far) >= 4
    assert (found.repeated, found.too_far_apart) == (0, False)
    (warning,) = pose_warnings(shaken(street), matches)
    assert "poses and images do not belong together" in warning


def test_keyframes_that_have_nothing_in_common_are_too_far_apart() -> None:
    """A street of points that a camera sees up to 25 m away, and a keyframe every 22 m."""
    world = PointStreet(seed=3)
    sparse = [world.view(22.0 * i, noise_px=0.5, clutter=600).keyframe for i in range(3)]
    (warning,) = pose_warnings(sparse, matched(sparse))
    assert re.match(r"too far apart: 0 of 3 keyframes have matches of one geometry .* 2\d(\.\d)? m away", warning)
    assert "do not belong together" not in warning
