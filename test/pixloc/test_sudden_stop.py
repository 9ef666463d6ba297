"""Sudden stop: images that differ by noise alone, at once, are not those of a vehicle that brakes."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from vizloc_ros.arrays import UInt8
from vizloc_ros.pixloc.sudden_stop import SuddenStop

PERIOD_NS = 100_000_000
SPEED = 5.0


def view(metres: float, seed: int) -> UInt8:
    """View of a wall from a passing vehicle, 40 px to the metre, with the noise of a sensor."""
    rng = np.random.default_rng(3)
    wall = cv2.resize(rng.normal(128, 50, (20, 200)), (4000, 400), interpolation=cv2.INTER_CUBIC)
    seen = wall[:, round(40 * metres) :][:, :640]
    return np.asarray((seen + np.random.default_rng(seed).normal(0, 2, seen.shape)).clip(0, 255), np.uint8)


def drive(places: list[float], speed: float, period_ns: int = PERIOD_NS) -> Iterator[str]:
    stop = SuddenStop()
    for number, place in enumerate(places):
        yield stop.check(view(place, number), number * period_ns, speed)


def test_a_frozen_camera_is_named_at_once_until_it_runs_again() -> None:
    places = [0.0, 0.5, 1.0, 1.5, *[1.5] * 4, 4.0, 4.5]
    said = list(drive(places, SPEED))
    assert [bool(text) for text in said] == 4 * [False] + 4 * [True] + 2 * [False]
    assert said[4].startswith("camera frozen: for 0.1 s")
    assert said[7].startswith("camera frozen: for 0.4 s")


@pytest.mark.parametrize(
    ("places", "speed", "period_ns"),
    [
        ([0.0, 0.1, 0.2, 0.2, 0.2], 1.0, PERIOD_NS),  # a robot that stops in a tenth of a second
        ([0.0, 5.0, 10.0, 10.0], 10.0, 10 * PERIOD_NS),  # a car that brakes for a second
        ([0.0, 0.0, 0.0, 0.0], SPEED, PERIOD_NS),  # at rest, and the speed is a wrong one
        ([0.0, 0.5, 1.0, 1.3, 1.4], SPEED, PERIOD_NS),  # it becomes slower
        ([0.0, 0.5, 1.0, 1.0], 0.0, PERIOD_NS),  # nobody knows the speed
    ],
)
def test_a_vehicle_that_may_stand_is_not(places: list[float], speed: float, period_ns: int) -> None:
    assert not any(drive(places, speed, period_ns))


def test_images_of_another_size_are_not_compared() -> None:
    stop = SuddenStop()
    for number in range(4):
        image = view(0.5 * number, number)[: 400 - 80 * (number == 3)]
        assert not stop.check(image, number * PERIOD_NS, SPEED)
    stop.reset()
    assert not stop.check(view(1.5, 9), 4 * PERIOD_NS, SPEED)
