"""Covisible clusters against a graph walked in loops."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vizloc_ros.localization import places
from vizloc_ros.localization.places import Observations, Place, PlaceFinder, covisible_clusters, within_reach
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch

Seen = list[set[int]]


def with_observations(point_map: VisualMap, seen: Seen) -> VisualMap:
    """The map with these landmarks in its keyframes."""
    landmarks = [np.array(sorted(s), np.int32) for s in seen]
    offsets = np.cumsum([0, *(len(s) for s in seen)])
    return replace(point_map, observation_offsets=offsets, observation_landmarks=np.concatenate(landmarks))


def reference(seen: Seen, keyframes: list[int]) -> list[list[int]]:
    """Walks from keyframe to keyframe as long as they share a landmark."""
    left, clusters = list(keyframes), []
    while left:
        cluster, border = [], [left.pop(0)]
        while border:
            current = border.pop()
            cluster.append(current)
            neighbors = [k for k in left if seen[k] & seen[current]]
            border += neighbors
            left = [k for k in left if k not in neighbors]
        clusters.append(sorted(cluster, key=keyframes.index))
    return sorted(clusters, key=lambda c: (-len(c), keyframes.index(c[0])))


@st.composite
def maps_and_retrievals(draw: st.DrawFn) -> tuple[Seen, list[int]]:
    count = draw(st.integers(1, 12))
    seen = draw(st.lists(st.sets(st.integers(0, 25), max_size=3), min_size=count, max_size=count))
    keyframes = draw(st.permutations(range(count)))
    return seen, keyframes[: draw(st.integers(1, count))]


@given(case=maps_and_retrievals())
def test_clusters_are_those_of_the_reference(point_map: VisualMap, case: tuple[Seen, list[int]]) -> None:
    """Also where a keyframe sees nothing at all: it is a cluster of its own."""
    seen, keyframes = case
    clusters = covisible_clusters(with_observations(point_map, seen), np.array(keyframes))
    assert [cluster.tolist() for cluster in clusters] == reference(seen, keyframes)


def test_the_largest_cluster_is_first_and_then_the_better_retrieved(point_map: VisualMap) -> None:
    visual_map = with_observations(point_map, [{1}, {2, 3}, {3}, {4}, {4, 5}, {5}])
    clusters = covisible_clusters(visual_map, np.array([0, 2, 5, 1, 3, 4]))
    assert [cluster.tolist() for cluster in clusters] == [[5, 3, 4], [2, 1], [0]]
    clusters = covisible_clusters(visual_map, np.array([0, 5, 2]))
    assert [cluster.tolist() for cluster in clusters] == [[0], [5], [2]]


def test_a_cluster_is_split_where_its_keyframes_are_too_far_apart() -> None:
    keyframes, positions = (
        np.array([7, 3, 9, 4, 1]),
        np.array([[0.0, 0, 0], [50, 0, 0], [8, 6, 0], [61, 0, 0], [53, 0, 0]]),
    )
    parts = within_reach(keyframes, positions, reach=10.0)
    assert [part.tolist() for part in parts] == [[7, 9], [3, 1], [4]]
    assert [part.tolist() for part in within_reach(keyframes, positions, reach=100.0)] == [keyframes.tolist()]


def test_places_that_landmarks_link_over_many_depths_are_several(
    point_map: VisualMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal houses are matched with each other, so that keyframes at both share landmarks."""
    monkeypatch.setattr(places, "depth_of", lambda visual_map: 20.0)
    descriptor = point_map.global_descriptors[0]
    assert len(PlaceFinder(point_map).find(descriptor, Stopwatch()).places) == 1
    poses = point_map.keyframe_poses.copy()
    poses[::2, 0] += 500.0
    found = PlaceFinder(replace(point_map, keyframe_poses=poses)).find(descriptor, Stopwatch())
    sides = [found.keyframes[found.keyframes % 2 == side] for side in (0, 1)]
    expected = sorted((Place.of_keyframes(point_map, side, 2) for side in sides), key=len)
    assert sorted(len(place) for place in found.places) == [len(place) for place in expected]


def test_a_place_is_all_that_its_keyframes_see(point_map: VisualMap) -> None:
    keyframes = np.array([7, 2])
    place = Place.of_keyframes(point_map, keyframes, per_landmark=1000)
    expected = [
        (int(landmark), descriptor.tobytes())
        for k in keyframes
        for landmark, descriptor in zip(
            point_map.landmarks_of(k), point_map.observation_descriptors[point_map.observations_of(k)], strict=True
        )
    ]
    assert [(int(n), d.tobytes()) for n, d in zip(place.landmark_ids, place.descriptors, strict=True)] == expected
    np.testing.assert_array_equal(place.positions, point_map.landmark_positions[place.landmark_ids])


def test_a_place_keeps_the_first_observations_of_every_landmark(point_map: VisualMap) -> None:
    keyframes = np.array([5, 2, 7])
    whole = Place.of_keyframes(point_map, keyframes, per_landmark=1000)
    for count in (1, 2):
        kept, seen = [], Counter()
        for row, landmark in enumerate(whole.landmark_ids.tolist()):
            seen[landmark] += 1
            if seen[landmark] <= count:
                kept.append(row)
        place = Place.of_keyframes(point_map, keyframes, per_landmark=count)
        np.testing.assert_array_equal(place.landmark_ids, whole.landmark_ids[kept])
        np.testing.assert_array_equal(place.positions, whole.positions[kept])
        np.testing.assert_array_equal(place.descriptors, whole.descriptors[kept])
    assert max(seen.values()) == 3


def test_the_place_of_some_keyframes_is_that_of_them_alone(point_map: VisualMap) -> None:
    keyframes = np.array([5, 2, 7, 3])
    observations = Observations.of(point_map, keyframes)
    for part in (keyframes, keyframes[[0, 2]], keyframes[1:], keyframes[:1]):
        place, alone = observations.place(part, 2), Place.of_keyframes(point_map, part, 2)
        np.testing.assert_array_equal(place.landmark_ids, alone.landmark_ids)
        np.testing.assert_array_equal(place.positions, alone.positions)
        np.testing.assert_array_equal(place.descriptors, alone.descriptors)


def test_parts_of_a_cluster_end_also_where_a_distance_is_no_number() -> None:
    keyframes, positions = np.array([5, 3, 4]), np.array([[0.0, 0, 0], [1, 0, 0], [9, 0, 0]])
    assert [part.tolist() for part in within_reach(keyframes, positions, 2.0)] == [[5, 3], [4]]
    assert [part.tolist() for part in within_reach(keyframes, positions, np.nan)] == [[5], [3], [4]]
