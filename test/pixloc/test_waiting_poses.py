"""Localizations that wait for a track: those that lead to it are given afterwards, all others never."""

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.pixloc.motion import KnownPose
from vizloc_ros.pixloc.tracking import Tracked, TrackerState
from vizloc_ros.pixloc.waiting_poses import WaitingPoses

PERIOD_NS = 100_000_000
STEP = 0.8  # m between two images
COVARIANCE = 1e-4 * np.eye(6)


def localization(k: int, off: float = 0.0, yaw_deg: float = 0.0) -> KnownPose:
    """Localization of image ``k`` of a straight drive; ``off`` meters from its pose, and turned."""
    pose = Rigid3d(Rotation3d(np.radians([0.0, 0.0, yaw_deg])), np.array([k * STEP + off, 0.0, 0.0]))
    return KnownPose(pose, k * PERIOD_NS, None, 0.02, 0.002, COVARIANCE)


def withheld(state: TrackerState = TrackerState.NOT_LOCALIZED) -> Tracked:
    return Tracked(state, None, None, "waits")


def after(
    waiting: WaitingPoses, k: int, localized: KnownPose | None, tracked: Tracked | None = None, doubted: bool = False
) -> tuple[KnownPose, ...]:
    return waiting.after_image(tracked or withheld(), k * PERIOD_NS, localized, is_doubted=doubted)


def given(waiting: WaitingPoses, k: int) -> list[int]:
    """Images whose poses are given with the images ``k`` and ``k + 1``, which are tracked."""
    assert track(waiting, k) == ()
    return [pose.stamp_ns // PERIOD_NS for pose in track(waiting, k + 1)]


def track(waiting: WaitingPoses, k: int) -> tuple[KnownPose, ...]:
    tracked = Tracked(TrackerState.TRACKING, localization(k).map_from_cam, COVARIANCE, "")
    return after(waiting, k, None, tracked)


def waiting_for(images: range) -> WaitingPoses:
    waiting = WaitingPoses()
    for k in images:
        assert after(waiting, k, localization(k)) == ()
    return waiting


def test_the_poses_right_before_a_track_are_given_with_its_first_one_and_once() -> None:
    waiting = waiting_for(range(10))
    assert given(waiting, 10) == list(range(10))
    assert given(waiting, 12) == []


def test_one_tracked_image_alone_confirms_nothing() -> None:
    waiting = waiting_for(range(3))
    assert track(waiting, 3) == ()
    after(waiting, 4, localization(4))
    assert given(waiting, 5) == [4]


def test_an_image_without_a_localization_is_a_gap() -> None:
    waiting = waiting_for(range(3))
    assert after(waiting, 3, None) == ()
    for k in (4, 5):
        after(waiting, k, localization(k))
    assert given(waiting, 6) == [4, 5]


def test_what_speaks_against_the_track_and_a_frozen_camera_drop_all_for_good() -> None:
    waiting = waiting_for(range(3))
    after(waiting, 3, localization(3), doubted=True)
    after(waiting, 4, localization(4))
    assert given(waiting, 5) == [4]
    waiting = waiting_for(range(3))
    after(waiting, 3, localization(3), withheld(TrackerState.FROZEN))
    assert given(waiting, 4) == []


@pytest.mark.parametrize("wrong", [localization(4, off=2.0), localization(4, off=-8.0), localization(4, yaw_deg=20.0)])
def test_a_pose_that_the_later_ones_do_not_come_from_is_dropped_with_those_before(wrong: KnownPose) -> None:
    waiting = waiting_for(range(4))
    after(waiting, 4, wrong)
    for k in range(5, 8):
        after(waiting, k, localization(k))
    assert given(waiting, 8) == [5, 6, 7]


def test_the_last_pose_that_waits_must_be_on_the_way_too() -> None:
    waiting = waiting_for(range(3))
    after(waiting, 3, localization(3, off=0.7))
    assert given(waiting, 4) == []


def test_poses_of_another_place_are_none_of_the_track() -> None:
    waiting = WaitingPoses()
    for k in range(5):
        after(waiting, k, localization(k, off=20.0))
    assert given(waiting, 5) == []


def test_a_jump_of_the_clock_begins_anew() -> None:
    waiting = waiting_for(range(5, 8))
    for k in (2, 3):
        after(waiting, k, localization(k))
    assert given(waiting, 4) == [2, 3]
    waiting = waiting_for(range(3, 5))
    assert given(waiting, 4) == [], "not later than the one that waits"


@pytest.mark.parametrize(("off", "expected"), [(0.0, [0, 5, 10]), (0.6, [10])])
def test_two_images_a_second_do_not_let_poses_pass_that_would_be_wrong(off: float, expected: list[int]) -> None:
    """The motion over half a second may be off by meters; a pose that is far from it is not confirmed by it."""
    waiting = WaitingPoses()
    for k in (0, 5, 10):
        after(waiting, k, localization(k, off if k == 5 else 0.0))
    assert track(waiting, 15) == ()
    assert [pose.stamp_ns // PERIOD_NS for pose in track(waiting, 20)] == expected


def test_what_was_before_a_pause_is_not_confirmed() -> None:
    waiting = waiting_for(range(3))
    for k in (600, 601):
        after(waiting, k, localization(k))
    assert given(waiting, 602) == [600, 601]
