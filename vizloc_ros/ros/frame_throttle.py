"""Throttle of the feature node while the tracker tracks: then the localizer only checks the track now and then."""

from __future__ import annotations

import time
from typing import Any

from std_msgs.msg import String

from vizloc_ros.pixloc.tracking import TrackerState
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import STATE

_STATE_TIMEOUT = 1.0  # s; a tracker that has died sends no state


class FrameThrottle:
    """Filter of the images on their way to a node's worker: all of them, or one per period while the tracker tracks.

    For the executor's thread only.
    """

    def __init__(self, node: PipelineNode, period: float) -> None:
        """Subscribe to the tracker's state.

        Args:
            node: the node that the images are submitted to.
            period: minimum time between two images while the tracker tracks [s]; 0 passes all on.
        """
        self._node, self._period = node, period
        self._state, self._state_time, self._submit_time = "", 0.0, 0.0
        node.diagnostics.count("throttled", 0)
        if period:
            node.create_subscription(String, "tracker/state", self._on_state, STATE)

    def submit_if_due(self, msg: Any) -> None:
        """Submit an image to the node's worker, or count it as ``throttled``."""
        now = time.monotonic()
        tracking = self._state == TrackerState.TRACKING.value and now - self._state_time < _STATE_TIMEOUT
        if tracking and now - self._submit_time < self._period:
            self._node.diagnostics.count("received")
            self._node.diagnostics.count("throttled")
            return
        self._submit_time = now
        self._node.submit(msg)

    def _on_state(self, msg: String) -> None:
        self._state, self._state_time = msg.data, time.monotonic()
