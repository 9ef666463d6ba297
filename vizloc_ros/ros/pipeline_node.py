"""Base class of the nodes: a worker for the newest input, and diagnostics that account for every input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from std_msgs.msg import Header

from vizloc_ros.errors import FrozenCameraError
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.managed_node import ManagedNode, text_of
from vizloc_ros.ros.messages import stamp_to_ns
from vizloc_ros.ros.worker import Worker
from vizloc_ros.timing import NANOSECONDS, Stopwatch


class PipelineNode(ManagedNode):
    """Node whose callbacks only submit their input; a thread of its own processes the newest one.

    Input that cannot be used is counted as ``rejected`` and named in the diagnostics; input that a newer one replaced
    before its turn is counted as ``dropped``.
    """

    def __init__(self, name: str, handle: Callable[[Any], None], burst: int = 1) -> None:
        """Make the node and its worker.

        Args:
            name: name of the node.
            handle: processing of one input, in the worker.
            burst: inputs that may wait if the work keeps up with them on average; else only one may.
        """
        super().__init__(name)
        for counter in ("received", "processed", "dropped", "rejected"):
            self.diagnostics.count(counter, 0)
        self._worker = self.add_worker(name, handle, burst)

    def add_worker(self, name: str, handle: Callable[[Any], None], burst: int = 1) -> Worker[Any]:
        """Start a worker that ends with this node; errors of ``handle`` are counted as ``rejected``."""
        worker: Worker[Any] = Worker(name, handle, self._on_error, burst)
        self._workers = (*self._workers, worker)
        return worker

    def create_subscription(
        self, message_type: Any, topic: str, callback: Callable[[Any], Any], *args: Any, **options: Any
    ) -> Any:
        """Subscribe as rclpy does; a message that the callback cannot use is counted, and does not end the node."""

        def receive(msg: Any) -> None:
            try:
                callback(msg)
            except Exception as error:  # noqa: BLE001 - whoever sends a message must not be able to end the node
                self._on_error(error)

        return super().create_subscription(message_type, topic, receive, *args, **options)

    def submit(self, item: Any, worker: Worker[Any] | None = None) -> None:
        """Give an input to a worker, the node's by default; the oldest of too many waiting inputs are dropped."""
        self.diagnostics.count("received")
        self.diagnostics.count("dropped", len((worker or self._worker).submit(item)))

    def reject(self, message: str, level: Level = Level.ERROR) -> None:
        """Count an input that cannot be used, and report the reason."""
        self.diagnostics.count("rejected")
        self.diagnostics.report(level, message)
        self.get_logger().warning(message, throttle_duration_sec=5.0)

    @property
    def input_interval(self) -> float:
        """Mean time between the last inputs of the node's worker [s]; infinite before some have come."""
        return self._worker.interval

    def is_overdue(self, header: Header, deadline: float) -> bool:
        """Tell whether an image is older than a deadline [s] now that its turn comes, and count it then; 0: none."""
        age = self.age(stamp_to_ns(header.stamp)) if deadline else None
        if age is None or age <= deadline:
            return False
        self.diagnostics.count("overdue")
        self.diagnostics.report(
            Level.WARN,
            f"an image is skipped: it is {age:.2f} s old when its turn comes, and the deadline is {deadline:g} s",
        )
        return True

    def record(self, stopwatch: Stopwatch) -> None:
        """Add the stages of one input to the timings."""
        self.diagnostics.timings.add_all(stopwatch.milliseconds)

    def age(self, stamp_ns: int) -> float | None:
        """Time since a stamp [ns] by the node's clock [s]; None while there is no time on /clock."""
        now_ns = self.get_clock().now().nanoseconds
        return (now_ns - stamp_ns) / NANOSECONDS if now_ns else None

    def record_latency(self, stage: str, stamp_ns: int) -> None:
        """Add the time since the stamp of an image [ns] to the timings, as a stage."""
        if (age := self.age(stamp_ns)) is not None:
            self.diagnostics.timings.add_all({stage: age * 1e3})

    def _on_error(self, error: Exception) -> None:
        self.reject(text_of(error), Level.WARN if isinstance(error, FrozenCameraError) else Level.ERROR)
