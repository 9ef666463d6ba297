"""Ctrl-C and SIGTERM during a replay: the playback ends, and what was played until then is evaluated."""

from __future__ import annotations

import signal
from collections.abc import Callable
from threading import Thread
from types import FrameType, TracebackType
from typing import Any

from vizloc_ros.ros.start_signals import SIGNALS


class Interruption:
    """Context in which the first signal during a playback only ends it; any other one is what it was before.

    Enter it in the main thread, after ROS was started, whose own handlers would stop all communication.

    Attributes:
        number: number of the signal that ended the playback; 0 for none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._stop: Callable[[], None] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        self._wakeup = signal.set_wakeup_fd(-1)  # the time to evaluate what was played has no limit
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup)

    def ends(self, stop: Callable[[], None]) -> None:
        """Let the next signal call a function that ends the playback."""
        self._stop = stop

    def over(self) -> None:
        """Note that the playback has ended: there is no more to end."""
        self._stop = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop is None:
            before = self._before[number]
            if not callable(before):
                raise KeyboardInterrupt
            before(number, frame)
            return
        self.number = number
        # Not in this thread: the signal may come while the playback holds the lock that ``stop`` needs.
        Thread(target=self._stop, name="interruption").start()
        self._stop = None
