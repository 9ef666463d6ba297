"""The modified ratio test of the HF-Net paper, against a reference in loops."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vizloc_ros.features.types import dequantize, quantize
from vizloc_ros.localization.place_matching import match_to_place
from vizloc_ros.localization.places import Place


def unit(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    vectors = rng.normal(size=shape)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def place_of(landmarks: np.ndarray, descriptors: np.ndarray) -> Place:
    positions = np.arange(3 * len(landmarks), dtype=np.float32).reshape(-1, 3)
    return Place(positions, landmarks.astype(np.int32), descriptors)


def reference(descriptors: np.ndarray, place: Place, ratio: float) -> dict[int, int]:
    """{query keypoint: row of the place}, by distances."""
    queries, rows = dequantize(descriptors).astype(float), dequantize(place.descriptors).astype(float)
    if len(rows) < 2:
        return {}
    best_of_landmark: dict[int, tuple[float, int, int]] = {}
    for q, query in enumerate(queries):
        distances = np.linalg.norm(rows - query, axis=1)
        first, second = np.argsort(distances, kind="stable")[:2]
        if place.landmark_ids[first] == place.landmark_ids[second] or distances[first] <= ratio * distances[second]:
            candidate = (distances[first], q, int(first))
            landmark = int(place.landmark_ids[first])
            best_of_landmark[landmark] = min(best_of_landmark.get(landmark, candidate), candidate)
    return {q: row for _, q, row in best_of_landmark.values()}


@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(0, 25),
    rows=st.integers(0, 25),
    landmarks=st.integers(1, 12),
    ratio=st.floats(0.5, 1.0),
)
def test_matches_are_those_of_the_reference(seed: int, queries: int, rows: int, landmarks: int, ratio: float) -> None:
    rng = np.random.default_rng(seed)
    looks = unit(rng, (landmarks, 24))
    seen = rng.integers(0, landmarks, rows)
    place = place_of(seen, quantize(unit(rng, (rows, 24)) * 0.4 + looks[seen]))
    descriptors = quantize(unit(rng, (queries, 24)) * 0.6 + looks[rng.integers(0, landmarks, queries)])
    keypoints, matched_rows = match_to_place(descriptors, place, ratio)
    assert keypoints.dtype == matched_rows.dtype == np.int32
    assert dict(zip(keypoints.tolist(), matched_rows.tolist(), strict=True)) == reference(descriptors, place, ratio)
    assert len(set(place.landmark_ids[matched_rows])) == len(matched_rows), "no landmark counts twice"


AXES = quantize(np.eye(6))


def near(axis: int, other: int, angle: float) -> np.ndarray:
    """A descriptor that many degrees from one axis towards another."""
    vector = np.zeros(6)
    vector[axis], vector[other] = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return quantize(vector)


def test_two_observations_of_one_landmark_may_be_equally_near() -> None:
    between = near(0, 1, 45)[None]
    same, different = place_of(np.array([7, 7, 9]), AXES[:3]), place_of(np.array([7, 8, 9]), AXES[:3])
    keypoints, rows = match_to_place(between, same, 0.9)
    assert keypoints.tolist() == [0]
    assert same.landmark_ids[rows].tolist() == [7]
    assert len(match_to_place(between, different, 0.9)[0]) == 0


def test_the_ratio_is_that_of_distances() -> None:
    """30 degrees against 60: 2 sin(15) / 2 sin(30) = 0.518."""
    place = place_of(np.array([1, 2, 3]), AXES[:3])
    query = near(0, 1, 30)[None]
    assert len(match_to_place(query, place, 0.50)[0]) == 0
    assert len(match_to_place(query, place, 0.54)[0]) == 1


def test_of_keypoints_that_match_one_landmark_the_most_similar_stays() -> None:
    place = place_of(np.array([4, 5, 4]), AXES[:3])
    queries = np.stack([near(0, 3, 20), near(2, 3, 5), near(0, 3, 10), near(1, 3, 15)])
    keypoints, rows = match_to_place(queries, place, 0.9)
    assert sorted(zip(keypoints.tolist(), rows.tolist(), strict=True)) == [(1, 2), (3, 1)]


def test_nothing_matches_nothing() -> None:
    place = place_of(np.array([4, 5]), AXES[:2])
    for descriptors, against in ((AXES[:0], place), (AXES, place_of(np.zeros(0), AXES[:0]))):
        keypoints, rows = match_to_place(descriptors, against, 0.9)
        assert keypoints.shape == rows.shape == (0,)
