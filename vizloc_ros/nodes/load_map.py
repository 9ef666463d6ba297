"""Service ``~/load_map`` of the map server: another map while the nodes run, such as that of another floor.

It is answered once every node works with the new map, so that no pose of the map before comes after the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.task import Future
from std_srvs.srv import Trigger

from vizloc_ros.ros.managed_node import text_of

if TYPE_CHECKING:
    from vizloc_ros.nodes.visual_map_server import VisualMapServerNode

_LOOK_SECONDS = 0.02
_Outcome = tuple[bool, str]  # whether the map was loaded, and a text about it
_FOLLOW_SECONDS = 60.0  # networks of another map may have to be built


class LoadMapService:
    """Service that loads the map of ``map_path`` in a worker; one call at a time."""

    def __init__(self, node: VisualMapServerNode) -> None:
        """Offer the service, in every state of the node."""
        self._node = node
        self._worker = node.add_worker("load_map", self._load)
        self._until: Callable[[], bool] = lambda: True
        self._deadline = 0.0
        self._waiting: Future | None = None
        self._timer = node.create_timer(_LOOK_SECONDS, self._look, clock=node.diagnostics.clock)
        self._timer.cancel()
        # A call that waits holds its group: it must not hold the node's other callbacks.
        group = MutuallyExclusiveCallbackGroup()
        node.create_service(Trigger, "~/load_map", self._answer, callback_group=group)

    async def _answer(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        node = self._node
        if not node.is_active:
            response.message = "visual_map_server is not active: `ros2 lifecycle set /visual_map_server activate`"
            return response
        outcome: list[_Outcome] = []
        self._worker.submit((Path(node.options.map_path), outcome))
        await self._wait(lambda: bool(outcome) or not node.is_active)
        loaded, text = outcome[0] if outcome else (False, "deactivated meanwhile")
        if not loaded:
            response.message = f"{text}; the map before is kept"
            return response
        in_time = await self._wait(self._is_followed, _FOLLOW_SECONDS)
        problems = node.announcement.problems
        if not in_time and not problems:
            problems = [f"{name} has not followed within {_FOLLOW_SECONDS:.0f} s" for name in node.announcement.missing]
        response.success = not problems
        response.message = "; ".join([text, *problems])
        return response

    def _load(self, request: tuple[Path, list[_Outcome]]) -> None:
        """Load the map, in the worker."""
        folder, outcome = request
        try:
            outcome.append((True, self._node.change_map(folder)))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with its files, the caller learns it
            outcome.append((False, text_of(error)))

    def _is_followed(self) -> bool:
        node = self._node
        return not node.is_active or bool(node.announcement.problems) or not node.announcement.missing

    async def _wait(self, until: Callable[[], bool], seconds: float = float("inf")) -> Any:
        """Wait, while the node works on, until a condition holds; return whether it does."""
        self._until, self._deadline = until, time.monotonic() + seconds
        self._waiting = Future()
        self._timer.reset()
        return await self._waiting

    def _look(self) -> None:
        is_over = self._until()
        if self._waiting is not None and (is_over or time.monotonic() > self._deadline):
            self._timer.cancel()
            self._waiting.set_result(is_over)
