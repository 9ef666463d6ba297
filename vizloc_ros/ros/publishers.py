"""Publishers of ``path``, ``localization/fault``, ``/tf`` and ``/tf_static``."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from geometry_msgs.msg import PoseStamped, TransformStamped
from nav_msgs.msg import Path
from pycolmap import Rigid3d
from std_msgs.msg import Header, String

from vizloc_ros.ros.extrinsics import tf_message_type
from vizloc_ros.ros.messages import pose_to_msg, transform_to_msg
from vizloc_ros.ros.qos import STATE, TF, TF_STATIC


class PathPublisher:
    """Publisher of the last poses, once a second if they changed; of none without a publisher. Thread-safe."""

    def __init__(self, node: Any, publisher: Any, length: int) -> None:
        self._poses: deque[PoseStamped] = deque(maxlen=length)
        self._changed = False
        self._lock = threading.Lock()
        self._node, self._publisher = node, publisher
        if publisher is not None:
            node.create_timer(1.0, self._publish, clock=node.diagnostics.clock)

    def add(self, pose: Rigid3d, header: Header) -> None:
        """Add the newest pose in the header's frame."""
        stamped = PoseStamped(header=header, pose=pose_to_msg(pose))
        with self._lock:
            self._poses.append(stamped)
            self._changed = True

    def clear(self) -> None:
        """Remove all poses."""
        with self._lock:
            self._poses.clear()

    def _publish(self) -> None:
        if not self._publisher.get_subscription_count():
            return
        with self._lock:
            poses, changed, self._changed = list(self._poses), self._changed, False
        if poses and changed:
            self._node.diagnostics.send(self._publisher, Path(header=poses[-1].header, poses=poses))


class TransformPublisher:
    """Publisher of ``/tf``, or of a transform that never changes on ``/tf_static``, for a node with diagnostics."""

    def __init__(self, node: Any, *, static: bool = False) -> None:
        self._node, self._type = node, tf_message_type()
        self._publisher = (
            node.create_publisher(self._type, "/tf_static", TF_STATIC)
            if static
            else node.create_publisher(self._type, "/tf", TF)
        )

    def publish(self, parent_from_child: Rigid3d, header: Header, child: str) -> None:
        """Publish the pose of a child in the header's frame."""
        transform = TransformStamped(header=header, child_frame_id=child, transform=transform_to_msg(parent_from_child))
        self._node.diagnostics.send(self._publisher, self._type(transforms=[transform]))


class FaultPublisher:
    """Publisher of ``localization/fault``: the reason for which no pose can be trusted, latched; empty without one."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._reason: str | None = None  # not even that there is none: a listener may have one of before
        self._publisher = node.create_publisher(String, "localization/fault", STATE)

    def publish(self, reason: str) -> None:
        """Publish the reason if it is another one than before."""
        if reason != self._reason:
            self._reason = reason
            self._node.diagnostics.send(self._publisher, String(data=reason))
