"""Odometry that is wrong is found out by the aligned poses and left out until it agrees again."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pixloc_helpers import is_right, truth
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.pixloc.motion import KnownPose
from vizloc_ros.pixloc.odometry_trust import OdometryTrust
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame

SECOND = 1_000_000_000


def at(z: float, yaw: float = 0.0) -> Rigid3d:
    return Rigid3d(Rotation3d(np.array([0.0, np.radians(yaw), 0.0])), np.array([0.0, 0.0, z]))


def told(trust: OdometryTrust, count: int, odometry: Callable[[float], Rigid3d], start: float = 0.0) -> None:
    for k in range(count):
        z = start + 0.4 * k
        trust.add(KnownPose(at(z), round((start + k) * SECOND), odometry(z)))


@pytest.mark.parametrize(
    ("odometry", "is_trusted"),
    [
        (lambda z: at(z), True),
        (lambda z: at(1.08 * z), True),  # worn tires
        (lambda z: at(2 * z), False),
        (lambda z: at(0.0), False),  # stuck wheels
        (lambda z: at(z, yaw=10 * z), False),
    ],
)
def test_a_verdict_comes_with_the_first_meters(odometry: Callable[[float], Rigid3d], is_trusted: bool) -> None:
    trust = OdometryTrust()
    told(trust, 6, odometry)
    assert (trust.problem == "") is is_trusted


def test_it_is_used_again_once_it_agrees() -> None:
    trust = OdometryTrust()
    told(trust, 5, lambda z: at(0.0))
    assert "left out until it agrees again: it told of 0.00 m where the images show 0.80 m" in trust.problem
    told(trust, 8, at, start=5.0)
    assert trust.problem
    told(trust, 8, at, start=10.0)
    assert not trust.problem


def test_a_relapse_needs_more_agreement() -> None:
    trust = OdometryTrust()
    told(trust, 5, lambda z: at(0.0))
    told(trust, 16, at, start=5.0)
    assert not trust.problem
    told(trust, 5, lambda z: at(0.0), start=25.0)
    told(trust, 16, at, start=30.0)
    assert trust.problem
    told(trust, 10, at, start=46.0)
    assert not trust.problem


def test_standing_still_proves_nothing() -> None:
    trust = OdometryTrust()
    told(trust, 5, lambda z: at(0.0))
    for k in range(50):
        trust.add(KnownPose(at(2.0), (100 + k) * SECOND, at(0.0)))
    assert trust.problem


@pytest.mark.parametrize("fault", ["stuck", "scale", "jumps"])
def test_the_track_is_kept_with_wrong_odometry(
    tracker: Tracker,
    drive: list[tuple[Record, Frame]],
    fault: str,
) -> None:
    first = truth(drive[0][0])

    def odometry(index: int, record: Record) -> Rigid3d:
        moved = first.inverse() * truth(record)
        if fault == "stuck":
            return Rigid3d()
        if fault == "scale":
            return Rigid3d(moved.rotation, 2 * moved.translation)
        return Rigid3d(moved.rotation, moved.translation + np.array([3.0 * (index // 4 % 2), 0.0, 0.0]))

    tracker.offer_prior(first, drive[0][1].stamp_ns)
    given = [replace(frame, odom_from_cam=odometry(k, record)) for k, (record, frame) in enumerate(drive)]
    right = [is_right(tracker.track(frame), record) for frame, (record, _) in zip(given, drive, strict=True)]
    assert sum(right) >= len(right) - 1
    assert tracker.odometry.problem
