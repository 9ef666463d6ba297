"""Whether work keeps up with what arrives."""

from __future__ import annotations

import threading
from collections import deque

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
