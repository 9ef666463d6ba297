"""Turns by a gyroscope: its bias is learned from the poses, and one that is wrong is found out and left out."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pixloc_helpers import is_right, truth
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.se3 import so3_exp, so3_log
from vizloc_ros.pixloc.gyroscope import Attitude, GyroscopeBias
from vizloc_ros.pixloc.gyroscope_trust import GyroscopeTrust
from vizloc_ros.pixloc.motion import KnownPose
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame

SECOND, HZ = 1_000_000_000, 30
Told = Callable[[float], float]  # angle that the gyroscope tells [deg], by the time [s]


def about_y(degrees: float) -> Rotation3d:
    return so3_exp(np.radians([0.0, degrees, 0.0]))


def swinging(seconds: float) -> float:
    """Angle of a camera that looks to and fro, at up to 60 deg/s [deg]."""
    return 30.0 * float(np.sin(2.0 * seconds))


def played(
    trust: GyroscopeTrust,
    seconds: float,
    told: Told,
    start: float = 0.0,
    hz: float = HZ,
    seen: Told = swinging,
    run: int = 0,
) -> None:
    rng = np.random.default_rng(0)
    for k in range(round(seconds * hz)):
        t = start + k / hz
        pose = Rigid3d(about_y(seen(t) + 0.05 * rng.normal()), np.zeros(3))
        trust.add(KnownPose(pose, round(t * SECOND), attitude=Attitude(about_y(told(t)), run)))


def test_attitudes_of_two_runs_tell_no_turn() -> None:
    first, later = Attitude(about_y(10.0), 3), Attitude(about_y(25.0), 3)
    turn = first.turn_to(later)
    assert turn is not None
    assert np.degrees(so3_log(turn)) == pytest.approx([0, 15, 0])
    assert first.turn_to(replace(later, run=4)) is None


def test_a_bias_is_taken_off_the_turn() -> None:
    bias, rate, seconds = GyroscopeBias(), np.array([0.2, 1.0, -0.1]), 0.1
    bias.rate = np.radians([0.6, 0.5, -0.6])
    found = bias.corrected(so3_exp(seconds * (rate + bias.rate)), seconds)
    assert np.degrees(so3_log(found) / seconds) == pytest.approx(np.degrees(rate), abs=0.001)


@pytest.mark.parametrize("rate", [1.0, -0.5, 0.0])
def test_the_bias_is_learned_within_some_seconds(rate: float) -> None:
    trust = GyroscopeTrust()
    played(trust, 20.0, lambda t: swinging(t) + rate * t)
    assert np.degrees(trust.bias.rate) == pytest.approx([0, rate, 0], abs=0.1)
    assert not trust.problem
    trust.reset()
    assert not trust.bias.rate.any()


def test_the_bias_is_limited_and_one_wrong_pose_tells_little() -> None:
    bias = GyroscopeBias()
    bias.add(about_y(90.0), Rotation3d(), 1 / HZ)
    assert np.degrees(np.linalg.norm(bias.rate)) == pytest.approx(0.4)
    for _ in range(1000):
        bias.add(about_y(2.0), Rotation3d(), 1 / HZ)
    assert np.degrees(np.linalg.norm(bias.rate)) <= 3.0 + 1e-9


@pytest.mark.parametrize("hz", [30.0, 6.0, 2.0])
@pytest.mark.parametrize(
    ("told", "is_trusted"),
    [
        (swinging, True),
        (lambda t: swinging(t) + t, True),  # a bias of 1 deg/s
        (lambda t: 1.05 * swinging(t), True),
        (lambda t: 2 * swinging(t), False),
        (lambda t: 0.5 * swinging(t), False),
        (lambda t: 0.0, False),  # stuck
        (lambda t: -swinging(t), False),  # a wrong axis
        (lambda t: swinging(t) + 20 * t, False),
    ],
)
def test_a_verdict_comes_within_seconds(told: Told, is_trusted: bool, hz: float) -> None:
    trust = GyroscopeTrust()
    played(trust, 3.0, told, hz=hz)
    assert (trust.problem == "") is is_trusted


def test_one_that_turns_while_the_camera_stands_is_found_out_and_one_that_rests_is_not() -> None:
    trust = GyroscopeTrust()
    played(trust, 5.0, lambda t: 0.0, seen=lambda t: 0.0)
    assert not trust.problem
    played(trust, 2.0, lambda t: 10 * t, start=5.0, seen=lambda t: 0.0)
    assert "left out until it agrees again: it told of" in trust.problem


def test_it_is_used_again_once_it_agrees_and_later_after_a_relapse() -> None:
    trust, attitude = GyroscopeTrust(), Attitude(Rotation3d())
    known = KnownPose(Rigid3d(), 0, attitude=attitude)
    assert trust.turn_since(known, attitude, SECOND) is not None
    played(trust, 1.0, lambda t: 0.0)
    assert trust.turn_since(known, attitude, SECOND) is None
    played(trust, 0.5, swinging, start=1.0, run=1)
    assert trust.problem
    played(trust, 2.5, swinging, start=1.5, run=1)
    assert not trust.problem
    played(trust, 1.0, lambda t: 0.0, start=4.0, run=2)
    played(trust, 1.5, swinging, start=5.0, run=3)
    assert trust.problem
    played(trust, 3.5, swinging, start=6.5, run=3)
    assert not trust.problem


def test_there_is_no_turn_without_both_attitudes() -> None:
    trust, attitude = GyroscopeTrust(), Attitude(Rotation3d())
    known = KnownPose(Rigid3d(), SECOND, attitude=attitude)
    assert trust.turn_since(None, attitude, SECOND) is None
    assert trust.turn_since(replace(known, attitude=None), attitude, SECOND) is None
    assert trust.turn_since(known, None, 2 * SECOND) is None
    assert trust.turn_since(known, attitude, SECOND - 1) is None
    assert trust.turn_since(known, Attitude(Rotation3d(), 1), 2 * SECOND) is None


def test_it_is_proven_by_five_turns_and_no_longer_after_a_new_track_or_an_error() -> None:
    trust = GyroscopeTrust()
    played(trust, 0.4, swinging)
    assert not trust.is_proven
    played(trust, 0.8, swinging, start=0.4)
    assert trust.is_proven
    trust.restart()
    assert not trust.is_proven
    played(trust, 1.5, swinging, start=3.0)
    assert trust.is_proven
    played(trust, 1.0, lambda t: 0.0, start=4.5)
    assert not trust.is_proven


@pytest.mark.parametrize(("rate", "is_trusted"), [(0.0, True), (1.0, True), (60.0, False), (-200.0, False)])
def test_the_track_is_kept_with_any_gyroscope(
    tracker: Tracker, drive: list[tuple[Record, Frame]], rate: float, is_trusted: bool
) -> None:
    """Ten images a second, and a gyroscope whose rate is off [deg/s]."""
    first = truth(drive[0][0])
    given = [
        replace(frame, attitude=Attitude(truth(record).rotation * about_y(0.1 * k * rate)))
        for k, (record, frame) in enumerate(drive)
    ]
    tracker.offer_prior(first, drive[0][1].stamp_ns)
    right = [is_right(tracker.track(frame), record) for frame, (record, _) in zip(given, drive, strict=True)]
    assert all(right)
    assert (tracker.gyroscope.problem == "") is is_trusted


def test_a_gyroscope_that_fails_on_the_way_costs_one_image_at_most(
    tracker: Tracker, drive: list[tuple[Record, Frame]]
) -> None:
    """It was proven; then it tells of 30 deg from one image to the next."""
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    right = []
    for k, (record, frame) in enumerate(drive):
        if k == 6:
            tracker.gyroscope._agreements = 5  # the street is too straight to prove it
        attitude = Attitude(truth(record).rotation * about_y(30.0 * max(0, k - 5)))
        right.append(is_right(tracker.track(replace(frame, attitude=attitude)), record))
    assert right.count(False) <= 1
    assert tracker.gyroscope.problem
