"""Feature levels, sampling between their pixels, quantized reference features, and sizes of images."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pixloc_scene import bilinear, smooth_level

from vizloc_ros.errors import FeatureError, ImageError
from vizloc_ros.pixloc.image_fit import fitted_size, scale_to_multiples
from vizloc_ros.pixloc.pyramid import FeatureLevel, level_of_image
from vizloc_ros.pixloc.references import (
    LevelReferences,
    QuantizedLevel,
    QuantizedReferences,
    References,
    sample_references,
    unit,
)

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def test_a_level_covers_the_image_from_edge_to_edge() -> None:
    level = level_of_image(np.ones((6, 10, 3), np.float32), np.ones((6, 10), np.float32), (40, 30))
    assert level.shape == (6, 10)
    corners = np.array([[-0.5, -0.5], [39.5, 29.5], [19.5, 14.5]])
    assert_allclose(level.positions(corners), [[-0.5, -0.5], [9.5, 5.5], [4.5, 2.5]])
    assert_allclose(np.linalg.norm(level.features, axis=2), 1, atol=1e-6)


def test_features_of_zero_stay_finite() -> None:
    level = level_of_image(np.zeros((3, 3, 4), np.float32), np.ones((3, 3), np.float32), (9, 9))
    assert_array_equal(level.features, 0)


@pytest.mark.parametrize(
    ("features", "confidences"), [((4, 4), (4, 4)), ((4, 4, 3), (4, 5)), ((1, 4, 3), (1, 4)), ((4, 1, 3), (4, 1))]
)
def test_levels_that_are_refused(features: tuple[int, ...], confidences: tuple[int, ...]) -> None:
    with pytest.raises(FeatureError, match="do not make a level: H x W x C"):
        FeatureLevel(np.zeros(features, np.float32), np.zeros(confidences, np.float32), np.ones(2))


@quick
@given(seeds)
def test_linear_features_are_sampled_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    slopes, offsets = rng.normal(size=(2, 5)), rng.normal(size=5)
    places = np.stack(np.meshgrid(np.arange(12), np.arange(8)), axis=2)
    features = (places @ slopes + offsets).astype(np.float32)
    level = level_of_image(features, (places[:, :, 0] / 11).astype(np.float32), (48, 24), normalize=False)
    pixels = rng.uniform((1.5, 1), (45.5, 22), (30, 2))
    sampled = sample_references(level, pixels, normalize=False)
    assert_allclose(sampled.features, level.positions(pixels) @ slopes + offsets, atol=2e-5)
    assert_allclose(sampled.confidences, level.positions(pixels)[:, 0] / 11, atol=1e-6)


def test_samples_between_pixels_are_bilinear() -> None:
    level, pixels = smooth_level((80, 60), 4, 0), np.random.default_rng(0).uniform((2, 2), (77, 57), (50, 2))
    sampled = sample_references(level, pixels, normalize=False)
    assert_allclose(sampled.features, bilinear(level.features, *level.positions(pixels).T)[0], atol=1e-6)
    of_unit_length = sample_references(level, pixels, normalize=True)
    assert_allclose(of_unit_length.features, unit(sampled.features), atol=1e-6)
    assert_allclose(np.linalg.norm(of_unit_length.features, axis=1), 1, atol=1e-6)
    assert_array_equal(of_unit_length.confidences, sampled.confidences)


def test_samples_outside_are_those_at_the_border() -> None:
    level = smooth_level((80, 60), 4, 1)
    sampled = sample_references(level, np.array([[-50.0, -50], [500, 500], [-3, 500], [79, 59]]), normalize=False)
    assert_allclose(sampled.features, level.features[[0, -1, -1, -1], [0, -1, 0, -1]], atol=1e-6)


@quick
@given(seeds, st.booleans(), st.floats(1e-5, 2))
def test_dequantized_features_are_exact_to_a_hundredth(seed: int, unit_features: bool, size: float) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(20, 16)).astype(np.float32)
    features = unit(features) if unit_features else np.float32(size) * features.clip(-1, 1)
    level = LevelReferences(features, rng.uniform(size=20).astype(np.float32))
    stored = QuantizedLevel.of(level)
    assert (stored.features.dtype, stored.scales.dtype, stored.confidences.dtype) == (np.int8, np.float16, np.float16)
    restored = stored.dequantized(unit_features=unit_features)
    largest = np.abs(features).max(axis=1, keepdims=True)
    assert (np.abs(restored.features - features) <= 0.01 * np.maximum(largest, 0.01)).all()
    assert_allclose(restored.confidences, level.confidences, atol=1e-3)
    if unit_features:
        assert_allclose(np.linalg.norm(restored.features, axis=1), 1, atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(3, 8), (0, 8), (3, 0)])
def test_features_of_zero_are_quantized(shape: tuple[int, int]) -> None:
    """As the intensities of a black patch are."""
    level = LevelReferences(np.zeros(shape, np.float32), np.ones(shape[0], np.float32))
    for unit_features in (True, False):
        restored = QuantizedLevel.of(level).dequantized(unit_features=unit_features)
        assert_array_equal(restored.features, level.features)


def test_some_landmarks_are_taken_and_all_are_dequantized() -> None:
    rng = np.random.default_rng(0)
    levels = tuple(
        LevelReferences(unit(rng.normal(size=(6, c)).astype(np.float32)), np.full(6, 0.5, np.float32)) for c in (4, 8)
    )
    references = References(rng.normal(size=(6, 3)), np.arange(10, 16), levels)
    some = references.take(np.array([4, 1]))
    assert len(some) == 2
    assert some.landmark_ids.tolist() == [14, 11]
    assert_array_equal(some.levels[1].features, levels[1].features[[4, 1]])
    stored = QuantizedReferences(references.positions, references.landmark_ids, tuple(map(QuantizedLevel.of, levels)))
    restored = stored.dequantized()
    assert len(stored) == len(restored) == 6
    assert_array_equal(restored.positions, references.positions)
    assert_allclose(restored.levels[0].features, levels[0].features, atol=0.01)


def test_reference_features_of_other_lengths_are_refused() -> None:
    level = LevelReferences(np.zeros((3, 4), np.float32), np.zeros(3, np.float32))
    with pytest.raises(FeatureError, match="3 reference features and 3 confidences for 2 landmarks"):
        References(np.zeros((2, 3)), np.arange(2), (level,))


@quick
@given(st.tuples(st.integers(64, 4000), st.integers(64, 4000)), st.integers(64, 2000))
def test_fitted_sizes_are_multiples_of_32_and_not_too_long(size: tuple[int, int], long_side: int) -> None:
    longest = long_side // 32 * 32
    exact = np.array(size) * min(1, longest / max(size), longest / np.sqrt(2 * np.prod(size, dtype=float)))
    try:
        fitted = fitted_size(size, long_side)
    except ImageError:
        assert exact.min() <= 48
        return
    assert all(side % 32 == 0 and side >= 64 for side in fitted)
    assert max(fitted) <= long_side
    assert (np.abs(fitted - exact) <= 16).all()


@pytest.mark.parametrize(
    ("size", "long_side", "expected"),
    [
        ((1241, 376), 640, (640, 192)),
        ((640, 480), 640, (512, 384)),
        ((320, 240), 640, (320, 256)),
        ((480, 640), 320, (192, 256)),
        ((1920, 1080), 640, (608, 352)),
    ],
)
def test_fitted_sizes(size: tuple[int, int], long_side: int, expected: tuple[int, int]) -> None:
    assert fitted_size(size, long_side) == expected


@pytest.mark.parametrize(
    ("size", "long_side"), [((40, 300), 640), ((2000, 70), 640), ((20, 20), 640), ((900, 900), 32)]
)
def test_images_that_are_too_small_or_too_long_are_refused(size: tuple[int, int], long_side: int) -> None:
    with pytest.raises(ImageError, match=f"an image of {size[0]}x{size[1]} is too small, or too long.* side of"):
        fitted_size(size, long_side)


def test_images_are_fitted() -> None:
    image = np.random.default_rng(0).integers(0, 255, (96, 160), np.uint8)
    assert scale_to_multiples(image, 640) is image
    smooth = cv2.GaussianBlur(np.kron(image, np.ones((4, 4), np.uint8)), (0, 0), 8)
    for long_side, shape in ((320, (160, 288)), (640, (352, 576))):
        fitted = scale_to_multiples(smooth, long_side)
        assert fitted.shape == shape
        enlarged = cv2.resize(fitted, smooth.shape[::-1], interpolation=cv2.INTER_LINEAR)
        assert np.abs(enlarged.astype(int) - smooth).mean() < 2
