"""What the nodes have in common: a worker that takes the newest input, and diagnostics that say what became of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from vizloc_ros.errors import VizlocError
from vizloc_ros.ros.diagnostics import Diagnostics, Level
from vizloc_ros.ros.worker import Worker
from vizloc_ros.timing import Stopwatch

_RETRY_SECONDS = 2.0


class PipelineNode(Node):
    """A node whose callbacks only hand over; the work is done in a thread of its own, always on the newest input.

    Input that cannot be used is counted as ``rejected`` and named in the diagnostics; input that a newer one replaced
    before its turn is counted as ``dropped``.
    """

    _workers: tuple[Worker[Any], ...] = ()  # of the class: rclpy also destroys a node whose constructor raised

    def __init__(self, name: str, handle: Callable[[Any], None], waiting: int = 1) -> None:
        """``waiting`` inputs may wait for their turn, as long as the work keeps up with them on average; else one."""
        super().__init__(name)
        self.diagnostics = Diagnostics(self)
        self.obstacle = ""  # why what ``when_possible`` is to load is not there yet
        for counter in ("received", "processed", "dropped", "rejected"):
            self.diagnostics.count(counter, 0)
        self._worker = self.add_worker(name, handle, waiting)

    def add_worker(self, name: str, handle: Callable[[Any], None], waiting: int = 1) -> Worker[Any]:
        """A thread for work of this node, which ends with it; errors of ``handle`` are counted as ``rejected``."""
        worker: Worker[Any] = Worker(name, handle, self._on_error, waiting)
        self._workers = (*self._workers, worker)
        return worker

    def submit(self, item: Any) -> None:
        """Hands over an input; the oldest that wait are dropped for it if there are too many."""
        self.diagnostics.count("received")
        self.diagnostics.count("dropped", len(self._worker.submit(item)))

    def reject(self, message: str, level: Level = Level.ERROR) -> None:
        """Counts an input that cannot be used and says why."""
        self.diagnostics.count("rejected")
        self.diagnostics.report(level, message)
        self.get_logger().warning(message, throttle_duration_sec=5.0)

    def record(self, stopwatch: Stopwatch) -> None:
        """Adds the stages of one piece of work to the diagnostics."""
        self.diagnostics.timings.add_all(stopwatch.milliseconds)

    def age(self, stamp_ns: int) -> float | None:
        """Seconds since a stamp [ns] by the node's clock; None while that has no time, for want of /clock."""
        now_ns = self.get_clock().now().nanoseconds
        return (now_ns - stamp_ns) * 1e-9 if now_ns else None

    def record_latency(self, stage: str, stamp_ns: int) -> None:
        """Adds the time since the stamp of an image [ns] to the timings, as a stage."""
        if (age := self.age(stamp_ns)) is not None:
            self.diagnostics.timings.add_all({stage: age * 1e3})

    def when_possible(self, load: Callable[[], None]) -> None:
        """Calls ``load`` now and, while it raises ``VizlocError``, again every two seconds: a map may come later."""

        def attempt() -> None:
            try:
                load()
            except VizlocError as error:
                self.obstacle = str(error)
                self.diagnostics.stand(Level.ERROR, self.obstacle)
                self.get_logger().error(f"{error} (trying again)", throttle_duration_sec=30.0)
            else:
                timer.cancel()
                self.diagnostics.stand(Level.OK, "ok")

        timer = self.create_timer(_RETRY_SECONDS, attempt, clock=self.diagnostics.clock)
        attempt()

    def destroy_node(self) -> None:
        """Lets the workers finish before the publishers go."""
        for worker in self._workers:
            worker.stop()
        super().destroy_node()

    def _on_error(self, error: Exception) -> None:
        known = isinstance(error, VizlocError)
        self.reject(str(error) if known else f"internal error, please report it: {type(error).__name__}: {error}")
