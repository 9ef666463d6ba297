"""Poses of late images: the localizer's, checked by the odometry since the last poses of the tracker and of its own."""

from __future__ import annotations

import threading
from contextlib import suppress

from geometry_msgs.msg import PoseWithCovarianceStamped
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.errors import RosError
from vizloc_ros.geometry.covariance import position_and_rotation_std
from vizloc_ros.pixloc.late_images import LateImages
from vizloc_ros.pixloc.motion import KnownPose
from vizloc_ros.ros.messages import covariance_from_msg, pose_from_msg, stamp_to_ns
from vizloc_ros.ros.odometry_buffer import OdometryBuffer
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import POSE


class LatePoses:
    """Check of poses map_from_base against the odometry, see ``LateImages``. Thread-safe.

    While the tracker tracks, the localizer rests. So the tracker's poses on ``pose`` are checked, too: the first pose
    of the localizer after a loss is compared with the tracker's last one.
    """

    def __init__(self, node: PipelineNode, odometry: OdometryBuffer) -> None:
        self._odometry, self._starts = odometry, odometry.starts
        self._lock = threading.Lock()
        self._images = LateImages()
        self._noted_ns = 0
        node.create_subscription(PoseWithCovarianceStamped, "pose", self._on_tracked, POSE)

    def forget(self) -> None:
        """Forget everything, as after a jump of the clock."""
        with self._lock:
            self._forget()

    def check(self, map_from_base: Rigid3d, covariance: Float64, stamp_ns: int) -> str:
        """Check a pose of the time of its image [ns]; return the reason to withhold it, empty for a live one."""
        with self._lock:
            if self._odometry.starts != self._starts:
                self._forget()
            for at_ns, odom_from_base in self._odometry.since(self._noted_ns):
                self._images.note(at_ns, odom_from_base)
                self._noted_ns = at_ns
            std = position_and_rotation_std(covariance)
            return self._images.check(KnownPose(map_from_base, stamp_ns, self._odometry.at(stamp_ns), *std))

    def _forget(self) -> None:
        self._images.reset()
        self._noted_ns, self._starts = 0, self._odometry.starts

    def _on_tracked(self, msg: PoseWithCovarianceStamped) -> None:
        with suppress(RosError):  # of someone else on the topic: the tracker publishes no pose that is none
            self.check(pose_from_msg(msg.pose.pose), covariance_from_msg(msg), stamp_to_ns(msg.header.stamp))
