"""The vehicle's odometry at the times of images."""

import threading
from bisect import bisect_left
from collections import deque

from nav_msgs.msg import Odometry
from pycolmap import Rigid3d

from vizloc_ros.geometry.se3 import se3_exp, se3_log
from vizloc_ros.nodes.conversions import pose_from_msg, stamp_to_ns


class OdometryBuffer:
    """Keeps the last poses odom_from_base. Thread-safe."""

    def __init__(self, length: int = 1000) -> None:
        self._poses: deque[tuple[int, Rigid3d]] = deque(maxlen=length)
        self._lock = threading.Lock()
        self.frame = "odom"

    def add(self, msg: Odometry) -> None:
        """Takes the next message; one that is older than the newest begins anew. Raises ``RosError`` for no pose."""
        stamp, pose = stamp_to_ns(msg.header.stamp), pose_from_msg(msg.pose.pose)
        with self._lock:
            if self._poses and stamp <= self._poses[-1][0]:
                self._poses.clear()
            self._poses.append((stamp, pose))
            self.frame = msg.header.frame_id or self.frame

    def at(self, stamp_ns: int) -> Rigid3d | None:
        """Pose odom_from_base at a time between two messages; None where there are none."""
        with self._lock:
            poses = list(self._poses)
        index = bisect_left(poses, stamp_ns, key=lambda entry: entry[0])
        if index == len(poses):
            return None
        after_ns, after = poses[index]
        if after_ns == stamp_ns or index == 0:
            return after if after_ns == stamp_ns else None
        before_ns, before = poses[index - 1]
        share = (stamp_ns - before_ns) / (after_ns - before_ns)
        return before * se3_exp(share * se3_log(before.inverse() * after))
