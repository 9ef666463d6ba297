"""The way travelled, for RViz: published once a second at most, and only while somebody looks."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from pycolmap import Rigid3d
from std_msgs.msg import Header

from vizloc_ros.nodes.conversions import pose_to_msg


class PathPublisher:
    """Keeps the last poses; ``add`` and ``clear`` may be called from any thread."""

    def __init__(self, node: Any, publisher: Any, length: int) -> None:
        self._poses: deque[PoseStamped] = deque(maxlen=length)
        self._changed = False
        self._lock = threading.Lock()
        self._node, self._publisher = node, publisher
        if length:
            node.create_timer(1.0, self._publish, clock=node.diagnostics.clock)

    def add(self, pose: Rigid3d, header: Header) -> None:
        """Adds the newest pose."""
        stamped = PoseStamped(header=header, pose=pose_to_msg(pose))
        with self._lock:
            self._poses.append(stamped)
            self._changed = True

    def clear(self) -> None:
        """Starts afresh."""
        with self._lock:
            self._poses.clear()

    def _publish(self) -> None:
        if not self._publisher.get_subscription_count():
            return
        with self._lock:
            poses, changed, self._changed = list(self._poses), self._changed, False
        if poses and changed:
            self._node.diagnostics.send(self._publisher, Path(header=poses[-1].header, poses=poses))
