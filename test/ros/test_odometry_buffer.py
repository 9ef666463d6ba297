"""Odometry at the times of images, which mostly arrive before the odometry of their time."""

import numpy as np
import pytest
from nav_msgs.msg import Odometry

from vizloc_ros.errors import RosError
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.ros.messages import header_of, pose_to_msg
from vizloc_ros.ros.odometry_buffer import OdometryBuffer

pytestmark = pytest.mark.ros
TWIST = np.array([5.0, 0.0, 0.0, 0.0, 0.0, 0.3])  # m/s, rad/s
START_NS, PERIOD_NS = 10**12, 20_000_000


def message(seconds: float) -> Odometry:
    msg = Odometry(header=header_of(START_NS + round(seconds * 1e9), "wheels"))
    msg.pose.pose = pose_to_msg(se3_exp(TWIST * seconds))
    return msg


@pytest.fixture
def buffer() -> OdometryBuffer:
    filled = OdometryBuffer()
    for i in range(6):
        filled.add(message(i * 0.02))
    return filled


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.031, 0.1, 0.13, 0.29])
def test_a_steady_motion_is_known_between_messages_and_a_little_later(buffer: OdometryBuffer, seconds: float) -> None:
    found = buffer.at(START_NS + round(seconds * 1e9))
    assert found is not None
    assert pose_error(found, se3_exp(TWIST * seconds)) == pytest.approx((0, 0), abs=1e-6)
    assert buffer.frame == "wheels"


@pytest.mark.parametrize("seconds", [-0.01, 0.31, 100.0])
def test_nothing_is_made_up(buffer: OdometryBuffer, seconds: float) -> None:
    assert buffer.at(START_NS + round(seconds * 1e9)) is None


def test_one_message_is_only_for_its_own_time() -> None:
    buffer = OdometryBuffer()
    assert buffer.at(START_NS) is None
    buffer.add(message(0.0))
    assert buffer.at(START_NS) is not None
    assert buffer.at(START_NS + 1) is None


def test_a_clock_that_jumps_back_empties_the_buffer(buffer: OdometryBuffer) -> None:
    buffer.add(message(-5.0))
    assert buffer.starts == 1
    assert buffer.at(START_NS + PERIOD_NS) is None


@pytest.mark.parametrize("seconds", [0.1, 0.09])
def test_what_comes_twice_or_late_changes_nothing(buffer: OdometryBuffer, seconds: float) -> None:
    starts, late = buffer.starts, message(seconds)
    late.pose.pose.position.x += 1.0
    buffer.add(late)
    found = buffer.at(START_NS + 95_000_000)
    assert found is not None
    assert pose_error(found, se3_exp(TWIST * 0.095)) == pytest.approx((0, 0), abs=1e-6)
    assert buffer.starts == starts


@pytest.mark.parametrize(("seconds", "known"), [(0.0, True), (0.07, True), (0.1, True), (0.11, False), (-0.01, False)])
def test_between_two_messages_nothing_is_extrapolated(buffer: OdometryBuffer, seconds: float, known: bool) -> None:
    found = buffer.between(START_NS + round(seconds * 1e9))
    assert (found is not None) == known
    if found is not None:
        assert pose_error(found, se3_exp(TWIST * seconds)) == pytest.approx((0, 0), abs=1e-6)


def test_what_is_no_pose_is_refused(buffer: OdometryBuffer) -> None:
    broken = message(0.12)
    broken.pose.pose.position.x = float("nan")
    with pytest.raises(RosError, match="are no pose"):
        buffer.add(broken)
