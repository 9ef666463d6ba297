"""Count of localizations that agree with a track, or contradict it."""

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.pixloc.track_check import TrackCheck, TrackCheckOptions

SECOND = 1_000_000_000


def at(x: float, yaw_deg: float = 0.0) -> Rigid3d:
    return Rigid3d(Rotation3d(np.radians([0.0, 0.0, yaw_deg])), np.array([x, 0.0, 0.0]))


def confirmed(**options: float) -> TrackCheck:
    check = TrackCheck(TrackCheckOptions.model_validate(options))
    check.restart(check.options.confirmations)
    return check


@pytest.mark.parametrize("needed", [1, 2, 3])
def test_a_track_is_published_once_enough_localizations_agree(needed: int) -> None:
    check = TrackCheck(TrackCheckOptions(confirmations=needed))
    check.restart(1)
    for agreeing in range(1, needed):
        assert check.withheld(0) == f"{agreeing} of {needed} localizations agree: waits for another one"
        assert check.compare(at(0.9), at(0.0), 0) == 0
    assert check.withheld(0) == ""


@pytest.mark.parametrize("given", [at(1.1), at(0.0, 6.0)])
def test_before_that_one_that_disagrees_replaces_it(given: Rigid3d) -> None:
    check = TrackCheck(TrackCheckOptions())
    check.restart(1)
    assert check.compare(given, at(0.0), 0) == 1


def test_after_it_the_first_conflict_withholds_and_the_second_decides() -> None:
    check = confirmed()
    assert check.compare(at(12.0), at(0.0), 0) == 0
    assert check.withheld(SECOND) == "a localization 12 m away contradicts the track: waits for another one"
    assert check.compare(at(14.2), at(2.0), SECOND) == 2, "it moved as the track did"


def test_conflicts_must_agree_with_each_other_and_follow_each_other() -> None:
    check = confirmed()
    assert [check.compare(at(x), at(0.0), 0) for x in (12.0, -7.0, 30.0)] == [0, 0, 0]
    assert check.compare(at(0.1), at(0.0), 0) == 0
    assert check.withheld(0) == ""
    assert check.compare(at(30.0), at(0.0), 0) == 0, "the first one after an agreement"


def test_a_conflict_that_no_other_follows_is_forgotten() -> None:
    check = confirmed(conflict_timeout=2.0)
    check.compare(at(12.0), at(0.0), 0)
    assert check.withheld(2 * SECOND)
    assert not check.withheld(2 * SECOND + 1)


def test_after_an_image_that_contradicts_the_motion_some_must_be_tracked() -> None:
    check = confirmed(settling_images=3)
    check.note_image(tracked=True, contradicts=False)
    assert check.withheld(0) == ""
    check.note_image(tracked=False, contradicts=True)
    for waits in (3, 2, 1):
        assert f"waits for {waits} more images" in check.withheld(0)
        check.note_image(tracked=False, contradicts=False)  # one that fails for another reason does not count
        check.note_image(tracked=True, contradicts=False)
    assert check.withheld(0) == ""


def test_after_an_image_that_is_unlike_the_map_one_must_be_tracked_before_the_next_is_published() -> None:
    check = confirmed()
    check.note_image(tracked=False, unlike=True)
    check.note_image(tracked=True)
    assert check.doubt
    check.note_image(tracked=True)
    assert check.doubt == ""


def test_an_image_contradicts_no_track_that_nobody_has_confirmed() -> None:
    check = TrackCheck(TrackCheckOptions())
    check.restart(1)
    check.note_image(tracked=False, contradicts=True)
    check.restart(2)
    assert check.withheld(0) == ""
