"""Transforms of a node that publishes poses on ``/tf``: the vehicle in the map, or the correction of its odometry."""

from __future__ import annotations

from pycolmap import Rigid3d
from std_msgs.msg import Header

from vizloc_ros.geometry.poses import planar
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.map_odom import MapOdom
from vizloc_ros.ros.messages import header_of, stamp_to_ns
from vizloc_ros.ros.node_options import PoseNodeOptions
from vizloc_ros.ros.odometry_buffer import OdometryBuffer
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.publishers import TransformPublisher
from vizloc_ros.timing import NANOSECONDS


class TransformOutput:
    """Transforms of the verified poses; none unless ``publish_tf`` is set. Thread-safe.

    Without odometry, each pose is map -> base_frame at the time of its image. With odometry, map -> odom is published
    at a steady rate, whether images come or not. It is stamped ahead by ``transform_tolerance``: tf2 does not
    extrapolate, and whoever asks for the present needs a transform before and one after it.
    """

    def __init__(self, node: PipelineNode, options: PoseNodeOptions, odometry: OdometryBuffer | None) -> None:
        self._node, self._options, self._odometry = node, options, odometry
        self._publisher = TransformPublisher(node) if options.publish_tf else None
        self._frame, self._last_ns = "", 0
        self._map_odom: MapOdom | None = None
        if self._publisher is not None and odometry is not None:
            self._map_odom = MapOdom(odometry, two_d=options.two_d_mode, max_speed=options.max_correction_speed)
            node.create_timer(1 / options.tf_rate, self._publish_map_odom)

    def add(self, map_from_base: Rigid3d, header: Header) -> None:
        """Add the newest verified pose, in the frame and of the time of its header."""
        self._frame = header.frame_id
        if self._map_odom is not None:
            self._map_odom.add(stamp_to_ns(header.stamp), map_from_base)
        elif self._publisher is not None:
            pose = planar(map_from_base) if self._options.two_d_mode else map_from_base
            self._publisher.publish(pose, header, self._options.base_frame)

    def forget(self) -> None:
        """Publish nothing until the next pose, as after a jump of the clock."""
        if self._map_odom is not None:
            self._map_odom.forget()

    def _publish_map_odom(self) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        map_odom, odometry = self._map_odom, self._odometry
        if map_odom is None or odometry is None or self._publisher is None or now_ns == self._last_ns:
            return  # a second transform of one time is refused by some versions of tf2
        self._last_ns = now_ns
        map_from_odom = map_odom.at(now_ns)
        if map_odom.problem:
            self._node.diagnostics.report(Level.WARN, map_odom.problem)
        if map_from_odom is not None:
            ahead_ns = round(self._options.transform_tolerance * NANOSECONDS)
            self._publisher.publish(map_from_odom, header_of(now_ns + ahead_ns, self._frame), odometry.frame)
