"""Degradations: exact for a seed, worse with the level, and of the kind they are named after."""

from zlib import crc32

import cv2
import numpy as np
import pytest

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.corruptions import KINDS, LEVELS, OCCLUDED_RATIO, Degradation, degrade_records
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import ConfigError, ImageError
from vizloc_ros.geometry.camera import PinholeCamera


@pytest.fixture(scope="module")
def image() -> UInt8:
    """A smooth random texture of the full range, (96, 160)."""
    coarse = np.random.RandomState(3).randint(0, 256, (12, 20)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (160, 96), interpolation=cv2.INTER_NEAREST), np.uint8)


def distance(a: UInt8, b: UInt8) -> float:
    return float(np.abs(a.astype(np.float64) - b).mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_a_higher_level_is_worse(image: UInt8, kind: str, seed: int) -> None:
    distances = [distance(image, Degradation(kind, level).apply(image, seed)) for level in LEVELS]
    assert distances[0] > 0
    assert distances == sorted(distances)
    assert distances[-1] > 1.3 * distances[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_seed_gives_one_image_and_the_input_stays(image: UInt8, kind: str, channels: int) -> None:
    original = image if channels == 1 else np.dstack([image, image[::-1], image[:, ::-1]])
    copy = original.copy()
    degradation = Degradation.parse(f"{kind}:3")
    first, second = degradation.apply(original, 5), degradation.apply(original, 5)
    others = [degradation.apply(original, seed) for seed in range(6, 12)]
    assert first.shape == original.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(original, copy)
    assert any(distance(first, other) > 0 for other in others)


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("night:2", 1242246045),
        ("night:5", 747358017),
        ("blur:2", 3713863897),
        ("blur:5", 3008962040),
        ("noise:2", 2190959386),
        ("noise:5", 244756734),
        ("occlusion:2", 1979559678),
        ("occlusion:5", 2825974573),
        ("exposure:2", 1015422573),
        ("exposure:5", 605893869),
    ],
)
def test_the_bytes_are_the_same_on_every_machine(text: str, digest: int) -> None:
    x, y = np.meshgrid(np.arange(160), np.arange(96))
    image = ((x * x // 7 + 5 * y + (x // 16 + y // 16) % 2 * 90) % 256).astype(np.uint8)
    assert crc32(Degradation.parse(text).apply(image, 42).tobytes()) == digest


def test_night_is_dark_with_lamps(image: UInt8) -> None:
    night = Degradation("night", 4).apply(image, 0)
    assert np.median(night) < 0.25 * np.median(image)
    assert night.max() > 80


def test_blur_keeps_the_mean_and_takes_the_gradients(image: UInt8) -> None:
    blurred = Degradation("blur", 5).apply(image, 1)
    assert abs(float(blurred.mean()) - float(image.mean())) < 4
    sharp, soft = (np.square(np.diff(i.astype(np.float64), axis=1)).mean() for i in (image, blurred))
    assert soft < 0.6 * sharp
    flat = np.full_like(image, 100)
    np.testing.assert_array_equal(Degradation("blur", 5).apply(flat, 1), flat)


def test_noise_has_no_bias_and_its_deviation(image: UInt8) -> None:
    gray = np.full_like(image, 128)
    difference = Degradation("noise", 2).apply(gray, 1) - 128.0
    assert abs(difference.mean()) < 0.5
    assert difference.std() == pytest.approx(13.0, rel=0.03)


@pytest.mark.parametrize("level", LEVELS)
def test_occlusion_hides_its_share_and_nothing_else(level: int) -> None:
    marked = np.full((96, 160), 255, np.uint8)  # no obstacle is that bright
    hidden = (Degradation("occlusion", level).apply(marked, 3) != 255).mean()
    assert OCCLUDED_RATIO[level - 1] <= hidden < OCCLUDED_RATIO[level - 1] + 0.1


def test_exposure_errs_both_ways(image: UInt8) -> None:
    means = [float(Degradation("exposure", 4).apply(image, seed).mean()) for seed in range(12)]
    assert min(means) < 0.5 * image.mean()
    assert max(means) > 1.4 * image.mean()


@pytest.mark.parametrize("text", ["night", "night:0", "night:6", "night:x", "fog:1", "night:-1", "", "night:1.0"])
def test_unknown_degradations_are_answered_with_those_there_are(text: str) -> None:
    with pytest.raises(ConfigError, match="night, blur, noise, occlusion, exposure, roll and the level 1 to 5"):
        Degradation.parse(text)


def test_parse_and_str_agree() -> None:
    assert str(Degradation.parse("blur:2")) == "blur:2"


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)])
def test_other_arrays_are_refused(bad: UInt8) -> None:
    with pytest.raises(ImageError, match="cannot be degraded"):
        Degradation("noise", 1).apply(bad, 0)


def test_a_single_pixel_survives() -> None:
    for kind in KINDS:
        assert Degradation(kind, 5).apply(np.full((1, 1), 9, np.uint8), 2).shape == (1, 1)


def test_degraded_records_do_not_depend_on_their_neighbors(image: UInt8) -> None:
    camera = PinholeCamera(160, 96, 100, 100, 80, 48)
    records = [Record(name, index, camera, "query", None, lambda: image) for index, name in enumerate("abc")]
    noise = Degradation("noise", 2)
    a, b, c = (record.read_image() for record in degrade_records(records, noise, seed=1))
    np.testing.assert_array_equal(degrade_records(records[1:], noise, seed=1)[1].read_image(), c)
    assert distance(a, b) > 0
    assert distance(a, degrade_records(records, noise, seed=2)[0].read_image()) > 0
