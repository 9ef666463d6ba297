"""Images that are sent again with new stamps are told, and those after them, until the stream restarts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.frozen_images import FrozenImages
from vizloc_ros.datasets.resent_images import ResentImages
from vizloc_ros.errors import FrozenCameraError

STEP = 100_000_000  # ns


def lateness(numbers: list[int], stamps: list[int] | None = None) -> list[float]:
    """Time [steps] by which each of these images is late, by its number; the stamps are numbers of steps."""
    resent, found = ResentImages(), []
    for number, stamp in zip(numbers, stamps or range(len(numbers)), strict=True):
        resent.receive(number, 10**15 + stamp * STEP)
        found.append(resent.late_ns / STEP)
    return found


def test_images_of_a_second_ago_and_all_after_them_are_late() -> None:
    sent = [*range(20), *range(10, 40)]
    assert lateness(sent) == [0] * 21 + [10] * 29


def test_two_images_again_are_enough() -> None:
    assert lateness([0, 1, 2, 1, 2, 3, 4]) == [0, 0, 0, 0, 2, 2, 2]
    assert lateness([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 3, 3])[-4:] == [6, 6, 6, 6]  # each twice


def test_a_restart_ends_it() -> None:
    sent, stamps = [0, 1, 2, 3, 1, 2, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6, 20, 21]
    assert lateness(sent, stamps) == [0, 0, 0, 0, 0, 3, 3, 0, 0]
    assert lateness([0, 1, 2, 3, 1, 2, 4, 0, 1], [0, 1, 2, 3, 4, 5, 6, 0, 1]) == [0, 0, 0, 0, 0, 3, 3, 0, 0]


@pytest.mark.parametrize(
    "sent",
    [
        [0, 0, 0, 1, 1, 2, 2, 2],  # twice, or a camera that stands
        [1, 0, 3, 2, 5, 4],  # swapped
        [0, 1, 2, 0, 3, 4],  # one image alone
        [*range(10), *range(8, 0, -1), *range(20, 25)],  # backwards
        [*range(5), *range(60, 110), *range(5)],  # the same place a round later
    ],
    ids=["repeated", "swapped", "one", "backwards", "after five seconds"],
)
def test_other_orders_are_not_late(sent: list[int]) -> None:
    assert not any(lateness(sent))


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=80), st.integers(1, 40))
def test_different_images_are_never_late(sent: list[int], repeats: int) -> None:
    assert not any(lateness([number for number in sent for _ in range(repeats % 3 + 1)]))


def test_a_late_image_is_refused_with_its_age() -> None:
    def image(number: int) -> UInt8:
        return np.random.default_rng(number).integers(20, 235, (60, 80), np.uint8)

    frozen = FrozenImages()
    for at, number in enumerate([0, 1, 2, 3, 0, 1, 2, 3, 4]):
        frozen.receive(image(number).tobytes(), at * STEP)
        if at < 5:
            frozen.check(image(number), at * STEP)
        else:
            with pytest.raises(FrozenCameraError, match=r"of 0\.4 s ago"):
                frozen.check(image(number), at * STEP)
