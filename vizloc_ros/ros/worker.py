"""Work of a node in a thread of its own: the newest items win, so delay never piles up."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from vizloc_ros.errors import VizlocError

_WINDOW = 32  # items: longer than what one slow item makes wait
_FEWEST = 8  # of which nothing is said yet: the first ones are slow


class Pace:
    """Compares how long items took with how often they came, in the mean of the last ones. Thread-safe.

    Means, not medians: when all processes are held up, items come in a bunch, but no more of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrivals: deque[float] = deque(maxlen=_WINDOW)
        self._durations: deque[float] = deque(maxlen=_WINDOW)

    def arrived(self, at: float) -> None:
        """An item came, at a time of a steady clock [s]."""
        with self._lock:
            self._arrivals.append(at)

    def took(self, seconds: float) -> None:
        """An item is done."""
        with self._lock:
            self._durations.append(seconds)

    @property
    def keeps_up(self) -> bool:
        """Whether items are done in less time than they come in; True as long as it is not known."""
        with self._lock:
            if len(self._arrivals) < _FEWEST or len(self._durations) < _FEWEST:
                return True
            interval = (self._arrivals[-1] - self._arrivals[0]) / (len(self._arrivals) - 1)
            return sum(self._durations) / len(self._durations) < interval


T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class LatestMailbox(Generic[T]):
    """A thread-safe place for the newest items, none of which is None."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._items: deque[T] = deque()
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many items were put and never got."""
        with self._condition:
            return self._dropped

    def put(self, item: T, depth: int = 1) -> list[T]:
        """Leaves an item, so that at most ``depth`` wait; returns the older ones dropped for it, or it once closed."""
        with self._condition:
            if self._closed:
                self._dropped += 1
                return [item]
            self._items.append(item)
            dropped = [self._items.popleft() for _ in range(len(self._items) - depth)]
            self._dropped += len(dropped)
            self._condition.notify()
            return dropped

    def get(self, timeout: float | None = None) -> T | None:
        """Takes the oldest item, waiting at most ``timeout`` seconds; None where there was none, or it is closed."""
        with self._condition:
            self._condition.wait_for(lambda: bool(self._closed or self._items), timeout)
            return self._items.popleft() if self._items else None

    def close(self) -> None:
        """Drops what is in the box and wakes whoever waits for it."""
        with self._condition:
            self._dropped += len(self._items)
            self._items.clear()
            self._closed = True
            self._condition.notify_all()


class Worker(Generic[T]):
    """A thread that handles the newest submitted items, one at a time, until it is stopped.

    ``depth`` of them may wait when one took long, as long as the work keeps up with them on average; else only one.
    An error while handling goes to ``on_error`` (which must not raise) and the next item is handled as usual.
    """

    def __init__(
        self, name: str, handle: Callable[[T], None], on_error: Callable[[Exception], None], depth: int = 1
    ) -> None:
        self._mailbox: LatestMailbox[T] = LatestMailbox()
        self._depth, self._pace = depth, Pace()
        self._handle = handle
        self._on_error = on_error
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many submitted items were replaced before their turn came."""
        return self._mailbox.dropped

    def submit(self, item: T) -> list[T]:
        """Hands over an item and returns those that are dropped for it. Never blocks."""
        self._pace.arrived(time.monotonic())
        return self._mailbox.put(item, self._depth if self._pace.keeps_up else 1)

    def stop(self, timeout: float = 10.0) -> bool:
        """Lets the item in work finish, drops the one waiting, and joins; False when that took over ``timeout`` s."""
        self._mailbox.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._mailbox.get()) is not None:
            started = time.monotonic()
            try:
                self._handle(item)
            except VizlocError as error:
                self._on_error(error)
            except Exception as error:  # noqa: BLE001 - a bug in one frame must be seen, and not end localization
                _LOG.exception("unexpected error in worker '%s'", self._thread.name)
                self._on_error(error)
            self._pace.took(time.monotonic() - started)
