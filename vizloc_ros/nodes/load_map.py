"""Services of the map server for another map while the nodes run, such as that of another floor.

``~/load_map`` takes the map of the parameter ``map_path``, ``~/load_map_url`` that of its request; the latter is there
where nav2_msgs is installed. They answer once every node works with the new map: no pose of the map before comes after
the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_srvs.srv import Trigger

from vizloc_ros.ros.managed_node import text_of
from vizloc_ros.wording import short_text

if TYPE_CHECKING:
    from vizloc_ros.nodes.visual_map_server import VisualMapServerNode

_LOOK_SECONDS = 0.02
_FOLLOW_SECONDS = 60.0  # networks of another map may have to be built


@dataclass(frozen=True)
class _Outcome:
    """Outcome of a call.

    Attributes:
        loaded: whether the map server has the new map.
        text: text about the map, or why it was not loaded.
        problems: of the nodes that cannot work with the new map.
    """

    loaded: bool
    text: str
    problems: tuple[str, ...] = ()

    @property
    def success(self) -> bool:
        """True if all nodes work with the new map."""
        return self.loaded and not self.problems

    @property
    def message(self) -> str:
        """Text for the caller."""
        return "; ".join([self.text, *self.problems])


class LoadMapService:
    """Services that load a map in a worker; one call at a time."""

    def __init__(self, node: VisualMapServerNode) -> None:
        """Offer the services, in every state of the node."""
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
        with suppress(ImportError):  # it has no wheel
            from nav2_msgs.srv import LoadMap

            node.create_service(LoadMap, "~/load_map_url", self._answer_url, callback_group=group)

    async def _answer(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        outcome = await self._change(Path(self._node.options.map_path))
        response.success, response.message = outcome.success, outcome.message
        return response

    async def _answer_url(self, request: Any, response: Any) -> Any:
        """Answer as nav2's map_server does: by a code. The text goes to the log; an occupancy grid there is none."""
        node, url = self._node, str(request.map_url)
        if (folder := folder_of_url(url)) is None:
            outcome = _Outcome(False, f"there is no such map: {short_text(url, 500)}")
            response.result = response.RESULT_MAP_DOES_NOT_EXIST
        elif (outcome := await self._change(folder)).loaded:
            node.set_parameters([Parameter("map_path", Parameter.Type.STRING, str(folder))])  # for the next configure
            response.result = response.RESULT_SUCCESS if outcome.success else response.RESULT_UNDEFINED_FAILURE
        else:
            response.result = response.RESULT_INVALID_MAP_DATA
        if not outcome.success:
            node.get_logger().error(f"load_map_url: {outcome.message}")
        return response

    async def _change(self, folder: Path) -> _Outcome:
        """Load a map, and wait until all nodes work with it."""
        node = self._node
        if not node.is_active:
            return _Outcome(False, "visual_map_server is not active: `ros2 lifecycle set /visual_map_server activate`")
        outcome: list[_Outcome] = []
        self._worker.submit((folder, outcome))
        await self._wait(lambda: bool(outcome) or not node.is_active)
        found = outcome[0] if outcome else _Outcome(False, "deactivated meanwhile")
        if not found.loaded:
            return replace(found, text=f"{found.text}; the map before is kept")
        in_time = await self._wait(self._is_followed, _FOLLOW_SECONDS)
        problems = node.announcement.problems
        if not in_time and not problems:
            problems = [f"{name} has not followed within {_FOLLOW_SECONDS:.0f} s" for name in node.announcement.missing]
        return replace(found, problems=tuple(problems))

    def _load(self, request: tuple[Path, list[_Outcome]]) -> None:
        """Load the map, in the worker."""
        folder, outcome = request
        try:
            outcome.append(_Outcome(True, self._node.change_map(folder)))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with its files, the caller learns it
            outcome.append(_Outcome(False, text_of(error)))

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


def folder_of_url(url: str) -> Path | None:
    """Folder that a path or a ``file://`` URL of this host names; None if there is none, or for another URL."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
            return None
        folder = Path(unquote(parts.path) if parts.scheme else url)
        return folder if folder.is_dir() else None
    except (OSError, ValueError):  # such as of a name that is too long
        return None
