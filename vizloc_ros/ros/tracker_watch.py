"""Watch of the tracker's state, for nodes that work otherwise while it tracks."""

from __future__ import annotations

import time

from std_msgs.msg import String

from vizloc_ros.pixloc.tracking import TrackerState
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import STATE

_TIMEOUT = 1.0  # s; a tracker that has died sends no state


class TrackerWatch:
    """Latest state on the topic ``tracker/state``; any thread may ask."""

    def __init__(self, node: PipelineNode) -> None:
        """Subscribe, with a node that is not spinning yet."""
        self._heard: tuple[str, float] = "", -_TIMEOUT
        node.create_subscription(String, "tracker/state", self._on_state, STATE)

    @property
    def is_tracking(self) -> bool:
        """True if the tracker said so within the last second."""
        return self._is(TrackerState.TRACKING)

    @property
    def is_there(self) -> bool:
        """True if the tracker said anything within the last second."""
        return time.monotonic() - self._heard[1] < _TIMEOUT

    @property
    def is_frozen(self) -> bool:
        """True if the tracker said within the last second that the images are not live."""
        return self._is(TrackerState.FROZEN)

    def _is(self, state: TrackerState) -> bool:
        said, heard = self._heard
        return said == state.value and time.monotonic() - heard < _TIMEOUT

    def _on_state(self, msg: String) -> None:
        self._heard = msg.data, time.monotonic()
