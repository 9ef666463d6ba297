"""One ``diagnostic_msgs/DiagnosticStatus`` per node, published once a second: what goes wrong, counts, and timings."""

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
from rclpy.impl.implementation_singleton import rclpy_implementation

from vizloc_ros.ros.qos import DIAGNOSTICS
from vizloc_ros.timing import StageTimings

Value = str | bool | int | float


class Level(IntEnum):
    """The levels of DiagnosticStatus, the worse the higher."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass
class _Expectation:
    """A topic that must not fall silent."""

    timeout_s: float
    last_s: float
    hint: str


class Diagnostics:
    """Collects a node's state from any thread and publishes it on ``/diagnostics``.

    Each publication shows the worst level reported since the one before, with its latest message: a problem that is
    not reported again is gone with the next publication. Counts and values stay.
    """

    def __init__(
        self,
        node: Any,
        hardware_id: str = "",
        period_s: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timings = StageTimings()
        self.hardware_id = hardware_id
        self._node = node
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._standing = (Level.OK, "ok")
        self._level, self._message = self._standing
        self._values: dict[str, Value] = {}
        self._counts: Counter[str] = Counter()
        self._watched: dict[str, Callable[[], Value]] = {}
        self._expected: dict[str, _Expectation] = {}
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
        # Not the node's clock: with use_sim_time it stands still just when something is wrong.
        self.clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(period_s, self.publish, clock=self.clock)

    def report(self, level: Level, message: str) -> None:
        """Says how it goes; shown in the next publication unless something worse is reported."""
        with self._lock:
            if level >= self._level:
                self._level, self._message = level, message

    def stand(self, level: Level, message: str) -> None:
        """Says how it goes until further notice, such as that there is no map; what is reported comes on top."""
        with self._lock:
            self._standing = (level, message)
            if level >= self._level or self._level <= Level.OK:
                self._level, self._message = level, message

    def count(self, name: str, increment: int = 1) -> None:
        """Adds to a count; 0 makes it show."""
        with self._lock:
            self._counts[name] += increment

    def set_value(self, name: str, value: Value) -> None:
        """Shows a value from now on."""
        with self._lock:
            self._values[name] = value

    def watch(self, name: str, value: Callable[[], Value]) -> None:
        """Shows a value that is asked for at every publication, in the executor's thread."""
        self._watched[name] = value

    def expect(self, topic: str, timeout_s: float, hint: str = "is its node running, is the topic remapped?") -> None:
        """Warns, with ``hint`` when nobody publishes it, while ``topic`` (as subscribed to) is silent for longer."""
        with self._lock:
            self._expected[self._node.resolve_topic_name(topic)] = _Expectation(timeout_s, self._monotonic(), hint)

    def seen(self, topic: str) -> None:
        """Notes that a message of an expected topic has come."""
        with self._lock:
            self._expected[self._node.resolve_topic_name(topic)].last_s = self._monotonic()

    def counts(self) -> dict[str, int]:
        """The counts so far."""
        with self._lock:
            return dict(self._counts)

    def send(self, publisher: Any, message: Any) -> bool:
        """Publishes a message of the node; False, with a count ``publish_failed`` and a warning, when that is refused.

        The middleware refuses when subscribers cannot keep up and, in a worker still at it, once ROS is shut down.
        """
        try:
            publisher.publish(message)
        except (rclpy_implementation.RCLError, InvalidHandle) as error:
            self.count("publish_failed")
            self.report(Level.WARN, f"{type(message).__name__} could not be published: {error}")
            return False
        return True

    def publish(self) -> None:
        """Publishes the state and starts collecting anew."""
        msg = DiagnosticArray(status=[self.take_status()])
        msg.header.stamp = self._node.get_clock().now().to_msg()
        self.send(self._publisher, msg)

    def take_status(self) -> DiagnosticStatus:
        """The status to publish; what was reported is forgotten with it."""
        timings = {
            f"{stage}_{name}_ms": value
            for stage, percentiles in self.timings.recent().items()
            for name, value in percentiles.items()
        }
        silent = self._silent_topics()
        watched = {name: value() for name, value in self._watched.items()}
        with self._lock:
            level, messages = self._level, [self._message]
            if silent and level <= Level.WARN:
                messages = [*silent, *(messages if level is Level.WARN else [])]
                level = Level.WARN
            self._level, self._message = self._standing
            values = {**self._values, **watched, **self._counts, **timings}
        return DiagnosticStatus(
            level=bytes([level]),
            name=self._node.get_fully_qualified_name().lstrip("/"),
            message="; ".join(messages),
            hardware_id=self.hardware_id,
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
        return [self._silence(*about) for about in silent]

    def _silence(self, topic: str, silent_s: float, hint: str) -> str:
        publishers = self._node.count_publishers(topic)
        if publishers:
            hint = "they send nothing, or with a quality of service that does not match"
        return f"no message on {topic} for {silent_s:.1f} s (publishers: {publishers}): {hint}"


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
