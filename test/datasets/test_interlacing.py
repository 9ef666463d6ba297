"""Rows of two moments in one image are found out; images of one moment, noise and blur are not taken for them."""

from pathlib import Path

import numpy as np
import pytest

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.corruptions import Degradation
from vizloc_ros.datasets.interlacing import is_interlaced
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.evaluation.image_faults import bayer
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.readers import open_dataset


@pytest.fixture(scope="module")
def drive(street: SyntheticStreet) -> list[UInt8]:
    return [gray_image(record.read_image()) for record in street.records("query")[::4]]


def both(image: UInt8, earlier: UInt8, first: int) -> UInt8:
    mixed = image.copy()
    mixed[first::2] = earlier[first::2]
    return mixed


@pytest.mark.parametrize("first", [0, 1])
def test_every_second_row_of_an_earlier_image_is_found(drive: list[UInt8], first: int) -> None:
    for image, earlier in zip(drive[1:], drive, strict=False):
        assert is_interlaced(both(image, earlier, first))


@pytest.mark.parametrize("degradation", ["", "noise:5", "night:5", "blur:5"])
def test_images_of_one_moment_are_none(drive: list[UInt8], degradation: str) -> None:
    for number, image in enumerate(drive):
        altered = Degradation.parse(degradation).apply(image, number) if degradation else image
        assert not is_interlaced(altered)


def test_raw_pixels_of_a_color_sensor_are_none(drive: list[UInt8]) -> None:
    for number, image in enumerate(drive):
        assert not is_interlaced(bayer(image, np.random.default_rng(number)))


def test_recorded_images_are_none(kitti00: Path) -> None:
    images = [record.read_image() for record in open_dataset(f"folder:{kitti00}").records("map")[::10]]
    assert not any(map(is_interlaced, images))
    assert is_interlaced(both(images[1], images[0], 1))


def test_small_and_equal_images_are_none() -> None:
    assert not is_interlaced(np.zeros((2, 8), np.uint8))
    assert not is_interlaced(np.full((8, 8), 7, np.uint8))
