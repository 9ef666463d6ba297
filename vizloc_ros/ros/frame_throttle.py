"""Lets the feature node rest while the tracker is sure: the localizer is needed only to check it now and then."""

from __future__ import annotations

import time
from typing import Any

from std_msgs.msg import String

from vizloc_ros.pixloc.tracking import TrackerState
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import STATE

_BELIEVED_FOR = 1.0  # s; a tracker that has died is not sure


class FrameThrottle:
    """Passes on every image, or one in a while. All in the executor's thread."""

    def __init__(self, node: PipelineNode, period: float) -> None:
        """Listens to the tracker's state; ``period`` [s] between images while it tracks, 0 for no rest."""
        self._node, self._period = node, period
        self._state, self._heard, self._passed = "", 0.0, 0.0
        node.diagnostics.count("throttled", 0)
        if period:
            node.create_subscription(String, "tracker/state", self._on_state, STATE)

    def submit_if_due(self, msg: Any) -> None:
        """Hands an image over to the node, or counts it as ``resting``."""
        now = time.monotonic()
        sure = self._state == TrackerState.TRACKING.value and now - self._heard < _BELIEVED_FOR
        if sure and now - self._passed < self._period:
            self._node.diagnostics.count("received")
            self._node.diagnostics.count("throttled")
            return
        self._passed = now
        self._node.submit(msg)

    def _on_state(self, msg: String) -> None:
        self._state, self._heard = msg.data, time.monotonic()
