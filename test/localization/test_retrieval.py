"""The nearest global descriptors, against a full sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vizloc_ros.errors import FeatureError
from vizloc_ros.localization.retrieval import GlobalIndex, averaged_over_neighbors


@given(
    levels=st.lists(st.integers(-3, 3), min_size=1, max_size=300),  # few levels: many ties
    k=st.integers(1, 100),
)
def test_the_best_come_first_and_the_lower_index_among_equals(levels: list[int], k: int) -> None:
    descriptors = np.array([[level, 1.0] for level in levels], np.float32)
    keyframes, similarities = GlobalIndex(descriptors).search(np.array([1.0, 0.0], np.float32), k)
    expected = sorted(range(len(levels)), key=lambda i: (-levels[i], i))[:k]
    assert keyframes.tolist() == expected
    assert similarities.tolist() == [levels[i] for i in expected]


def test_similarity_is_the_cosine_of_unit_vectors() -> None:
    rng = np.random.default_rng(0)
    descriptors = rng.normal(size=(300, 64)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    query = descriptors[123] + 0.02 * rng.normal(size=64).astype(np.float32)
    keyframes, similarities = GlobalIndex(descriptors).search(query, 10)
    cosines = descriptors.astype(float) @ query.astype(float)
    np.testing.assert_array_equal(keyframes, np.argsort(-cosines)[:10])
    assert keyframes[0] == 123
    np.testing.assert_allclose(similarities, cosines[keyframes], atol=1e-5)


def test_the_descriptors_are_copied_once() -> None:
    descriptors = np.eye(3, dtype=np.float32)
    index = GlobalIndex(descriptors)
    descriptors[:] = 0
    assert index.search(np.array([0, 1, 0], np.float32), 1)[0].tolist() == [1]


def unit_rows(*rows: list[float]) -> np.ndarray:
    array = np.array(rows, np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_a_place_of_two_keyframes_beats_a_chance_resemblance() -> None:
    descriptors = unit_rows([1, 0.1, 0], [1, -0.1, 0], [0, 0, 1])
    similarities = np.array([0.5, 0.4, 0.52], np.float32)
    averaged = averaged_over_neighbors(similarities, descriptors, np.arange(3), 1)
    weight = float(descriptors[0] @ descriptors[1]) ** 3
    expected = [(0.5 + 0.4 * weight) / (1 + weight), (0.4 + 0.5 * weight) / (1 + weight), 0.52]
    np.testing.assert_allclose(averaged, expected, atol=1e-6)  # the third has no neighbor: weights of 0
    np.testing.assert_array_equal(
        averaged_over_neighbors(similarities, descriptors, np.array([2, 0]), 0), similarities[[2, 0]]
    )
    some = averaged_over_neighbors(similarities, descriptors, np.array([2, 0]), 1)
    np.testing.assert_allclose(some, averaged[[2, 0]], atol=1e-6)


@given(st.integers(1, 12), st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_averages_stay_between_the_similarities(count: int, neighbors: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    similarities = rng.normal(size=count).astype(np.float32)
    averaged = averaged_over_neighbors(
        similarities, unit_rows(*rng.normal(size=(count, 5)).tolist()), np.arange(count), neighbors
    )
    assert averaged.shape == (count,)
    assert (averaged >= similarities.min() - 1e-5).all()
    assert (averaged <= similarities.max() + 1e-5).all()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (np.ones(4, np.float32), r"has 4 elements, the map's have 3: start the feature node with the map in use"),
        (np.zeros(0, np.float32), r"has 0 elements"),
        (np.ones((3, 1), np.float32), r"the map's have 3"),
        (np.zeros(3, np.float32), r"zero or not finite: the image shows nothing"),
        (np.array([1, np.nan, 0], np.float32), r"zero or not finite"),
        (np.array([1, np.inf, 0], np.float32), r"zero or not finite"),
    ],
)
def test_a_query_of_another_kind_is_refused(query: np.ndarray, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        GlobalIndex(np.eye(3, dtype=np.float32)).search(query, 2)
