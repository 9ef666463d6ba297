"""Odometry of the vehicle at the times of images."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque

from nav_msgs.msg import Odometry
from pycolmap import Rigid3d

from vizloc_ros.errors import RosError
from vizloc_ros.geometry.se3 import interpolated
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.messages import pose_from_msg, stamp_to_ns
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import SENSOR
from vizloc_ros.ros.stamp_guard import RESET_AFTER_NS

_MAX_EXTRAPOLATION_NS = 200_000_000
_MAX_GAP_NS = 500_000_000  # between two messages, over which a pose is interpolated


class OdometryBuffer:
    """Buffer of the last poses odom_from_base. Thread-safe.

    Attributes:
        frame: name of the odometry's frame.
        starts: number of times that it began anew, as after a clock that jumped back.
    """

    def __init__(self, length: int = 1000) -> None:
        self._poses: deque[tuple[int, Rigid3d]] = deque(maxlen=length)
        self._lock = threading.Lock()
        self.frame, self.starts = "odom", 0

    def add(self, msg: Odometry) -> None:
        """Add the next message. One out of order is ignored; one a second older than the newest empties the buffer.

        Raises ``RosError`` for an invalid pose.
        """
        stamp, pose = stamp_to_ns(msg.header.stamp), pose_from_msg(msg.pose.pose)
        with self._lock:
            if self._poses and stamp <= (newest := self._poses[-1][0]):
                if newest - stamp < RESET_AFTER_NS:
                    return
                self._poses.clear()
                self.starts += 1
            self._poses.append((stamp, pose))
            self.frame = msg.header.frame_id or self.frame

    @property
    def newest(self) -> tuple[int, Rigid3d] | None:
        """Time [ns] and pose of the last message; None before the first."""
        with self._lock:
            return self._poses[-1] if self._poses else None

    def since(self, stamp_ns: int) -> list[tuple[int, Rigid3d]]:
        """Times [ns] and poses of the messages after a time."""
        with self._lock:
            return [entry for entry in self._poses if entry[0] > stamp_ns]

    def between(self, stamp_ns: int) -> Rigid3d | None:
        """Pose odom_from_base at a time between two messages; None outside of them, and in a gap of half a second."""
        with self._lock:
            poses = list(self._poses)
        after = bisect_left(poses, stamp_ns, key=lambda entry: entry[0])
        if after < len(poses) and poses[after][0] == stamp_ns:
            return poses[after][1]
        if not 0 < after < len(poses):
            return None
        (start, first), (end, second) = poses[after - 1], poses[after]
        return interpolated(first, second, (stamp_ns - start) / (end - start)) if end - start <= _MAX_GAP_NS else None

    def at(self, stamp_ns: int) -> Rigid3d | None:
        """Pose odom_from_base at a time; None outside of the buffered odometry.

        Between two messages it is interpolated. A camera's image mostly arrives before the odometry of its time, so the
        last motion is extrapolated for up to 0.2 s.
        """
        with self._lock:
            poses = list(self._poses)
        index = bisect_left(poses, stamp_ns, key=lambda entry: entry[0])
        if index < len(poses) and poses[index][0] == stamp_ns:
            return poses[index][1]
        is_newest = index == len(poses)
        if index == 0 or len(poses) < 2 or (is_newest and stamp_ns - poses[-1][0] > _MAX_EXTRAPOLATION_NS):
            return None
        (before_ns, before), (after_ns, after) = poses[index - 1 - is_newest], poses[index - is_newest]
        return interpolated(before, after, (stamp_ns - before_ns) / (after_ns - before_ns))


def subscribe_to_odometry(node: PipelineNode) -> OdometryBuffer:
    """Buffer of what comes on ``odom``; what is no pose there is reported."""
    buffer = OdometryBuffer()

    def on_odometry(msg: Odometry) -> None:
        try:
            buffer.add(msg)
        except RosError as error:
            node.diagnostics.report(Level.WARN, f"odom: {error}")

    node.create_subscription(Odometry, "odom", on_odometry, SENSOR)
    return buffer
