"""Input of a node by instants: what its cameras give is joined and goes to its worker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.rig_join import Instant, RigJoin
from vizloc_ros.timing import NANOSECONDS

_LOOKS = 4  # for instants that are over, within the time that they wait
_SHORTEST_LOOK = 0.005  # s


class InstantInput:
    """Join of a node's cameras, of which each ``Instant`` goes to the node's worker. One camera alone does not wait."""

    def __init__(self, node: PipelineNode, cameras: Sequence[str], tolerance: float, wait: float) -> None:
        """Begin with nothing.

        Args:
            node: the node.
            cameras: names of the cameras.
            tolerance: of several cameras, maximum difference of the stamps of one instant [s].
            wait: of several cameras, maximum time to wait for the others after the first item [s].
        """
        self._node, self._is_rig = node, len(cameras) > 1
        self._join = RigJoin(cameras, round(tolerance * NANOSECONDS) if self._is_rig else 0, wait)
        if self._is_rig:
            node.create_timer(max(wait / _LOOKS, _SHORTEST_LOOK), self._look, clock=node.diagnostics.clock)

    def add(self, camera: str, stamp_ns: int, item: Any) -> None:
        """Add what a camera gives for an instant."""
        self._submit(self._join.add(camera, stamp_ns, item, time.monotonic()))

    def reset(self) -> None:
        """Forget what waits, as after a jump of the clock."""
        self._join.reset()

    def _look(self) -> None:
        self._submit(self._join.due(time.monotonic()))

    def _submit(self, instants: Sequence[Instant]) -> None:
        for instant in instants:
            self._node.submit(instant)
        if instants and self._is_rig:
            for counts, words in ((self._join.without, "instants_without"), (self._join.late, "late")):
                for camera, count in counts.items():
                    self._node.diagnostics.set_value(f"{words}_{camera}", count)
