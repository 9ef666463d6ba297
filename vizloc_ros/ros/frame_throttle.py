"""Throttle of the feature node where the tracker needs the cores more: while it tracks, and while it begins.

While it tracks, the localizer only checks the track now and then. While it says that the camera is frozen, no image
passes: the localizer cannot tell by itself.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped

from vizloc_ros.ros.messages import stamp_to_ns
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import POSE
from vizloc_ros.ros.tracker_watch import TrackerWatch
from vizloc_ros.timing import NANOSECONDS

_TO_BEGIN = 2  # images whose localizations a track begins with
_BEGINNING_NS = round(0.4 * NANOSECONDS)  # from the first of these localizations on
_AGAIN_NS = 2 * NANOSECONDS  # before the next rest: a tracker that cannot begin must not slow the localizer down
_SAME_INSTANT_NS = 20_000_000  # of cameras of one vehicle


class FrameThrottle:
    """Filter of the images on their way to a node's worker: all, one per period while the tracker tracks, or none.

    Once an image is localized, and another one on its way, none pass for a moment: the tracker begins with them. It has
    images to catch up with, and more localizations would only keep it from that.

    Periods are those of the stamps, so that cameras of one vehicle pass their images of the same instant. For the
    executor's thread only.
    """

    def __init__(self, node: PipelineNode, period: float) -> None:
        """Subscribe to the tracker's state and the localizer's poses.

        Args:
            node: the node that the images are submitted to.
            period: time in which one image passes while the tracker tracks [s]; 0 passes all on.
        """
        self._node, self._period_ns = node, max(round(period * NANOSECONDS), 1)
        self._passed = -1  # number of the period of the last image that passed
        node.diagnostics.count("throttled", 0)
        self._tracker = TrackerWatch(node)
        self._last: deque[int] = deque(maxlen=_TO_BEGIN)  # stamps of the last images that passed
        self._begun_with, self._begun_ns = -1, -_AGAIN_NS  # stamp of a localized image, and when that was heard of
        node.create_subscription(PoseWithCovarianceStamped, "localization/pose", self._on_localization, POSE)

    def submit_if_due(self, msg: Any) -> None:
        """Submit an image to the node's worker, or count it as ``throttled``."""
        period = stamp_to_ns(msg.header.stamp) // self._period_ns
        rests = self._tracker.is_tracking and period == self._passed
        if rests or self._tracker.is_frozen or self._begins:
            self._node.diagnostics.count("received")
            self._node.diagnostics.count("throttled")
            return
        self._passed = period
        self._last.append(stamp_to_ns(msg.header.stamp))
        self._node.submit(msg)

    @property
    def _begins(self) -> bool:
        """True while the tracker begins a track, and for a moment after that: some images still wait for it."""
        is_over = time.monotonic_ns() - self._begun_ns >= _BEGINNING_NS
        if self._period_ns == 1 or is_over or not self._tracker.is_there:
            return False
        return sum(stamp >= self._begun_with - _SAME_INSTANT_NS for stamp in self._last) >= _TO_BEGIN

    def _on_localization(self, msg: PoseWithCovarianceStamped) -> None:
        if not self._tracker.is_tracking and (now_ns := time.monotonic_ns()) - self._begun_ns >= _AGAIN_NS:
            self._begun_with, self._begun_ns = stamp_to_ns(msg.header.stamp), now_ns
