"""Throttle of the feature node while the tracker tracks: then the localizer only checks the track now and then.

While the tracker says that the camera is frozen, no image passes: the localizer cannot tell by itself.
"""

from __future__ import annotations

from typing import Any

from vizloc_ros.ros.messages import stamp_to_ns
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.tracker_watch import TrackerWatch
from vizloc_ros.timing import NANOSECONDS


class FrameThrottle:
    """Filter of the images on their way to a node's worker: all, one per period while the tracker tracks, or none.

    Periods are those of the stamps, so that cameras of one vehicle pass their images of the same instant. For the
    executor's thread only.
    """

    def __init__(self, node: PipelineNode, period: float) -> None:
        """Subscribe to the tracker's state.

        Args:
            node: the node that the images are submitted to.
            period: time in which one image passes while the tracker tracks [s]; 0 passes all on.
        """
        self._node, self._period_ns = node, max(round(period * NANOSECONDS), 1)
        self._passed = -1  # number of the period of the last image that passed
        node.diagnostics.count("throttled", 0)
        self._tracker = TrackerWatch(node)

    def submit_if_due(self, msg: Any) -> None:
        """Submit an image to the node's worker, or count it as ``throttled``."""
        period = stamp_to_ns(msg.header.stamp) // self._period_ns
        rests = self._tracker.is_tracking and period == self._passed
        if rests or self._tracker.is_frozen:
            self._node.diagnostics.count("received")
            self._node.diagnostics.count("throttled")
            return
        self._passed = period
        self._node.submit(msg)
