"""Whitening of global descriptors on a map's images."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vizloc_ros.errors import FeatureError, MapError
from vizloc_ros.features import whitening as whitening_module
from vizloc_ros.features.whitening import SHRINKAGE, Whitening


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def places(count: int, dimension: int, seed: int) -> np.ndarray:
    """Unit vectors that have most in common."""
    rng = np.random.default_rng(seed)
    return unit(5 * unit(rng.normal(size=dimension)) + 0.05 * rng.normal(size=(count, dimension)))


@given(st.integers(2, 40), st.integers(4, 32), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_white_descriptors_are_unit_vectors_that_tell_the_images_apart(count: int, dimension: int, seed: int) -> None:
    descriptors = places(count, dimension, seed)
    whitening = Whitening.learn(list(descriptors))
    white = np.stack([whitening.apply(d) for d in descriptors])
    assert white.shape[1] <= min(count - 1, dimension)
    np.testing.assert_allclose(np.linalg.norm(white, axis=1), 1, atol=1e-5)
    assert (np.argmax(white @ white.T, axis=1) == np.arange(count)).all()


def test_variances_become_nearly_equal() -> None:
    rng = np.random.default_rng(0)
    descriptors = (rng.normal(size=(4000, 8)) * [1, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]).astype(np.float32)
    whitening = Whitening.learn(list(descriptors))
    spread = ((descriptors - whitening.mean) @ whitening.projection).std(axis=0)
    assert spread == pytest.approx(np.ones(8), abs=0.06), "all but what the shrinkage takes"


@pytest.mark.parametrize("count", [12, 13, 60])
def test_images_or_their_covariance_give_the_same(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 images of 12 dimensions are decomposed themselves; of more, the covariance, taken in chunks."""
    monkeypatch.setattr(whitening_module, "_CHUNK", 7)
    descriptors = (np.random.default_rng(6).normal(size=(count, 12)) * np.linspace(1, 0.1, 12)).astype(np.float32)
    whitening = Whitening.learn(list(descriptors))
    mean = descriptors.mean(axis=0, dtype=np.float64)
    _, singular, axes = np.linalg.svd(descriptors - mean, full_matrices=False)
    rank = min(count - 1, 12)
    variance = singular[:rank] ** 2 / (count - 1)
    expected = axes[:rank].T / np.sqrt(variance + SHRINKAGE * variance.sum() / 12)
    np.testing.assert_allclose(whitening.mean, mean, atol=1e-7)
    assert whitening.projection.shape == expected.shape
    signs = np.sign((whitening.projection * expected).sum(axis=0))
    np.testing.assert_allclose(whitening.projection * signs, expected, atol=1e-4 * np.abs(expected).max())


def test_many_images_need_no_more_memory_than_their_covariance() -> None:
    descriptors = list(places(20_000, 64, seed=7))
    tracemalloc.start()
    Whitening.learn(descriptors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000 * 64 * 8 / 3, "a third of the descriptors in 64 bit"


def test_directions_that_no_image_tells_of_play_no_part() -> None:
    descriptors = places(5, 16, seed=1)
    whitening = Whitening.learn(list(descriptors))
    beside = np.linalg.svd(descriptors - descriptors.mean(axis=0))[2][-1].astype(np.float32)
    assert beside @ whitening.projection == pytest.approx(np.zeros(4), abs=1e-3)


def test_round_trip_and_fingerprint(tmp_path: Path) -> None:
    whitening = Whitening.learn(list(places(6, 8, seed=2)))
    whitening.save(tmp_path)
    again = Whitening.load(tmp_path)
    np.testing.assert_array_equal(again.projection, whitening.projection)
    assert again.fingerprint == whitening.fingerprint
    assert Whitening.learn(list(places(6, 8, seed=3))).fingerprint != whitening.fingerprint


def test_what_cannot_be_whitened_is_said(tmp_path: Path) -> None:
    same = places(1, 8, seed=4)[0]
    for images in ([], [same], [same, same]):
        with pytest.raises(FeatureError, match=f"{len(images)} images"):
            Whitening.learn(images)
    whitening = Whitening.learn(list(places(4, 8, seed=5)))
    with pytest.raises(FeatureError, match="8 elements, this has 9"):
        whitening.apply(np.zeros(9, np.float32))
    with pytest.raises(MapError, match=r"whitening_mean\.npy"):
        Whitening.load(tmp_path)
    whitening.save(tmp_path)
    np.save(tmp_path / "whitening_mean.npy", np.zeros(3, np.float32))
    with pytest.raises(FeatureError, match="do not fit together"):
        Whitening.load(tmp_path)
