"""Map of the map server, known to all nodes by its number, so that they follow it when it changes.

The map server latches its map on ``map/served``. A node that works with the map answers on ``map/followed`` as soon as
it publishes nothing more of another map. ``~/load_map`` waits for these answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from std_msgs.msg import String

from vizloc_ros.errors import RosError
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import LATCHED, STATE
from vizloc_ros.timing import NANOSECONDS
from vizloc_ros.wording import short_text

SERVED, FOLLOWED = "map/served", "map/followed"
_MAX_CHARS, _MAX_NODES = 10_000, 100
_IN_FLIGHT_NS = 10 * NANOSECONDS  # messages that are older come after a jump of the clock
_Number = Field(ge=0, le=2**32 - 1)


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServedMap(_Content):
    """Map of the map server.

    Attributes:
        number: number of the map, see ``MapInfo.number``.
        path: its folder.
        since_ns: stamp of the last image that was answered with the map before [ns]; -1 if there was none.
    """

    number: int = _Number
    path: str = Field(min_length=1, max_length=4096)
    since_ns: int = -1

    def is_of_map_before(self, stamp_ns: int) -> bool:
        """Return True for the stamp of an image [ns] whose pose may be one in the map before."""
        return 0 <= self.since_ns - stamp_ns < _IN_FLIGHT_NS


class Followed(_Content):
    """Answer of a node.

    Attributes:
        node: full name of the node.
        number: number of the map that it works with; None if it has none.
        problem: reason why it cannot work with the map of the server; empty if it can.
        about: number of that map; an answer about the one before may come late.
    """

    node: str = Field(max_length=1000)
    number: int | None = None
    problem: str = Field("", max_length=_MAX_CHARS)
    about: int | None = None


Content = TypeVar("Content", bound=_Content)


def _to_msg(content: _Content) -> String:
    return String(data=content.model_dump_json())


def _from_msg(model: type[Content], msg: String, topic: str) -> Content:
    """Content of a message. Raises ``RosError`` for another one."""
    try:
        if len(msg.data) > _MAX_CHARS:
            raise ValueError(f"has {len(msg.data)} characters")
        return model.model_validate_json(msg.data)
    except (ValidationError, ValueError) as error:
        raise RosError(f"message on {topic} is none of visual_map_server's nodes: {short_text(str(error))}") from error


class MapFollower:
    """Follower of the map server's map, for a node that is active."""

    def __init__(
        self, node: PipelineNode, number: Callable[[], int | None], follow: Callable[[ServedMap], None]
    ) -> None:
        """Subscribe, and answer for the map that the node has.

        Args:
            node: the node.
            number: number of the map that the node works with; None while it has none.
            follow: called with the server's map, in the executor's thread. The node drops another one before, takes
                it, and calls ``answer``.
        """
        self._node, self._number, self._follow = node, number, follow
        self._topic = node.resolve_topic_name(SERVED)
        self._served: ServedMap | None = None
        self._answers = node.create_publisher(String, FOLLOWED, STATE)
        node.create_subscription(String, SERVED, self._on_served, LATCHED)

    def answer(self, problem: str = "") -> None:
        """Say which map the node works with, or why it cannot work with the server's."""
        served, number = self._served, self._number()
        if served is not None and not problem and number != served.number:
            problem = f"{served.path}: has another map than visual_map_server"
        content = Followed(
            node=self._node.get_fully_qualified_name(),
            number=number,
            problem=short_text(problem, 500),
            about=served.number if served is not None else None,
        )
        self._node.diagnostics.send(self._answers, _to_msg(content))

    def _on_served(self, msg: String) -> None:
        served = _from_msg(ServedMap, msg, self._topic)
        if self._served is not None and self._node.count_publishers(self._topic) > 1:
            return  # of two servers, none is followed
        self._served = served
        self._follow(served)


class MapAnnouncement:
    """Announcement of the map server's map, and the answers of the nodes that follow it. Thread-safe."""

    def __init__(self, node: PipelineNode) -> None:
        """Create the publisher and the subscription, for the node of the map server."""
        self._node, self._topic = node, node.resolve_topic_name(FOLLOWED)
        self._served: ServedMap | None = None
        self._lock = threading.Lock()
        self._answers: dict[str, Followed] = {}
        self._publisher = node.create_publisher(String, SERVED, LATCHED)
        node.create_subscription(String, FOLLOWED, self._on_answer, STATE)

    def announce(self, served: ServedMap) -> None:
        """Latch another map."""
        with self._lock:
            self._served = served
            self._answers.clear()
        self._node.diagnostics.send(self._publisher, _to_msg(served))

    def remind(self) -> None:
        """Announce the map again if a node does not follow it, such as one that had two map servers."""
        if self._served is not None and self.missing:
            self._node.diagnostics.send(self._publisher, _to_msg(self._served))

    @property
    def missing(self) -> list[str]:
        """Names of the running nodes that have not followed yet."""
        found = self._node.get_publishers_info_by_topic(self._topic)
        running = {f"{one.node_namespace.rstrip('/')}/{one.node_name}" for one in found}
        with self._lock:
            served, answers = self._served, dict(self._answers)
        number = served.number if served else None
        return sorted(name for name in running if name not in answers or answers[name].number != number)

    @property
    def problems(self) -> list[str]:
        """Reasons for which nodes cannot work with the map, each with the node's name; not with the one before."""
        with self._lock:
            number = self._served.number if self._served else None
            answers = [(name, answer) for name, answer in self._answers.items() if answer.about == number]
        return [f"{name}: {answer.problem}" for name, answer in answers if answer.problem]

    @property
    def followers(self) -> list[str]:
        """Names of the nodes that work with the map."""
        with self._lock:
            number = self._served.number if self._served else None
            return sorted(name for name, answer in self._answers.items() if answer.number == number)

    def _on_answer(self, msg: String) -> None:
        answer = _from_msg(Followed, msg, self._topic)
        with self._lock:
            if len(self._answers) < _MAX_NODES or answer.node in self._answers:
                self._answers[answer.node] = answer


class MapUserNode(PipelineNode):
    """Node that opens the map itself: the one of ``map_path`` at first, then that of the map server.

    Attributes:
        options: options of the node, with ``map_path``.
        map_number: number of the map that is loaded; None for none. ``load`` sets it.
    """

    options: Any
    map_number: int | None = None

    def __init__(self, name: str, handle: Callable[[Any], None], burst: int = 1) -> None:
        """Make the node and its workers, see ``PipelineNode``."""
        super().__init__(name, handle, burst)
        self.served: ServedMap | None = None
        self._coming: ServedMap | None = None  # while it is being loaded
        self._tried: ServedMap | None = None  # of the last attempt to load
        self._follower: MapFollower | None = None
        self._loader = self.add_worker("map", self._load_served)

    @property
    def map_path(self) -> Path:
        """Folder of the map that the node works with."""
        return Path(self.served.path if self.served is not None else self.options.map_path)

    def open(self) -> None:
        """Follow the map server."""
        self._coming = None
        self._follower = MapFollower(self, lambda: self.map_number, self._follow)

    def loaded(self) -> None:
        """Answer the map server, unless it has another map by now, which will be loaded."""
        if self._follower is not None and self._coming in (None, self._tried):
            self._follower.answer(self.load_error)

    def unload(self) -> None:
        """Forget the map."""
        self.served = self._coming = self.map_number = self._follower = None

    def drop_map(self) -> None:
        """Publish nothing of the loaded map from now on: the map server has another one, which will be loaded."""

    def _follow(self, served: ServedMap) -> None:
        """Drop another map than the server's, and load that one in a worker."""
        if served == self._coming:
            return
        before, self.served = self.served, served
        if self.map_number == served.number and not self.load_error and self._coming is None:
            self.loaded()
            return
        if served != before:
            self.get_logger().info(f"visual_map_server has another map: {served.path}")
        self._coming = served
        self.load_error = f"the map {served.path} is being loaded"
        self.drop_map()
        self._loader.submit(served)

    def _try_to_load(self) -> bool:
        self._tried = self.served
        return super()._try_to_load()

    def _load_served(self, served: ServedMap) -> None:
        if not self.try_to_load():  # the map server reminds of its map until it is followed
            self.log_retry()
        if self._coming == served:
            self._coming = None
