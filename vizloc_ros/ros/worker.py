"""Worker thread of a node with a queue that drops the oldest items, so that delay never accumulates."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from vizloc_ros.errors import VizlocError

_WINDOW = 32  # items; more than those that one slow item keeps waiting
_SHORTEST = 1e-3  # s; of all items in the window
_MIN_ITEMS = 8  # before these, the work counts as fast enough: the first items are slow


class Pace:
    """Comparison of the mean processing time of the last items with their mean interval. Thread-safe.

    Means, not medians: when all processes are held up, items come in a bunch, but no more of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrivals: deque[float] = deque(maxlen=_WINDOW)
        self._durations: deque[float] = deque(maxlen=_WINDOW)

    def arrived(self, at: float) -> None:
        """Note the arrival of an item, at a time of a steady clock [s]."""
        with self._lock:
            self._arrivals.append(at)

    def took(self, seconds: float) -> None:
        """Note the processing time of an item [s]."""
        with self._lock:
            self._durations.append(seconds)

    @property
    def interval(self) -> float:
        """Mean time between the last items [s]; infinite before some have arrived."""
        with self._lock:
            return self._interval()

    @property
    def keeps_up(self) -> bool:
        """True if items are processed in less time than they arrive in, and for the first ones."""
        with self._lock:
            if len(self._durations) < _MIN_ITEMS:
                return True
            return sum(self._durations) / len(self._durations) < self._interval()

    def _interval(self) -> float:
        if len(self._arrivals) < _MIN_ITEMS:
            return math.inf
        return max(self._arrivals[-1] - self._arrivals[0], _SHORTEST) / (len(self._arrivals) - 1)


T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class LatestMailbox(Generic[T]):
    """Queue of the newest items, none of which is None. Thread-safe."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._items: deque[T] = deque()
        self._closed = False

    def put(self, item: T, max_waiting: int = 1) -> list[T]:
        """Add an item; return the dropped ones: the oldest of more than ``max_waiting``, or the item once closed."""
        with self._condition:
            if self._closed:
                return [item]
            self._items.append(item)
            dropped = [self._items.popleft() for _ in range(len(self._items) - max_waiting)]
            self._condition.notify()
            return dropped

    def get(self, timeout: float | None = None) -> T | None:
        """Remove and return the oldest item after at most ``timeout`` [s]; None if there is none, or it is closed."""
        with self._condition:
            self._condition.wait_for(lambda: bool(self._closed or self._items), timeout)
            return self._items.popleft() if self._items else None

    def close(self) -> None:
        """Drop all items and wake the waiting threads."""
        with self._condition:
            self._items.clear()
            self._closed = True
            self._condition.notify_all()


class Worker(Generic[T]):
    """Thread that handles the newest submitted items, one at a time, until it is stopped.

    Up to ``burst`` items may wait while one takes long, if the work keeps up with them on average; else only one. An
    error of ``handle`` goes to ``on_error`` (which must not raise), and the next item is handled as usual.
    """

    def __init__(
        self, name: str, handle: Callable[[T], None], on_error: Callable[[Exception], None], burst: int = 1
    ) -> None:
        self._name, self._burst = name, burst
        self._handle = handle
        self._on_error = on_error
        self._is_running = False
        self.start()

    def start(self) -> None:
        """Begin with a new thread and nothing waiting; a running worker goes on."""
        if self._is_running:
            return
        self._is_running = True
        self._mailbox: LatestMailbox[T] = LatestMailbox()
        self._pace = Pace()
        self._thread = threading.Thread(target=self._run, args=(self._mailbox,), name=self._name, daemon=True)
        self._thread.start()

    @property
    def interval(self) -> float:
        """Mean time between the last items that were submitted [s]; infinite before some were."""
        return self._pace.interval

    def submit(self, item: T) -> list[T]:
        """Add an item and return those that are dropped for it. Never blocks."""
        self._pace.arrived(time.monotonic())
        return self._mailbox.put(item, self._burst if self._pace.keeps_up else 1)

    def stop(self, timeout: float = 10.0) -> bool:
        """Finish the current item, drop the waiting ones and join the thread; False after ``timeout`` [s]."""
        self._is_running = False
        self._mailbox.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self, mailbox: LatestMailbox[T]) -> None:
        while (item := mailbox.get()) is not None:
            started = time.monotonic()
            try:
                self._handle(item)
            except VizlocError as error:
                self._on_error(error)
            except Exception as error:  # noqa: BLE001 - a bug in one frame must be seen, and not end localization
                _LOG.exception("unexpected error in worker '%s'", self._name)
                self._on_error(error)
            self._pace.took(time.monotonic() - started)
