"""Publishes a pose on ``/tf``, without tf2_ros."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import TransformStamped
from pycolmap import Rigid3d
from std_msgs.msg import Header

from vizloc_ros.nodes.conversions import transform_to_msg
from vizloc_ros.nodes.qos import TF
from vizloc_ros.nodes.static_transforms import tf_message_type


class TransformPublisher:
    """A publisher of ``/tf`` that belongs to a node with diagnostics."""

    def __init__(self, node: Any) -> None:
        self._node, self._type = node, tf_message_type()
        self._publisher = node.create_publisher(self._type, "/tf", TF)

    def publish(self, parent_from_child: Rigid3d, header: Header, child: str) -> None:
        """Publishes the pose of a child in the header's frame."""
        transform = TransformStamped(header=header, child_frame_id=child, transform=transform_to_msg(parent_from_child))
        self._node.diagnostics.send(self._publisher, self._type(transforms=[transform]))
