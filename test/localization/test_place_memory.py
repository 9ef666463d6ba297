"""Memory of the retrieval: the filter against its formula, when it forgets, and what it does to retrieved keyframes."""

from collections.abc import Sequence

import numpy as np
import pytest
from point_street import RepeatedStreet

from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.localization_options import PoseOptions, RetrievalOptions
from vizloc_ros.localization.place_memory import PlaceMemory
from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.localization.retrieval import GlobalIndex
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch

ON_A_LINE = np.column_stack([np.arange(0, 60, 2.0), np.zeros(30), np.zeros(30)])
EVERY = np.arange(30)
SECOND = 1_000_000_000


def cosines(peaks: Sequence[int], height: float = 0.1) -> np.ndarray:
    return np.float32(0.5) + np.float32(height) * np.isin(EVERY, peaks).astype(np.float32)


def updated(memory: PlaceMemory, seconds: float, similarities: np.ndarray) -> np.ndarray:
    memory.expect(round(seconds * SECOND))
    return memory.update(EVERY, similarities)


def test_the_probabilities_are_those_of_a_bayes_filter() -> None:
    rng = np.random.default_rng(0)
    memory, belief = PlaceMemory(ON_A_LINE, 2.0, 5.0), np.full(30, 1 / 30)
    for image in range(6):
        similarities = rng.uniform(0.4, 0.5, 30).astype(np.float32)
        if image:
            near = np.abs(ON_A_LINE[:, :1] - ON_A_LINE[:, 0]) <= 5.0 * 0.5 + 3.0
            belief = 0.9 * (belief / near.sum(axis=1)) @ near + 0.1 / 30
        belief = belief * np.exp(similarities / 0.02)
        belief /= belief.sum()
        np.testing.assert_allclose(updated(memory, 0.5 * image, similarities), belief, rtol=1e-4)


def test_the_place_that_stays_likely_outweighs_a_better_one_far_away() -> None:
    memory = PlaceMemory(ON_A_LINE, 2.0, 5.0)
    assert updated(memory, 0, cosines([5])).argmax() == 5
    alone = cosines([25], 0.05) + 0.04 * np.isin(EVERY, [6])
    assert updated(memory, 0.4, alone.astype(np.float32)).argmax() == 6
    assert updated(PlaceMemory(ON_A_LINE, 2.0, 5.0), 0, alone.astype(np.float32)).argmax() == 25


@pytest.mark.parametrize("then", [2.5, -1.0, 3600.0], ids=["gap", "backwards", "an hour ahead"])
def test_nothing_is_remembered_after_a_gap_or_a_jump_of_the_clock(then: float) -> None:
    memory = PlaceMemory(ON_A_LINE, 2.0, 5.0)
    updated(memory, 100, cosines([5]))
    assert len(memory.expect(round((100 + then) * SECOND))) == 0
    fresh = updated(PlaceMemory(ON_A_LINE, 2.0, 5.0), 0, cosines([20]))
    np.testing.assert_array_equal(memory.update(EVERY, cosines([20])), fresh)


def test_an_image_of_the_same_time_takes_the_place_of_the_last() -> None:
    """As one that is turned the other way, of a camera whose roll is not known."""
    twice, once = (PlaceMemory(ON_A_LINE, 2.0, 5.0) for _ in range(2))
    for memory in (twice, once):
        updated(memory, 0, cosines([5, 20]))
    updated(twice, 0.5, cosines([20]))
    np.testing.assert_array_equal(updated(twice, 0.5, cosines([6])), updated(once, 0.5, cosines([6])))


def test_a_new_place_is_believed_in_with_the_second_image() -> None:
    memory = PlaceMemory(ON_A_LINE, 2.0, 5.0)
    for image in range(5):
        updated(memory, 0.2 * image, cosines([5]))
    updated(memory, 1.0, cosines([25]))
    assert updated(memory, 1.2, cosines([25])).argmax() == 25


WAVES = np.random.default_rng(0).normal(size=(128, 1)) / 4.0  # 1/m; places 4 m apart look different


def appearance(ways: Sequence[float], noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(N, 256) global descriptors that change smoothly along the way, with noise of that length."""
    angles = np.asarray(ways) * WAVES
    clean = np.concatenate([np.cos(angles), np.sin(angles)]).T / np.sqrt(128)
    noisy = clean + noise / 16 * np.random.default_rng(seed).normal(size=clean.shape)
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)


def finder_of(repeated_map: VisualMap, **options: float) -> PlaceFinder:
    """Finder by ``appearance``: the map's own descriptors of seven elements say too much and too little."""
    finder = PlaceFinder(repeated_map, RetrievalOptions(**options))
    finder.index = GlobalIndex(appearance(2.0 * np.arange(repeated_map.info.keyframes)))
    return finder


def near(visual_map: VisualMap, keyframes: np.ndarray, way: float) -> np.ndarray:
    centers = np.asarray(visual_map.keyframe_poses)[keyframes, :3]
    return np.linalg.norm(centers - RepeatedStreet().pose(way).translation, axis=1) <= 5


DRIVE = np.array([*np.arange(30.25, 60, 1.0), *np.arange(3.25, 10, 1.0)])  # m, with a jump back


def test_noisy_images_in_a_row_find_the_place_more_often_than_each_alone(repeated_map: VisualMap) -> None:
    remembering, alone, hits = finder_of(repeated_map), finder_of(repeated_map), np.zeros(2)
    for image, noisy in enumerate(appearance(DRIVE, noise=8.0)):
        found = remembering.find(noisy, Stopwatch(), image * SECOND // 5), alone.find(noisy, Stopwatch())
        hits += [near(repeated_map, each.keyframes[:1], DRIVE[image])[0] for each in found]
    assert hits[0] >= hits[1] + 5, hits


@pytest.mark.parametrize("noise", [0.0, 5.0])
def test_what_resembles_the_image_most_is_retrieved_whatever_is_remembered(
    repeated_map: VisualMap, noise: float
) -> None:
    """So a camera that was carried off is found as soon as without a memory."""
    finder, alone = finder_of(repeated_map, top_k=6, remembered_k=3, further_k=0), finder_of(repeated_map, top_k=3)
    for image, query in enumerate(appearance(DRIVE, noise)):
        found = finder.find(query, Stopwatch(), image * SECOND // 5).keyframes
        assert len(set(found.tolist())) == 6
        assert set(alone.find(query, Stopwatch()).keyframes[:3].tolist()) <= set(found.tolist())
        if not noise:
            assert near(repeated_map, found, DRIVE[image]).any()


def test_images_without_a_time_are_independent_of_all_others(repeated_map: VisualMap) -> None:
    """As those of ``vizloc localize``, in whatever order; and ``memory: 0`` makes all so."""
    used, never = finder_of(repeated_map), finder_of(repeated_map, memory=0)
    for image, noisy in enumerate(appearance(DRIVE[:10], noise=5.0)):
        used.find(appearance(DRIVE[:1])[0], Stopwatch(), image * SECOND // 5)
        fresh = finder_of(repeated_map).find(noisy, Stopwatch())
        for found in (used.find(noisy, Stopwatch()), never.find(noisy, Stopwatch(), image * SECOND // 5)):
            np.testing.assert_array_equal(found.keyframes, fresh.keyframes)
            np.testing.assert_array_equal(found.similarities, fresh.similarities)


def test_a_camera_that_was_carried_off_is_localized_with_the_first_image(repeated_map: VisualMap) -> None:
    street = RepeatedStreet()
    localizer = HierarchicalLocalizer(repeated_map, pose=PoseOptions(max_rival_ratio=0.5))  # its houses are alike
    for image, way in enumerate((50.25, 50.75, 51.25, 51.75, 30.25)):
        view = street.view(way).keyframe
        features = repeated_map.extractor.describe(view.features)
        outcome, _ = localizer.localize_with_candidates(features, view.camera, Stopwatch(), image * SECOND // 5)
        assert outcome.pose is not None
        assert np.linalg.norm(outcome.pose.map_from_cam.translation - view.map_from_cam.translation) < 0.1
