"""Odometry of the vehicle at the times of images."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque

from nav_msgs.msg import Odometry
from pycolmap import Rigid3d

from vizloc_ros.geometry.se3 import interpolated
from vizloc_ros.ros.messages import pose_from_msg, stamp_to_ns

_MAX_EXTRAPOLATION_NS = 200_000_000


class OdometryBuffer:
    """Buffer of the last poses odom_from_base. Thread-safe.

    Attributes:
        frame: name of the odometry's frame.
    """

    def __init__(self, length: int = 1000) -> None:
        self._poses: deque[tuple[int, Rigid3d]] = deque(maxlen=length)
        self._lock = threading.Lock()
        self.frame = "odom"

    def add(self, msg: Odometry) -> None:
        """Add the next message; one older than the newest empties the buffer first.

        Raises ``RosError`` for an invalid pose.
        """
        stamp, pose = stamp_to_ns(msg.header.stamp), pose_from_msg(msg.pose.pose)
        with self._lock:
            if self._poses and stamp <= self._poses[-1][0]:
                self._poses.clear()
            self._poses.append((stamp, pose))
            self.frame = msg.header.frame_id or self.frame

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
