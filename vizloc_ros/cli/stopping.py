"""Ctrl-C and SIGTERM during a command: it cleans up, says so in one line, and ends with 130 or 143.

The first signal is raised in the main thread as ``Stopped``, so that every ``with`` and ``finally`` on the way out does
its work; more of the same are ignored meanwhile. A second one, or ten seconds in a call of a library that does not
return, end the process at once: then only its unfinished folders are removed and the processes it started are ended.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from vizloc_ros.files import remove_unfinished
from vizloc_ros.ros.start_signals import SIGNALS, ended_by, is_watched, release_signals

_GRACE_SECONDS = 10.0
_SECOND_AFTER = 0.5  # s; Ctrl-C reaches a command twice if its parent passes it on
_CHILDREN = "/proc/self/task/*/children"


class Stopped(KeyboardInterrupt):
    """A signal has come: whatever handles Ctrl-C handles this, too."""


class Stoppable:
    """Context of a whole command, entered in the main thread.

    Attributes:
        number: number of the signal that has come; 0 for none.
    """

    def __init__(self, grace_s: float = _GRACE_SECONDS, end: Callable[[int], Any] = os._exit) -> None:
        self.number, self._grace_s, self._end = 0, grace_s, end
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stoppable:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        # The interpreter writes the number at once; the handler has to wait for the main thread.
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._watch = threading.Thread(target=self._end_at_once, name="stopping", daemon=True)
        self._watch.start()
        release_signals()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            # A program of its own has nothing to do any more that a signal could end.
            signal.signal(number, signal.SIG_IGN if is_watched() else before)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._writer)
        self._watch.join()
        os.close(self._reader)
        if self.number:
            code, line = ended_by(self.number)
            sys.stdout.flush()
            print(line, file=sys.stderr, flush=True)  # noqa: T201
            raise SystemExit(code) from None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.number:
            self.number = number
            raise Stopped

    def _end_at_once(self) -> None:
        """End the process if the command does not end by itself after a signal."""
        if not (numbers := self._received(None)):
            return
        deadline, ignored_until = time.monotonic() + self._grace_s, time.monotonic() + _SECOND_AFTER
        while (left := deadline - time.monotonic()) > 0:
            more = self._received(left)
            if more == b"":
                return
            if more is not None and time.monotonic() > ignored_until:
                break
        remove_unfinished()
        _end_children()
        code, line = ended_by(numbers[0])
        os.write(sys.stderr.fileno(), f"{line}\n".encode())
        self._end(code)

    def _received(self, timeout_s: float | None) -> bytes | None:
        """Numbers of signals; empty when the command has ended, None after the timeout."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([self._reader], [], [], left)[0]:
                return None
            data = os.read(self._reader, 64)
            if numbers := bytes(number for number in data if number in SIGNALS):
                return numbers
            if not data:
                return b""


def _end_children() -> None:
    for path in Path("/").glob(_CHILDREN[1:]):
        for process in path.read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGTERM)
