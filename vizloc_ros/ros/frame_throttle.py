"""Throttle of the feature node while the tracker tracks: then the localizer only checks the track now and then.

While the tracker says that the camera is frozen, no image passes: the localizer cannot tell by itself.
"""

from __future__ import annotations

import time
from typing import Any

from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.tracker_watch import TrackerWatch


class FrameThrottle:
    """Filter of the images on their way to a node's worker: all, one per period while the tracker tracks, or none.

    For the executor's thread only.
    """

    def __init__(self, node: PipelineNode, period: float) -> None:
        """Subscribe to the tracker's state.

        Args:
            node: the node that the images are submitted to.
            period: minimum time between two images while the tracker tracks [s]; 0 passes all on.
        """
        self._node, self._period = node, period
        self._submit_time = 0.0
        node.diagnostics.count("throttled", 0)
        self._tracker = TrackerWatch(node)

    def submit_if_due(self, msg: Any) -> None:
        """Submit an image to the node's worker, or count it as ``throttled``."""
        now = time.monotonic()
        rests = self._tracker.is_tracking and now - self._submit_time < self._period
        if rests or self._tracker.is_frozen:
            self._node.diagnostics.count("received")
            self._node.diagnostics.count("throttled")
            return
        self._submit_time = now
        self._node.submit(msg)
