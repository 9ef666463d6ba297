"""Ctrl-C and SIGTERM during a replay: the playback ends, and what was played until then is evaluated."""

from __future__ import annotations

import signal
from collections.abc import Callable
from threading import Thread
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Context in which the first signal during a playback only ends it; any other one is a ``KeyboardInterrupt``.

    Enter it in the main thread, after ROS was started, whose own handlers would stop all communication.

    Attributes:
        came: whether a signal ended the playback.
    """

    def __init__(self) -> None:
        self.came = False
        self._stop: Callable[[], None] | None = None

    def __enter__(self) -> Interruption:
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def ends(self, stop: Callable[[], None]) -> None:
        """Let the next signal call a function that ends the playback."""
        self._stop = stop

    def over(self) -> None:
        """Note that the playback has ended: there is no more to end."""
        self._stop = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop is None:
            raise KeyboardInterrupt
        self.came = True
        # Not in this thread: the signal may come while the playback holds the lock that ``stop`` needs.
        Thread(target=self._stop, name="interruption").start()
        self._stop = None
