"""Rows that are shifted against each other are found out; whole images, torn ones and noise are not taken for them."""

from pathlib import Path

import numpy as np
import pytest

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.corruptions import Degradation
from vizloc_ros.datasets.image_messages import check_damage
from vizloc_ros.datasets.row_shifts import has_shifted_rows
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import ImageError
from vizloc_ros.evaluation.image_faults import rolling_shutter, torn
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.readers import open_dataset


@pytest.fixture(scope="module")
def drive(street: SyntheticStreet) -> list[UInt8]:
    return [gray_image(record.read_image()) for record in street.records("query")[::4]]


def jittering(image: UInt8, most: int, group: int, seed: int = 0) -> UInt8:
    rng, shifted = np.random.default_rng(seed), image.copy()
    for top in range(0, len(image), group):
        shifted[top : top + group] = np.roll(image[top : top + group], int(rng.integers(-most, most + 1)), axis=1)
    return shifted


@pytest.mark.parametrize(("most", "group"), [(6, 8), (10, 8), (20, 8), (10, 6), (10, 12)])
def test_shifted_groups_of_rows_are_found(drive: list[UInt8], most: int, group: int) -> None:
    for number, image in enumerate(drive):
        assert has_shifted_rows(jittering(image, most, group, number))


@pytest.mark.parametrize("degradation", ["", "noise:5", "night:5", "blur:5", "occlusion:5"])
def test_whole_images_are_unshifted(drive: list[UInt8], degradation: str) -> None:
    for number, image in enumerate(drive):
        altered = Degradation.parse(degradation).apply(image, number) if degradation else image
        assert not has_shifted_rows(altered)


def test_two_moments_and_a_shear_are_no_shifts(drive: list[UInt8]) -> None:
    """Other checks find these: one edge alone, or none, is not enough."""
    for image, earlier in zip(drive[1:], drive, strict=False):
        assert not has_shifted_rows(torn(image, earlier))
        assert not has_shifted_rows(rolling_shutter(image, np.random.default_rng(0)))


def test_recorded_images_are_unshifted(kitti00: Path) -> None:
    images = [record.read_image() for record in open_dataset(f"folder:{kitti00}").records("map")[::10]]
    assert not any(map(has_shifted_rows, images))
    assert all(has_shifted_rows(jittering(image, 10, 8)) for image in images)


@pytest.mark.parametrize("times", [2, 3, 4])
def test_repeated_rows_are_unshifted(drive: list[UInt8], times: int) -> None:
    """Of a driver that deinterlaces, or enlarges without interpolation."""
    for image in drive:
        assert not has_shifted_rows(np.repeat(image[::times], times, axis=0))
        assert not has_shifted_rows(np.repeat(np.repeat(image[::times, ::times], times, axis=0), times, axis=1))


def test_wall_of_bricks_is_unshifted() -> None:
    """Its courses are shifted against each other, but by half a brick all of them."""
    wall = np.full((400, 640), 120, np.uint8)
    for course, top in enumerate(range(0, 400, 8)):
        wall[top : top + 8, 10 * (course % 2) :: 20] = 60
    assert not has_shifted_rows(wall)
    assert has_shifted_rows(jittering(wall + np.arange(640, dtype=np.uint8) % 97 // 4, 9, 8))


def test_small_images_and_those_without_detail_are_unshifted() -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 640), (400, 1), (63, 640), (400, 63)):
        assert not has_shifted_rows(rng.integers(0, 256, shape, np.uint8))
    assert not has_shifted_rows(np.full((400, 640), 7, np.uint8))


def test_image_of_a_node_is_refused(drive: list[UInt8]) -> None:
    with pytest.raises(ImageError, match="shifted sideways"):
        check_damage(jittering(drive[0], 10, 8), object())
