"""RootSIFT keypoints and descriptors, VLAD global descriptors, and the extractor made of both."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vizloc_ros.errors import ConfigError, FeatureError, MapError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.rootsift import RootSift, RootSiftVlad
from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features, dequantize, quantize
from vizloc_ros.features.vlad import Vlad

BLANK = np.full((120, 160), 128, np.uint8)


def blobs(centres: np.ndarray, sigma: float, size: tuple[int, int] = (200, 160)) -> np.ndarray:
    """Bright Gaussian blobs at (N, 2) pixels of a gray image of (width, height)."""
    y, x = np.mgrid[: size[1], : size[0]]
    squared = (x[..., None] - centres[:, 0]) ** 2 + (y[..., None] - centres[:, 1]) ** 2
    return np.round(40 + 180 * np.exp(-squared / (2 * sigma**2)).sum(axis=-1)).clip(0, 255).astype(np.uint8)


def texture(seed: int, size: tuple[int, int] = (240, 160)) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(size[1], size[0]))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return (128 + 40 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


def local_features(seed: int, count: int = 80, dimension: int = 16) -> Features:
    """Descriptors around a few prototypes, of which every image has its own mixture."""
    rng = np.random.default_rng(seed)
    prototypes = np.random.default_rng(99).normal(size=(12, dimension))
    chosen = rng.choice(12, count, p=rng.dirichlet(np.ones(12)))
    vectors = prototypes[chosen] + 0.3 * rng.normal(size=(count, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pixels = rng.uniform(0, 100, (count, 2)).astype(np.float32)
    return Features(pixels, np.ones(count, np.float32), quantize(vectors), NO_GLOBAL_DESCRIPTOR, (100, 100))


@pytest.mark.parametrize("sigma", [2.0, 3.0, 6.0])
def test_a_keypoint_is_where_the_blob_is(sigma: float) -> None:
    centres = np.array([[60.0, 50.0], [130.25, 45.5], [61.7, 110.4], [128.9, 112.15]])
    found = RootSift(contrast_threshold=0.01).extract(blobs(centres, sigma)).keypoints
    errors = np.linalg.norm(found[:, None] - centres, axis=2).min(axis=0)
    assert errors.max() < 0.1, "pixel (0, 0) must be the centre of the top-left pixel"


def test_the_keypoint_convention_does_not_depend_on_the_direction() -> None:
    """A mirrored image has its keypoints at width - 1 - x: true only if (0, 0) is the centre of a pixel."""
    image = texture(3)
    there, mirrored = (RootSift().extract(np.ascontiguousarray(i)).keypoints for i in (image, image[:, ::-1]))
    mirrored = np.column_stack([image.shape[1] - 1 - mirrored[:, 0], mirrored[:, 1]])
    offsets = (there[:, None] - mirrored).reshape(-1, 2)
    close = offsets[np.linalg.norm(offsets, axis=1) < 1.0]
    assert len(close) > 0.8 * len(there)
    assert np.abs(np.median(close, axis=0)).max() < 0.02


def test_rootsift_is_the_square_root_of_l1_normalised_sift() -> None:
    image = texture(1)
    features = RootSift(max_keypoints=100_000).extract(image)
    _, sift = cv2.SIFT_create(contrastThreshold=0.02, enable_precise_upscale=True).detectAndCompute(image, None)
    expected = np.sqrt(sift / sift.sum(axis=1, keepdims=True))
    assert np.linalg.norm(expected, axis=1) == pytest.approx(1.0, abs=1e-5)
    actual = features.descriptors / 127
    assert len(actual) == len(expected) > 100
    partner = (actual @ expected.T).argmax(axis=1)  # the order is our own
    assert len(set(partner)) == len(expected)
    assert np.abs(actual - expected[partner]).max() <= 0.5 / 127 + 1e-6


def test_rootsift_gives_the_strongest_first_and_no_more_than_asked() -> None:
    everything, few = (RootSift(max_keypoints=n).extract(texture(1)) for n in (100_000, 50))
    assert len(everything) > 60 > len(few) == 50
    assert (np.diff(few.scores) <= 0).all()
    np.testing.assert_allclose(few.scores, everything.scores[:50], rtol=1e-6)
    assert few.keypoints.dtype == few.scores.dtype == np.float32
    assert few.image_size == (240, 160)
    assert few.global_descriptor.size == 0


def test_rootsift_is_the_same_in_every_thread() -> None:
    images, rootsift = [texture(seed) for seed in range(6)], RootSift()
    alone = [rootsift.extract(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(rootsift.extract, images))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
        np.testing.assert_array_equal(one.descriptors, other.descriptors)


def test_rootsift_takes_gray_and_colour() -> None:
    gray = texture(2)
    one, other = RootSift().extract(gray), RootSift().extract(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR))
    np.testing.assert_array_equal(one.keypoints, other.keypoints)


def test_an_image_that_shows_nothing_has_no_features() -> None:
    features = RootSift().extract(BLANK)
    assert len(features) == 0
    assert features.keypoints.shape == (0, 2)
    assert features.descriptors.shape == (0, 128)
    assert features.descriptors.dtype == np.int8


def test_quantization_loses_half_a_step_at_most() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.abs(quantize(vectors) / 127 - vectors).max() <= 0.5 / 127 + 1e-7
    back = dequantize(quantize(vectors))
    assert np.linalg.norm(back, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert (back * vectors).sum(axis=1).min() > 0.999
    extremes = quantize(np.array([[1.0, -1.0, 1.01, -3.0]], np.float32))
    np.testing.assert_array_equal(extremes, [[127, -127, 127, -127]])
    np.testing.assert_array_equal(dequantize(np.zeros((1, 4), np.int8)), np.zeros((1, 4)))


def test_features_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(FeatureError, match=r"keypoints \(3, 2\), scores \(2,\)"):
        Features(
            np.zeros((3, 2), np.float32),
            np.zeros(2, np.float32),
            np.zeros((3, 8), np.int8),
            NO_GLOBAL_DESCRIPTOR,
            (8, 8),
        )


def brute_force_vlad(descriptors: np.ndarray, vlad: Vlad) -> np.ndarray:
    """The definition, in loops."""
    vectors = descriptors.astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    blocks = np.zeros(vlad.words.shape)
    for vector in vectors:
        word = int(np.argmin([np.sum((vector - w) ** 2) for w in vlad.words]))
        blocks[word] += vector - vlad.words[word]
    for block in blocks:
        if np.linalg.norm(block) > 0:
            block /= np.linalg.norm(block)
    whole = blocks.ravel() / np.linalg.norm(blocks)
    projected = (whole - vlad.mean) @ vlad.projection
    return projected / np.linalg.norm(projected)


def test_vlad_is_what_its_definition_says() -> None:
    vlad = Vlad.learn([local_features(seed) for seed in range(12)], words=8, dimension=6, seed=0)
    assert vlad.words.shape == (8, 16)
    for seed in (0, 50):
        features = local_features(seed)
        described = vlad.describe(features.descriptors)
        assert described.dtype == np.float32
        np.testing.assert_allclose(described, brute_force_vlad(features.descriptors, vlad), atol=1e-4)


def test_words_of_any_length_are_compared_by_distance() -> None:
    rng = np.random.default_rng(0)
    words = (rng.normal(size=(8, 16)) * rng.uniform(0.02, 0.4, (8, 1))).astype(np.float32)
    vlad = Vlad(words, np.zeros(128, np.float32), np.eye(128, 5, dtype=np.float32))
    features = local_features(0)
    np.testing.assert_allclose(
        vlad.describe(features.descriptors), brute_force_vlad(features.descriptors, vlad), atol=1e-4
    )


def test_vlad_finds_the_same_place_among_others() -> None:
    images = [local_features(seed, count=300) for seed in range(20)]
    vlad = Vlad.learn(images, words=8, dimension=12, seed=0)
    whole = np.array([vlad.describe(i.descriptors) for i in images])
    rng = np.random.default_rng(0)
    for index, image in enumerate(images):
        part = image.descriptors[rng.random(len(image)) < 0.6]
        assert (whole @ vlad.describe(part)).argmax() == index


def test_vlad_depends_on_the_seed_and_nothing_else() -> None:
    images = [local_features(seed) for seed in range(6)]
    one, again, other = (Vlad.learn(images, words=8, dimension=4, seed=seed) for seed in (0, 0, 1))
    assert one.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize("array", ["words", "mean", "projection"])
def test_the_fingerprint_changes_with_every_array(array: str) -> None:
    vlad = Vlad.learn([local_features(seed) for seed in range(6)], words=8, dimension=4, seed=0)
    changed = getattr(vlad, array).copy()
    changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(2))
    assert replace(vlad, **{array: changed}).fingerprint != vlad.fingerprint


def test_vlad_has_no_more_dimensions_than_the_images_can_tell() -> None:
    vlad = Vlad.learn([local_features(seed) for seed in range(5)], words=8, dimension=1000, seed=0)
    assert vlad.dimension == 3


def test_vlad_needs_images_that_show_something() -> None:
    images = [local_features(0), local_features(1, count=7), local_features(2, count=3)]
    with pytest.raises(FeatureError, match="only 1 of 3 images have the 8 keypoints"):
        Vlad.learn(images, words=8, dimension=4, seed=0)


def test_vlad_refuses_descriptors_of_another_kind() -> None:
    vlad = Vlad.learn([local_features(seed) for seed in range(4)], words=8, dimension=4, seed=0)
    with pytest.raises(FeatureError, match="descriptors of 16 elements, these have 128"):
        vlad.describe(np.zeros((5, 128), np.int8))
    with pytest.raises(FeatureError, match="do not fit together"):
        replace(vlad, mean=vlad.mean[:-1])


@pytest.fixture(scope="module")
def learned() -> RootSiftVlad:
    extractor = RootSiftVlad(RootSift(max_keypoints=300), words=8, dimension=16)
    return extractor.learn([extractor.extract(texture(seed)) for seed in range(8)], seed=0)


def test_an_extractor_comes_back_from_its_files(learned: RootSiftVlad, tmp_path: Path) -> None:
    learned.save(tmp_path)
    opened = open_extractor(learned.name, learned.settings, tmp_path)
    assert opened.feature_id == learned.feature_id
    assert opened.settings == learned.settings
    one, other = opened.extract(texture(50)), learned.extract(texture(50))
    np.testing.assert_array_equal(one.global_descriptor, other.global_descriptor)
    assert np.linalg.norm(one.global_descriptor) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(one.descriptors, other.descriptors)
    for file in tmp_path.iterdir():
        np.load(file, allow_pickle=False)


def test_the_feature_id_names_what_the_numbers_depend_on(learned: RootSiftVlad) -> None:
    unlearned = RootSiftVlad()
    other = replace(learned, rootsift=replace(learned.rootsift, contrast_threshold=0.03))
    assert len({extractor.feature_id for extractor in (learned, unlearned, other)}) == 3
    assert unlearned.feature_id == "rootsift-2048-0.02+vlad-unlearned"
    assert learned.feature_id.startswith("rootsift-300-0.02+vlad-8-")


def test_without_a_vocabulary_nothing_is_described(tmp_path: Path) -> None:
    extractor = open_extractor("rootsift")
    features = extractor.extract(texture(0))
    assert len(features) > 50
    assert features.global_descriptor.size == 0
    with pytest.raises(FeatureError, match="vocabulary is learned when a map is built"):
        extractor.describe(features)
    with pytest.raises(FeatureError, match="learn first"):
        extractor.save(tmp_path)


def test_a_damaged_vocabulary_is_named(learned: RootSiftVlad, tmp_path: Path) -> None:
    learned.save(tmp_path)
    file = tmp_path / "vlad_mean.npy"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(MapError, match=r"vlad_mean\.npy: cannot be read"):
        open_extractor("rootsift", learned.settings, tmp_path)
    file.unlink()
    with pytest.raises(MapError, match=r"vlad_mean\.npy: cannot be read"):
        open_extractor("rootsift", learned.settings, tmp_path)


def test_an_unknown_extractor_or_setting_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no feature extractor 'orb'; there is: .*rootsift"):
        open_extractor("orb")
    for settings in ({"sigma": 1.6}, {"max_keypoints": 0}, {"words": "many"}):
        with pytest.raises(ConfigError, match=f"settings of rootsift: {next(iter(settings))}: "):
            open_extractor("rootsift", settings)
    with pytest.raises(ConfigError, match=r"sigma: there is no such option \(there is words, dimension"):
        open_extractor("rootsift", {"sigma": 1.6})


def test_images_of_one_place_look_alike(learned: RootSiftVlad) -> None:
    views = {seed: learned.extract(texture(seed)).global_descriptor for seed in range(8)}
    brighter = learned.extract((texture(3) * 0.7 + 20).astype(np.uint8)).global_descriptor
    assert max(views, key=lambda seed: views[seed] @ brighter) == 3
