"""Which keyframes are matched with each other, against a reference in loops."""

from dataclasses import replace

import numpy as np
import pytest
from point_street import CAMERA
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.features.types import Features
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions, keyframe_pairs


def keyframe(centre: np.ndarray, yaw: float, look: np.ndarray) -> Keyframe:
    features = Features(
        np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, 8), np.int8), look, CAMERA.size
    )
    return Keyframe("k", 0, CAMERA, Rigid3d(Rotation3d(np.array([0, yaw, 0])), centre), features)


def random_keyframes(seed: int, count: int = 60) -> list[Keyframe]:
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(count, 6)).astype(np.float32)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    centres = rng.uniform(-20, 20, (count, 3))
    return [keyframe(c, y, g) for c, y, g in zip(centres, rng.uniform(-3, 3, count), looks, strict=True)]


def reference(keyframes: list[Keyframe], options: PairOptions) -> list[tuple[int, int]]:
    """The docstring of ``keyframe_pairs`` in loops."""
    pairs = set()
    for i, one in enumerate(keyframes):
        distance, candidates = {}, []
        for j, other in enumerate(keyframes):
            forward = one.map_from_cam.rotation * np.array([0, 0, 1.0])
            cosine = forward @ (other.map_from_cam.rotation * np.array([0, 0, 1.0]))
            distance[j] = np.linalg.norm(one.map_from_cam.translation - other.map_from_cam.translation)
            if j != i and np.degrees(np.arccos(np.clip(cosine, -1, 1))) <= options.max_angle:
                candidates.append(j)
        near = sorted((j for j in candidates if distance[j] <= options.max_distance), key=distance.__getitem__)
        if len(near) > options.by_pose:
            ranks = sorted({round(len(near) ** (k / (options.by_pose - 1))) for k in range(options.by_pose)})
            near = [near[rank - 1] for rank in ranks]
        look = one.features.global_descriptor
        alike = sorted(
            (j for j in candidates if distance[j] <= 2 * options.max_distance and j not in near),
            key=lambda j: -float(keyframes[j].features.global_descriptor @ look),
        )
        for j in near + alike[: options.by_retrieval]:
            pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options",
    [
        PairOptions(max_distance=12),
        PairOptions(max_distance=9, max_angle=120, by_pose=3, by_retrieval=0),
        PairOptions(max_distance=40, max_angle=180, by_pose=6, by_retrieval=4),
    ],
    ids=["default", "few", "many"],
)
def test_pairs_are_those_of_the_reference(seed: int, options: PairOptions) -> None:
    keyframes = random_keyframes(seed)
    expected = reference(keyframes, options)
    assert len(expected) > 30
    assert keyframe_pairs(keyframes, options) == expected


def test_partners_reach_from_the_nearest_to_the_farthest() -> None:
    look = np.ones(1, np.float32)
    row = [keyframe(np.array([0, 0, 0.5 * i]), 0, look) for i in range(40)]
    partners = {j for i, j in keyframe_pairs(row, PairOptions(max_distance=10, by_pose=4, by_retrieval=0)) if i == 0}
    assert 1 in partners
    assert 20 in partners


def test_keyframes_that_look_elsewhere_or_are_far_make_no_pair() -> None:
    look = np.ones(1, np.float32)
    here = keyframe(np.zeros(3), 0, look)
    back = keyframe(np.zeros(3), np.pi, look)
    far = keyframe(np.array([60.0, 0, 0]), 0, look)
    assert keyframe_pairs([here, back, far], PairOptions()) == []


def test_a_revisit_is_found_by_its_looks() -> None:
    """Thirty others are nearer, but the one that looks the same is a partner too."""
    rng = np.random.default_rng(0)
    here = keyframe(np.zeros(3), 0, np.array([1, 0], np.float32))
    crowd = [keyframe(rng.uniform(-2, 2, 3), 0, np.array([0, 1], np.float32)) for _ in range(30)]
    again = keyframe(np.array([30.0, 0, 0]), 0, np.array([1, 0], np.float32))
    keyframes = [here, *crowd, again]
    assert (0, 31) in keyframe_pairs(keyframes, PairOptions(by_retrieval=1))
    assert (0, 31) not in keyframe_pairs(keyframes, PairOptions(by_retrieval=0))
    unlike = [
        *keyframes[:-1],
        replace(again, features=replace(again.features, global_descriptor=-here.features.global_descriptor)),
    ]
    assert (0, 31) not in keyframe_pairs(unlike, PairOptions(by_retrieval=1))
