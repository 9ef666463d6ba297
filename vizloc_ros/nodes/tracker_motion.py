"""Sensors that tell the tracker how the vehicle has moved between images: odometry and a gyroscope, both optional."""

from __future__ import annotations

from pycolmap import Rigid3d

from vizloc_ros.pixloc.gyroscope import Attitude
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.ros.extrinsics import CameraExtrinsics
from vizloc_ros.ros.gyroscope_buffer import GyroscopeInput
from vizloc_ros.ros.node_options import TrackerNodeOptions
from vizloc_ros.ros.odometry_buffer import subscribe_to_odometry
from vizloc_ros.ros.pipeline_node import PipelineNode


class MotionSensors:
    """Odometry on ``odom`` and angular rates on ``imu``, each if its option says so.

    Attributes:
        odometry: buffer of the odometry; None if it is not used.
    """

    def __init__(self, node: PipelineNode, options: TrackerNodeOptions) -> None:
        self._node = node
        self.odometry = subscribe_to_odometry(node) if options.use_odometry else None
        self._gyroscope = GyroscopeInput(node) if options.use_imu else None

    def at(
        self, stamp_ns: int, base_from_rig: Rigid3d, extrinsics: CameraExtrinsics
    ) -> tuple[Rigid3d | None, Attitude | None]:
        """Pose odom_from_rig and attitude of the rig at the time of an image, as of ``Frame``; None if not known."""
        odom_from_base = None if self.odometry is None else self.odometry.at(stamp_ns)
        odom_from_rig = None if odom_from_base is None else odom_from_base * base_from_rig
        gyroscope = self._gyroscope
        attitude = None if gyroscope is None else gyroscope.attitude(stamp_ns, base_from_rig, extrinsics.of_sensor)
        return odom_from_rig, attitude

    def report(self, tracker: Tracker) -> None:
        """Say what the tracker leaves out because the images contradict it."""
        if self.odometry is not None and tracker.odometry.problem:
            self._node.diagnostics.notice(tracker.odometry.problem)
        if self._gyroscope is not None and tracker.gyroscope.problem:
            self._node.diagnostics.notice(tracker.gyroscope.problem)
