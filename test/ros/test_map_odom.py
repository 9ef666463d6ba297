"""Correction of the odometry: by odometry of the image's time, gradually, in the plane, and only while it holds."""

from itertools import pairwise

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d
from swerving_drive import MAP_FROM_ODOM, map_from_base, odom_from_base, odometry_message

from vizloc_ros.geometry.poses import planar, pose_error
from vizloc_ros.ros.map_odom import MapOdom
from vizloc_ros.ros.odometry_buffer import OdometryBuffer

pytestmark = pytest.mark.ros
START_NS, MS = 10**12, 1_000_000
ODOMETRY_LATE, POSE_LATE = 90, 60  # ms


def at_ms(ms: int) -> int:
    return START_NS + ms * MS


def filled(until_ms: int = 2000, period_ms: int = 100) -> OdometryBuffer:
    """Buffer with odometry of ten messages a second."""
    buffer = OdometryBuffer()
    for ms in range(0, until_ms + 1, period_ms):
        buffer.add(odometry_message(at_ms(ms), odom_from_base(ms / 1000)))
    return buffer


def error_on_vehicle(map_from_odom: Rigid3d | None, seconds: float) -> tuple[float, float]:
    assert map_from_odom is not None
    return pose_error(map_from_odom * odom_from_base(seconds), map_from_base(seconds))


def test_late_and_slow_odometry_gives_the_right_correction() -> None:
    """Odometry ten times a second, which comes 90 ms late; images ten times a second, whose poses come 60 ms late."""
    buffer = OdometryBuffer()
    map_odom = MapOdom(buffer)
    errors = []
    for ms in range(0, 10_000, 10):
        if ms % 100 == ODOMETRY_LATE:
            taken = ms - ODOMETRY_LATE
            buffer.add(odometry_message(at_ms(taken), odom_from_base(taken / 1000)))
        if ms % 100 == 30 + POSE_LATE:
            map_odom.add(at_ms(ms - POSE_LATE), map_from_base((ms - POSE_LATE) / 1000))
        if ms % 50 == 0 and (correction := map_odom.at(at_ms(ms))) is not None:
            errors.append(error_on_vehicle(correction, ms / 1000))
    assert len(errors) > 190
    distances, angles = np.percentile(errors, 99, axis=0)
    assert distances < 0.05
    assert angles < 0.5


def test_a_pose_waits_for_the_odometry_of_its_time() -> None:
    buffer = filled(until_ms=100)
    map_odom = MapOdom(buffer)
    map_odom.add(at_ms(150), map_from_base(0.15))
    assert map_odom.at(at_ms(190)) is None
    buffer.add(odometry_message(at_ms(200), odom_from_base(0.2)))
    assert error_on_vehicle(map_odom.at(at_ms(290)), 0.15)[0] < 0.05


def test_the_last_correction_holds_without_images() -> None:
    map_odom = MapOdom(filled())
    map_odom.add(at_ms(1000), map_from_base(1.0))
    assert map_odom.at(at_ms(1100)) == map_odom.at(at_ms(60_000))
    assert pose_error(map_odom.at(at_ms(61_000)) or Rigid3d(), MAP_FROM_ODOM) == pytest.approx((0, 0), abs=1e-6)


def test_odometry_that_begins_anew_ends_the_correction() -> None:
    buffer = filled()
    map_odom = MapOdom(buffer)
    map_odom.add(at_ms(1000), map_from_base(1.0))
    assert map_odom.at(at_ms(1100)) is not None
    buffer.add(odometry_message(at_ms(0), Rigid3d()))
    assert map_odom.at(at_ms(1200)) is None


def test_poses_without_odometry_are_named_until_it_comes() -> None:
    buffer = OdometryBuffer()
    map_odom = MapOdom(buffer)
    for ms in range(0, 3100, 100):
        map_odom.add(at_ms(ms), map_from_base(ms / 1000))
        assert map_odom.at(at_ms(ms)) is None
    assert "map -> odom is not corrected" in map_odom.problem
    for ms in (3000, 3100):
        buffer.add(odometry_message(at_ms(ms), odom_from_base(ms / 1000)))
    assert map_odom.at(at_ms(3200)) is not None
    assert not map_odom.problem


def test_in_a_gap_of_the_odometry_there_is_no_correction() -> None:
    buffer = OdometryBuffer()
    for ms in (0, 1000):
        buffer.add(odometry_message(at_ms(ms), odom_from_base(ms / 1000)))
    map_odom = MapOdom(buffer)
    map_odom.add(at_ms(500), map_from_base(0.5))
    assert map_odom.at(at_ms(1100)) is None


@pytest.mark.parametrize(
    ("wrong", "speed", "seconds"),
    [
        (Rigid3d(Rotation3d(), np.array([0.6, 0.8, 0.0])), 0.5, 2.0),
        (Rigid3d(Rotation3d(np.array([0, 0, 0.5])), np.zeros(3)), 0.25, 2.0),  # rad, a meter from the vehicle
    ],
)
def test_a_correction_moves_the_vehicle_no_faster_than_allowed(wrong: Rigid3d, speed: float, seconds: float) -> None:
    """The vehicle is 60 m from the origin of the odometry, where the same turn is a far larger step."""
    buffer = OdometryBuffer()
    odom_from_vehicle = Rigid3d(Rotation3d(np.array([0, 0, 0.3])), np.array([60.0, 0.0, 0.0]))
    for ms in (0, 400, 800):
        buffer.add(odometry_message(at_ms(ms), odom_from_vehicle))
    map_odom = MapOdom(buffer, max_speed=speed)
    right = MAP_FROM_ODOM * odom_from_vehicle
    map_odom.add(at_ms(0), right)
    shown = [map_odom.at(at_ms(0))]
    map_odom.add(at_ms(400), right * wrong)
    shown += [map_odom.at(at_ms(ms)) for ms in range(50, 3001, 50)]
    poses = [(each or Rigid3d()) * odom_from_vehicle for each in shown]
    steps = [pose_error(before, after) for before, after in pairwise(poses)]
    assert max(max(distance, np.radians(angle)) for distance, angle in steps) < speed * 0.05 * 1.001
    assert pose_error(poses[-1], right * wrong) == pytest.approx((0, 0), abs=1e-6)
    reached = next(i for i, pose in enumerate(poses) if pose_error(pose, right * wrong)[0] < 1e-6)
    if wrong.translation.any():
        assert reached * 0.05 == pytest.approx(seconds, abs=0.06)


def test_another_place_is_reached_at_once() -> None:
    buffer = filled()
    map_odom = MapOdom(buffer, max_speed=0.5)
    map_odom.add(at_ms(1000), map_from_base(1.0))
    map_odom.at(at_ms(1000))
    elsewhere = Rigid3d(Rotation3d(), np.array([40.0, 0, 0])) * map_from_base(1.1)
    map_odom.add(at_ms(1100), elsewhere)
    found = map_odom.at(at_ms(1150))
    assert found is not None
    assert pose_error(found * odom_from_base(1.1), elsewhere)[0] < 0.01


def test_two_d_mode_has_neither_height_nor_tilt() -> None:
    buffer = OdometryBuffer()
    tilted = Rigid3d(Rotation3d(np.array([0.05, -0.1, 0.0])), np.array([0.0, 0.0, 0.4]))
    for ms in (0, 100):
        buffer.add(odometry_message(at_ms(ms), odom_from_base(ms / 1000) * tilted))
    map_odom = MapOdom(buffer, two_d=True)
    seen = Rigid3d(Rotation3d(), np.array([0, 0, 7.0])) * map_from_base(0.1) * tilted
    map_odom.add(at_ms(100), seen)
    found = map_odom.at(at_ms(150))
    assert found is not None
    assert pose_error(planar(found), found) == pytest.approx((0, 0), abs=1e-9)
    assert pose_error(found * planar(odom_from_base(0.1) * tilted), planar(seen)) == pytest.approx((0, 0), abs=1e-5)
