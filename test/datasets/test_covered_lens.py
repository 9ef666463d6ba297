"""A covered part of the lens is named where it is; sky, a camera at rest, and night are not taken for one."""

import numpy as np
import pytest

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.covered_lens import CoveredLens

RNG = np.random.default_rng(0)
WORLD = np.kron(RNG.integers(60, 230, (12, 100)), np.ones((10, 10))).astype(np.uint8)


def view(k: int, light: float = 1.0) -> UInt8:
    """The camera moves along a wall under a sky."""
    image = WORLD[:, 7 * k : 7 * k + 160].copy()
    image[:30] = 240
    noisy = light * image + np.random.default_rng(k).normal(0, 1, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def said(images: list[UInt8]) -> str:
    lens = CoveredLens()
    return [lens.check(image) for image in images][-1]


def test_nothing_is_covered() -> None:
    assert said([view(k) for k in range(60)]) == ""


@pytest.mark.parametrize(
    ("rows", "columns", "place"),
    [
        (slice(60, 120), slice(0, 160), "50% of the image, lower,"),
        (slice(0, 60), slice(0, 80), "25% of the image, upper left,"),
        (slice(30, 90), slice(60, 100), "% of the image, in the middle,"),
    ],
)
@pytest.mark.parametrize("level", [0, 45])
def test_a_covered_part_is_named(rows: slice, columns: slice, place: str, level: int) -> None:
    images = [view(k) for k in range(30)]
    for k, image in enumerate(images):
        image[rows, columns] = level + k % 2
    assert place in said(images)
    assert said(images[:10]) == "", "too early to tell"


def test_a_camera_at_rest_and_night_tell_nothing() -> None:
    at_rest = [view(3) for _ in range(60)]
    assert said(at_rest) == ""
    night = [view(k, light=0.2) for k in range(60)]
    for image in night:
        image[:60] = 0
    assert said(night) == ""
