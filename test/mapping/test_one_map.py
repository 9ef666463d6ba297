"""Two map servers: landmarks of different maps are told apart, and a publisher that has died does not count long."""

import numpy as np
import pytest

from vizloc_ros.arrays import Float64, Int64
from vizloc_ros.mapping.one_map import OneMap


def landmarks(map_seed: int, first: int = 0, count: int = 50) -> tuple[Int64, Float64]:
    positions = np.random.default_rng(map_seed).uniform(-50, 50, (1000, 3))
    ids = np.arange(first, first + count)
    return ids, positions[ids]


def test_one_server_may_change_its_map() -> None:
    one = OneMap("/submap", sure_first=False)
    assert one.count(1) == ""
    assert one.take(*landmarks(0))
    assert one.take(*landmarks(0, first=30))
    assert one.replaced == 0
    assert one.take(*landmarks(1))
    assert one.replaced == 1
    assert one.count(1) == ""


@pytest.mark.parametrize("sure_first", [False, True])
def test_two_maps_are_an_error_until_one_server_has_gone(sure_first: bool) -> None:
    one = OneMap("/submap", sure_first=sure_first)
    one.count(1)
    for first in (0, 40, 80):
        assert one.take(*landmarks(0, first=first))
    assert ("more than one visual_map_server" in one.count(2)) is sure_first
    assert not one.take(*landmarks(1, first=20))
    assert one.count(2).startswith("2 publishers on /submap: their maps differ")
    assert one.take(*landmarks(0))
    assert "their maps differ" in one.count(2)
    assert one.count(1) == ""


def test_a_dead_publisher_is_recognized_by_messages_that_agree() -> None:
    one = OneMap("/candidates", sure_first=True)
    one.count(1)
    one.take(*landmarks(0))
    for _ in range(3):
        assert "No pose" in one.count(2)
        one.take(*landmarks(0))
    assert one.count(2) == ""
    assert "No pose" in one.count(3)


def test_maps_without_a_common_number_are_never_known_to_agree() -> None:
    one = OneMap("/candidates", sure_first=True)
    for _ in range(10):
        assert "No pose" in one.count(2)
        one.take(*landmarks(0, first=0, count=2))
        one.take(*landmarks(1, first=500, count=2))
