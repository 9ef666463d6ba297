"""Join of the messages of several topics that belong to one image, by their equal stamps."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any


class StampJoin:
    """Collection of one message per channel for each stamp, returned together and in order of time. Thread-safe.

    At most ``depth`` stamps wait. A stamp is given up when a newer one is complete or too many wait; ``dropped`` counts
    that for each channel that was missing. A message for a stamp already past is ignored.
    """

    def __init__(self, channels: tuple[str, ...], depth: int = 8) -> None:
        self._channels = channels
        self._depth = depth
        self._lock = threading.Lock()
        self._waiting: dict[int, dict[str, Any]] = {}
        self._past: int | None = None  # the newest stamp that was returned or given up
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> dict[str, int]:
        """Number of stamps given up since the start, by the channel that was missing."""
        with self._lock:
            return {channel: self._dropped[channel] for channel in self._channels}

    def add(self, channel: str, stamp_ns: int, message: Any) -> tuple[Any, ...] | None:
        """Add a message; return those of all channels, in the order of the channels, once the stamp is complete."""
        if channel not in self._channels:
            raise KeyError(channel)
        with self._lock:
            if self._past is not None and stamp_ns <= self._past:
                return None
            messages = self._waiting.setdefault(stamp_ns, {})
            messages[channel] = message
            if len(messages) == len(self._channels):
                self._give_up_until(stamp_ns)
                return tuple(messages[name] for name in self._channels)
            if len(self._waiting) > self._depth:
                self._give_up_until(min(self._waiting))
            return None

    def reset(self) -> None:
        """Forget the waiting messages and the past stamps, as after a jump of the clock; the counts stay."""
        with self._lock:
            self._waiting.clear()
            self._past = None

    def _give_up_until(self, stamp_ns: int) -> None:
        for stamp in [stamp for stamp in self._waiting if stamp <= stamp_ns]:
            messages = self._waiting.pop(stamp)
            self._dropped.update(channel for channel in self._channels if channel not in messages)
        self._past = stamp_ns
