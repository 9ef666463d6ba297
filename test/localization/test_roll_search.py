"""Search for the roll of a camera, image by image."""

import pytest

from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.localization.roll_search import RollSearch


def test_upright_is_tried_first_then_the_likely_roll() -> None:
    search = RollSearch()
    chosen = [search.choose(likely=Roll.COUNTERCLOCKWISE) for _ in range(4)]
    assert chosen[:2] == [Roll.NONE, Roll.COUNTERCLOCKWISE]
    assert set(chosen) == set(Roll)


@pytest.mark.parametrize("every", [1, 2, 3, 4, 8])
def test_a_node_that_takes_every_nth_image_meets_every_roll(every: int) -> None:
    search = RollSearch()
    assert {roll for i, roll in enumerate(search.choose() for _ in range(16 * every)) if i % every == 0} == set(Roll)


def test_the_roll_of_a_pose_stays_and_is_kept_in_every_second_image_without_poses() -> None:
    search = RollSearch()
    search.choose()
    search.found(Roll.UPSIDE_DOWN)
    assert {search.choose() for _ in range(10)} == {Roll.UPSIDE_DOWN}
    later = [search.choose() for _ in range(16)]
    assert set(later[::2]) == {Roll.UPSIDE_DOWN}
    assert set(later[1::2]) == set(Roll)
    search.found(Roll.CLOCKWISE)
    assert {search.choose() for _ in range(10)} == {Roll.CLOCKWISE}
