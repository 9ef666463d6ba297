"""One ``diagnostic_msgs/DiagnosticStatus`` per node, published once a second: problems, counts, values and timings.

Its name is "node: task", as of ``diagnostic_updater``, with the node's namespace: "robot1/hfnet: features".
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle

from vizloc_ros.ros.qos import DIAGNOSTICS
from vizloc_ros.ros.rclpy_errors import RCLError
from vizloc_ros.timing import StageTimings

Value = str | bool | int | float
_MAX_NOTICES = 5
_TIMINGS = 200  # durations of each stage
_OF_TASK = ": "


class Level(IntEnum):
    """Levels of DiagnosticStatus, a worse one higher."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass
class _Expectation:
    """Topic that must not fall silent: the timeout, the time of the last message on the steady clock, and a hint."""

    timeout_s: float
    last_s: float
    hint: str


class Diagnostics:
    """State of a node, collected from any thread and published on ``/diagnostics``.

    Each publication shows the worst level reported since the one before, with its latest message: a problem that is
    not reported again is gone with the next publication. Counts and values stay.
    """

    def __init__(
        self,
        node: Any,
        task: str,
        period_s: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Publish the status of a node's task from now on, every ``period_s`` [s] by the steady clock."""
        self.timings = StageTimings(_TIMINGS)
        self._node, self._task = node, task
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._standing = (Level.OK, "ok")
        self._level, self._message = self._standing
        self._notices: list[str] = []
        self._values: dict[str, Value] = {}
        self._counts: Counter[str] = Counter()
        self._watched: dict[str, Callable[[], Value]] = {}
        self._expected: dict[str, _Expectation] = {}
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        # Not the node's clock: with use_sim_time it stands still exactly when something is wrong.
        self.clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(period_s, self.publish, clock=self.clock)

    def report(self, level: Level, message: str) -> None:
        """Report a level and message for the next publication, which shows the worst of them."""
        with self._lock:
            if level >= self._level:
                self._level, self._message = level, message

    def notice(self, message: str) -> None:
        """Show a message in the next publication, beside what else is reported, with at least the level WARN.

        Each is shown once, and of very many the first.
        """
        with self._lock:
            if message not in self._notices and len(self._notices) < _MAX_NOTICES:
                self._notices.append(message)

    def set_standing(self, level: Level, message: str) -> None:
        """Set the level and message of every publication without a worse report, such as that there is no map."""
        with self._lock:
            self._standing = (level, message)
            if level >= self._level or self._level <= Level.OK:
                self._level, self._message = level, message

    def count(self, name: str, increment: int = 1) -> None:
        """Add to a count; an increment of 0 makes the count appear."""
        with self._lock:
            self._counts[name] += increment

    def set_value(self, name: str, value: Value) -> None:
        """Set a value that every publication shows from now on."""
        with self._lock:
            self._values[name] = value

    def watch(self, name: str, value: Callable[[], Value]) -> None:
        """Show a value that is computed at every publication, in the executor's thread."""
        self._watched[name] = value

    def expect(self, topic: str, timeout_s: float, hint: str = "is its node running, is the topic remapped?") -> None:
        """Warn while a topic is silent for longer than the timeout; with the hint where nobody publishes it.

        Args:
            topic: name of the topic as subscribed to.
            timeout_s: silence before the warning [s].
            hint: question or advice at the end of the warning.
        """
        with self._lock:
            self._expected[self._node.resolve_topic_name(topic)] = _Expectation(timeout_s, self._monotonic(), hint)

    def seen(self, topic: str) -> None:
        """Note the arrival of a message on an expected topic."""
        with self._lock:
            self._expected[self._node.resolve_topic_name(topic)].last_s = self._monotonic()

    def forget_topics(self) -> None:
        """Forget what is watched and expected, of topics that are closed; values and counts stay."""
        with self._lock:
            self._watched, self._expected = {}, {}

    def send(self, publisher: Any, message: Any) -> bool:
        """Publish a message of the node; return False, with a count ``publish_failed`` and a warning, if it is refused.

        The middleware refuses messages when subscribers cannot keep up, and those of a busy worker after the shutdown.
        """
        try:
            publisher.publish(message)
        except (RCLError, InvalidHandle) as error:
            self.count("publish_failed")
            self.report(Level.WARN, f"{type(message).__name__} could not be published: {error}")
            return False
        return True

    def publish(self) -> None:
        """Publish the state and forget what was reported."""
        msg = DiagnosticArray(status=[self.take_status()])
        msg.header.stamp = self._node.get_clock().now().to_msg()
        self.send(self._publisher, msg)

    def take_status(self) -> DiagnosticStatus:
        """Return the status to publish, and forget what was reported."""
        timings = {
            f"{stage}_{name}_ms": value
            for stage, percentiles in self.timings.percentiles().items()
            for name, value in percentiles.items()
        }
        silent = self._silent_topics()
        watched = {name: value() for name, value in self._watched.items()}
        with self._lock:
            level, messages = self._level, [self._message]
            if silent and level <= Level.WARN:
                messages = [*silent, *(messages if level is Level.WARN else [])]
                level = Level.WARN
            if self._notices:
                messages = [*self._notices, *(messages if level > Level.OK else [])]
                level = max(level, Level.WARN)
                self._notices = []
            self._level, self._message = self._standing
            values = {**self._values, **watched, **self._counts, **timings}
        return DiagnosticStatus(
            level=bytes([level]),
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}{_OF_TASK}{self._task}",
            message="; ".join(messages),
            values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
        )

    def _silent_topics(self) -> list[str]:
        now = self._monotonic()
        with self._lock:
            silent = [
                (topic, now - expected.last_s, expected.hint)
                for topic, expected in self._expected.items()
                if now - expected.last_s > expected.timeout_s
            ]
        return [self._silence_warning(*topic) for topic in silent]

    def _silence_warning(self, topic: str, silent_s: float, hint: str) -> str:
        publishers = self._node.count_publishers(topic)
        if publishers:
            hint = "they send nothing, or with a quality of service that does not match"
        return f"no message on {topic} for {silent_s:.1f} s (publishers: {publishers}): {hint}"


def node_of(status: DiagnosticStatus) -> str:
    """Name of the node that a status is of, with its namespace and without the task."""
    return str(status.name).partition(_OF_TASK)[0]


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
