"""Retrieved keyframes that are spread out: what is taken, what is left, what fills up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from point_street import PointStreet

from vizloc_ros.localization.localization_options import RetrievalOptions
from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.localization.retrieval import SPACING_PER_DEPTH, averaged_over_neighbors, depth_of, suppress_neighbors
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch


@st.composite
def keyframes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Up to 40 positions [m] on a grid of half metres, and directions: many are near each other."""
    count = draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    angles = np.radians(rng.choice([0, 20, 60, 180], count))
    directions = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(count)])
    return rng.integers(0, 12, (count, 3)) * [0.5, 0.5, 0], directions


def near(positions: np.ndarray, directions: np.ndarray, spacing: float) -> np.ndarray:
    """(N, N): which are nearer than the spacing and look the same way but for 45 degrees."""
    apart = np.linalg.norm(positions[:, None] - positions, axis=2)
    angles = np.degrees(np.arccos(np.clip(directions @ directions.T, -1, 1)))
    return (apart < spacing) & (angles < 45)


@given(case=keyframes(), spacing=st.sampled_from([0.4, 1.1, 2.6, 100.0]), count=st.integers(1, 20))
def test_each_is_taken_unless_a_better_one_is_near_and_the_best_fill_up(
    case: tuple[np.ndarray, np.ndarray], spacing: float, count: int
) -> None:
    chosen = suppress_neighbors(*case, spacing, count)
    total = len(case[0])
    assert chosen.dtype == np.int64
    assert (np.diff(chosen) > 0).all()
    assert len(chosen) == min(count, total)
    assert chosen[:1].tolist() == [0][:total]
    close = near(*case, spacing)
    apart: list[int] = []
    for i in range(total):
        if not close[i, apart].any():
            apart.append(i)
    if len(apart) >= count:
        assert not np.triu(close[np.ix_(chosen, chosen)], k=1).any()
        np.testing.assert_array_equal(chosen, apart[:count])
    else:
        assert set(apart) <= set(chosen)
        others = [i for i in range(total) if i not in apart]
        assert sorted(set(chosen) - set(apart)) == others[: count - len(apart)]


@given(case=keyframes(), count=st.integers(1, 20))
def test_without_spacing_the_best_are_taken(case: tuple[np.ndarray, np.ndarray], count: int) -> None:
    assert suppress_neighbors(*case, 0.0, count).tolist() == list(range(min(count, len(case[0]))))


def test_cameras_at_one_spot_that_look_elsewhere_are_both_taken() -> None:
    positions = np.array([[0, 0, 0], [0.1, 0, 0], [0.1, 0, 0], [5, 0, 0]], float)
    directions = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]], float)
    assert suppress_neighbors(positions, directions, 2, 3).tolist() == [0, 2, 3]


@pytest.fixture(scope="module")
def descriptor(point_map: VisualMap) -> np.ndarray:
    """Of a view amid a map that has a keyframe every two metres."""
    return point_map.extractor.describe(PointStreet(seed=1).view(9.3).keyframe.features).global_descriptor


def retrieved(point_map: VisualMap, descriptor: np.ndarray, **options: float) -> tuple[np.ndarray, np.ndarray]:
    found = PlaceFinder(point_map, RetrievalOptions(**{"neighbors": 0, **options})).find(descriptor, Stopwatch())
    return found.keyframes, found.similarities


def test_retrieved_keyframes_are_apart_and_the_best_first(point_map: VisualMap, descriptor: np.ndarray) -> None:
    cosines = np.asarray(point_map.global_descriptors) @ descriptor
    best = np.argsort(-cosines, kind="stable")
    for top_k in (1, 4, 12):
        found, _ = retrieved(point_map, descriptor, top_k=top_k, spacing=0)
        np.testing.assert_array_equal(found, best[:top_k])
    found, similarities = retrieved(point_map, descriptor, top_k=3, spacing=5)
    where = np.asarray(point_map.keyframe_poses)[found, :3]
    assert len(found) == 3
    assert found[0] == best[0]
    assert np.linalg.norm(where[:, None] - where, axis=2)[np.triu_indices(3, k=1)].min() >= 5
    np.testing.assert_allclose(similarities, cosines[found], atol=1e-6)
    assert (np.diff(similarities) <= 0).all()
    assert found.tolist() != best[:3].tolist(), "the three best are nearer to each other"


def test_the_retrieved_keyframes_are_ordered_by_the_averages_with_their_neighbors(
    point_map: VisualMap, descriptor: np.ndarray
) -> None:
    plain, _ = retrieved(point_map, descriptor, top_k=4, spacing=0)
    ordered, similarities = retrieved(point_map, descriptor, top_k=4, spacing=0, neighbors=3)
    assert set(ordered.tolist()) == set(plain.tolist())
    descriptors = np.asarray(point_map.global_descriptors)
    averaged = averaged_over_neighbors(descriptors @ descriptor, descriptors, np.arange(len(descriptors)), 3)
    np.testing.assert_allclose(similarities, averaged[ordered], atol=1e-5)
    assert (np.diff(similarities) <= 0).all()


def test_the_spacing_follows_the_scale_of_the_map(point_map: VisualMap) -> None:
    spacing = SPACING_PER_DEPTH * depth_of(point_map)
    depths = [
        np.linalg.norm(point_map.landmark_positions[point_map.landmarks_of(k)] - pose[:3], axis=1)
        for k, pose in enumerate(point_map.keyframe_poses)
    ]
    assert spacing == pytest.approx(np.median(np.concatenate(depths)) / 7)
    found = PlaceFinder(point_map)
    assert found.options.spacing < 0
    descriptor = point_map.global_descriptors[0]
    wanted, _ = retrieved(point_map, descriptor, top_k=3, spacing=spacing)
    assert retrieved(point_map, descriptor, top_k=3)[0].tolist() == wanted.tolist()


@pytest.mark.parametrize("spacing", [0, 5])
def test_without_a_similar_keyframe_further_ones_follow_and_their_places_come_last(
    point_map: VisualMap, descriptor: np.ndarray, spacing: float
) -> None:
    best = float((np.asarray(point_map.global_descriptors) @ descriptor).max())
    few = {"top_k": 2, "further_k": 3, "spacing": spacing, "neighbors": 0}
    confident = RetrievalOptions(**few, confident_similarity=best - 1e-4)
    usual = PlaceFinder(point_map, confident).find(descriptor, Stopwatch())
    assert len(usual.keyframes) == 2
    more = PlaceFinder(point_map, RetrievalOptions(**few, confident_similarity=best + 1e-4)).find(
        descriptor, Stopwatch()
    )
    assert len(set(more.keyframes.tolist())) == len(more.similarities) == 5
    np.testing.assert_array_equal(more.keyframes[:2], usual.keyframes)
    assert (np.diff(more.similarities[2:]) <= 0).all()
    assert len(more.places) > len(usual.places)
    for place, same in zip(more.places, usual.places, strict=False):
        np.testing.assert_array_equal(place.landmark_ids, same.landmark_ids)
    seen = set(np.concatenate([point_map.landmarks_of(int(k)) for k in more.keyframes]).tolist())
    assert set(np.concatenate([place.landmark_ids for place in more.places]).tolist()) == seen
    off = PlaceFinder(point_map, RetrievalOptions(top_k=2, further_k=0, spacing=spacing, confident_similarity=1.0))
    assert off.find(descriptor, Stopwatch()).keyframes.tolist() == usual.keyframes.tolist()
