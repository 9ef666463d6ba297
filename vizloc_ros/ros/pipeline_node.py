"""Base class of the nodes: a worker for the newest input, and diagnostics that account for every input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from vizloc_ros.errors import FrozenCameraError, VizlocError
from vizloc_ros.ros.diagnostics import Diagnostics, Level
from vizloc_ros.ros.worker import Worker
from vizloc_ros.timing import NANOSECONDS, Stopwatch

_RETRY_SECONDS = 2.0


class PipelineNode(Node):
    """Node whose callbacks only submit their input; a thread of its own processes the newest one.

    Input that cannot be used is counted as ``rejected`` and named in the diagnostics; input that a newer one replaced
    before its turn is counted as ``dropped``.

    Attributes:
        diagnostics: state of the node for ``/diagnostics``.
        load_error: message of the last failed attempt of ``load_with_retry``.
    """

    _workers: tuple[Worker[Any], ...] = ()  # on the class: rclpy also destroys a node whose constructor raised

    def __init__(self, name: str, handle: Callable[[Any], None], burst: int = 1) -> None:
        """Start the node and its worker.

        Args:
            name: name of the node.
            handle: processing of one input, in the worker.
            burst: inputs that may wait if the work keeps up with them on average; else only one may.
        """
        super().__init__(name)
        self.diagnostics = Diagnostics(self)
        self.load_error = ""
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

    def submit(self, item: Any) -> None:
        """Give an input to the worker; the oldest of too many waiting inputs are dropped."""
        self.diagnostics.count("received")
        self.diagnostics.count("dropped", len(self._worker.submit(item)))

    def reject(self, message: str, level: Level = Level.ERROR) -> None:
        """Count an input that cannot be used, and report the reason."""
        self.diagnostics.count("rejected")
        self.diagnostics.report(level, message)
        self.get_logger().warning(message, throttle_duration_sec=5.0)

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

    def load_with_retry(self, load: Callable[[], str | None]) -> None:
        """Call ``load`` now and, while it fails, again every two seconds: a map may come later, or be mended.

        A text that it returns is a warning, which stands in the diagnostics.
        """

        def attempt() -> None:
            try:
                warning = load()
            except Exception as error:  # noqa: BLE001 - whatever is wrong with its files, the node tries again
                self.load_error = _text_of(error)
                self.diagnostics.set_standing(Level.ERROR, self.load_error)
                self.get_logger().error(f"{self.load_error} (trying again)", throttle_duration_sec=30.0)
            else:
                timer.cancel()
                self.diagnostics.set_standing(Level.WARN if warning else Level.OK, warning or "ok")

        timer = self.create_timer(_RETRY_SECONDS, attempt, clock=self.diagnostics.clock)
        attempt()

    def destroy_node(self) -> None:
        """Stop the workers, then destroy the node with its publishers."""
        for worker in self._workers:
            worker.stop()
        super().destroy_node()

    def _on_error(self, error: Exception) -> None:
        self.reject(_text_of(error), Level.WARN if isinstance(error, FrozenCameraError) else Level.ERROR)


def _text_of(error: Exception) -> str:
    if isinstance(error, VizlocError):
        return str(error)
    return f"internal error, please report it: {type(error).__name__}: {error}"
