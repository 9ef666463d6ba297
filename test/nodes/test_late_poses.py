"""The localizer's poses of late images are found out by the odometry since the tracker's last pose."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from pycolmap import Rigid3d, Rotation3d
from swerving_drive import MAP_FROM_ODOM, odometry_message

from vizloc_ros.nodes.late_poses import LatePoses
from vizloc_ros.ros.messages import header_of, pose_with_covariance_to_msg
from vizloc_ros.ros.odometry_buffer import OdometryBuffer
from vizloc_ros.ros.pipeline_node import PipelineNode

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
START_NS = 1_000 * SECOND
COVARIANCE = np.diag([1e-4] * 3 + [1e-6] * 3)


class Subscriptions:
    """A node that keeps the callbacks of its topics."""

    def __init__(self) -> None:
        self.of: dict[str, Callable[[Any], None]] = {}

    def create_subscription(self, kind: type, topic: str, callback: Callable[[Any], None], qos: object) -> None:
        self.of[topic] = callback


class Vehicle:
    """A vehicle with odometry at 50 Hz, and a tracker that has had a pose ten times a second until it is lost."""

    def __init__(self) -> None:
        self.odometry, node = OdometryBuffer(), Subscriptions()
        self.poses = LatePoses(cast(PipelineNode, node), self.odometry)
        self._on_tracked = node.of["pose"]

    @staticmethod
    def at(seconds: float) -> Rigid3d:
        """Pose map_from_base: 5 m/s along a bend."""
        turn = 0.3 * seconds
        position = np.array([np.sin(turn), 1 - np.cos(turn), 0.0]) * 5.0 / 0.3
        return Rigid3d(Rotation3d(np.array([0.0, 0.0, turn])), position)

    def drive(self, seconds: float, until: float, tracked_until: float = 0.0) -> None:
        for tick in range(round(50 * seconds), round(50 * until)):
            stamp_ns = START_NS + tick * SECOND // 50
            pose = self.at(tick / 50)
            self.odometry.add(odometry_message(stamp_ns, MAP_FROM_ODOM.inverse() * pose))
            if tick % 5 == 0 and tick / 50 < tracked_until:
                self._on_tracked(pose_with_covariance_to_msg(pose, COVARIANCE, header_of(stamp_ns, "map")))

    def check(self, seconds: float, lag: float) -> str:
        return self.poses.check(self.at(seconds - lag), COVARIANCE, START_NS + round(seconds * SECOND))


@pytest.mark.parametrize("lag", [0.3, 0.5, 1.0, 2.0])
def test_the_first_pose_after_a_loss_is_withheld_until_images_are_live(lag: float) -> None:
    vehicle = Vehicle()
    vehicle.drive(0.0, 7.0, tracked_until=3.0)
    for seconds in (3.6, 3.8, 4.5):
        assert vehicle.check(seconds, lag).startswith(f"images look {lag:.1f} s older than their stamps")
    for seconds in (5.0, 5.3):
        assert vehicle.check(seconds, 0.0) == ""


def test_without_a_tracker_two_poses_prove_the_odometry() -> None:
    vehicle = Vehicle()
    vehicle.drive(0.0, 7.0)
    assert [vehicle.check(seconds, 0.0) for seconds in (1.0, 2.0)] == ["", ""]
    assert vehicle.check(2.5, 1.0).startswith("images look 1.0 s older")


def test_one_pose_proves_nothing() -> None:
    vehicle = Vehicle()
    vehicle.drive(0.0, 7.0)
    assert vehicle.check(2.0, 0.0) == ""
    assert vehicle.check(2.5, 1.0) == ""


def test_a_reset_and_odometry_that_begins_anew_end_it() -> None:
    vehicle = Vehicle()
    vehicle.drive(0.0, 7.0, tracked_until=3.0)
    assert vehicle.check(3.6, 1.0)
    vehicle.poses.forget()
    assert vehicle.check(3.8, 1.0) == ""

    other = Vehicle()
    other.drive(0.0, 7.0, tracked_until=3.0)
    assert other.check(3.6, 1.0)
    other.drive(0.0, 3.9)
    assert other.check(3.8, 1.0) == ""


def test_a_message_that_is_no_pose_is_left_out() -> None:
    vehicle = Vehicle()
    vehicle.drive(0.0, 3.0, tracked_until=3.0)
    broken = PoseWithCovarianceStamped(header=header_of(START_NS + 3 * SECOND, "map"))
    broken.pose.pose.position.x = float("nan")
    vehicle._on_tracked(broken)
    vehicle.drive(3.0, 5.0)
    assert vehicle.check(3.6, 1.0)
