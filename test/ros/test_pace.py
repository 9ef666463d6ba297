"""Comparison of processing times and intervals, by their means, from the eighth item on."""

import pytest

from vizloc_ros.ros.worker import Pace


def pace_of(arrivals: list[float], durations: list[float]) -> Pace:
    pace = Pace()
    for at in arrivals:
        pace.arrived(at)
    for seconds in durations:
        pace.took(seconds)
    return pace


@pytest.mark.parametrize(("seconds", "keeps_up"), [(0.05, True), (0.09, True), (0.11, False), (0.3, False)])
def test_what_takes_longer_than_it_comes_does_not_keep_up(seconds: float, keeps_up: bool) -> None:
    assert pace_of([0.1 * i for i in range(20)], [seconds] * 20).keeps_up is keeps_up


def test_the_first_items_count_as_fast_enough() -> None:
    assert Pace().keeps_up
    assert pace_of([0.1 * i for i in range(7)], [0.5] * 7).keeps_up
    assert not pace_of([0.1 * i for i in range(8)], [0.5] * 8).keeps_up


def test_a_bunch_after_a_pause_is_no_higher_rate() -> None:
    """After all processes were stopped for 0.8 s, nine items arrive at once, and one of them took as long."""
    arrivals = [0.1 * i for i in range(10)] + [1.8] * 9 + [1.9, 2.0, 2.1]
    assert pace_of(arrivals, [0.04] * 20 + [0.85]).keeps_up


def test_only_the_last_items_count() -> None:
    pace = pace_of([0.1 * i for i in range(40)], [0.5] * 40)
    assert not pace.keeps_up
    for _ in range(32):
        pace.took(0.05)
    assert pace.keeps_up


def test_the_interval_is_the_mean_one_of_the_last_items() -> None:
    assert pace_of([0.1 * i for i in range(7)], []).interval == float("inf")
    assert pace_of([0.0, 0.01, 0.03, 0.1, 0.11, 0.12, 0.13, 0.7], []).interval == pytest.approx(0.1)
    assert pace_of([10.0 * i for i in range(40)] + [400 + 0.03 * i for i in range(32)], []).interval == pytest.approx(
        0.03
    )
