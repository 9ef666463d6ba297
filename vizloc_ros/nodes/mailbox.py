"""One slot between the executor's thread and a worker: the newest item wins, so delay never piles up."""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from vizloc_ros.errors import VizlocError

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class LatestMailbox(Generic[T]):
    """A thread-safe slot for one item that is never None."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many items were put and never got."""
        with self._condition:
            return self._dropped

    def put(self, item: T) -> T | None:
        """Leaves an item and returns the one dropped for it: the one still there, or ``item`` itself once closed."""
        with self._condition:
            if self._closed:
                dropped: T | None = item
            else:
                dropped, self._item = self._item, item
                self._condition.notify()
            self._dropped += dropped is not None
            return dropped

    def get(self, timeout: float | None = None) -> T | None:
        """Takes the item, waiting at most ``timeout`` seconds; None when there was none, or the box is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._item is not None, timeout)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Drops what is in the box and wakes whoever waits for it."""
        with self._condition:
            self._dropped += self._item is not None
            self._item = None
            self._closed = True
            self._condition.notify_all()


class Worker(Generic[T]):
    """A thread that handles the newest submitted item, one at a time, until it is stopped.

    An error while handling goes to ``on_error`` (which must not raise) and the next item is handled as usual.
    """

    def __init__(self, name: str, handle: Callable[[T], None], on_error: Callable[[Exception], None]) -> None:
        self._mailbox: LatestMailbox[T] = LatestMailbox()
        self._handle = handle
        self._on_error = on_error
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many submitted items were replaced before their turn came."""
        return self._mailbox.dropped

    def submit(self, item: T) -> T | None:
        """Hands over an item and returns the one that is dropped for it, if any. Never blocks."""
        return self._mailbox.put(item)

    def stop(self, timeout: float = 10.0) -> bool:
        """Lets the item in work finish, drops the one waiting, and joins; False when that took over ``timeout`` s."""
        self._mailbox.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._mailbox.get()) is not None:
            try:
                self._handle(item)
            except VizlocError as error:
                self._on_error(error)
            except Exception as error:  # noqa: BLE001 - a bug in one frame must be seen, and not end localization
                _LOG.exception("unexpected error in worker '%s'", self._thread.name)
                self._on_error(error)
