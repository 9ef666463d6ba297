"""Join of what the cameras of a rig give for one instant; one that is missing or late does not hold up the others."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_MISSED = 3  # instants in a row, after which a camera is not waited for
_WAITING, _PAST = 8, 32  # instants that are kept


@dataclass(frozen=True)
class Instant:
    """Messages that the cameras gave for one instant.

    Attributes:
        items: items by camera, in the order of the cameras.
        missing: cameras that gave none in time.
    """

    items: dict[str, Any]
    missing: tuple[str, ...]


@dataclass
class _Waiting:
    """Instant that waits for cameras: stamp of its first item [ns], time of its arrival [s], items by camera."""

    stamp_ns: int
    arrived: float
    items: dict[str, Any] = field(default_factory=dict)


class RigJoin:
    """Collection of one item per camera for each instant, returned in order of time. Thread-safe.

    An instant is over when all cameras have given their item, or some time after the first one. A camera that gave none
    three times is not waited for, until it gives one in time again. What comes for an instant that is over is ``late``.
    """

    def __init__(self, cameras: Sequence[str], tolerance_ns: int, wait: float) -> None:
        """Take the cameras.

        Args:
            cameras: their names.
            tolerance_ns: maximum difference of the stamps of one instant [ns].
            wait: maximum time to wait for the others after the first item [s].
        """
        self._cameras, self._tolerance_ns, self._wait = tuple(cameras), tolerance_ns, wait
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []  # in order of time
        self._past: deque[_Waiting] = deque(maxlen=_PAST)
        self._missed: Counter[str] = Counter()  # in a row
        self._without: Counter[str] = Counter()
        self._late: Counter[str] = Counter()

    @property
    def without(self) -> dict[str, int]:
        """Number of instants without an item of each camera."""
        with self._lock:
            return {camera: self._without[camera] for camera in self._cameras}

    @property
    def late(self) -> dict[str, int]:
        """Number of items of each camera that came when their instant was over."""
        with self._lock:
            return {camera: self._late[camera] for camera in self._cameras}

    def add(self, camera: str, stamp_ns: int, item: Any, now: float) -> list[Instant]:
        """Add an item that arrives at a time of a steady clock [s]; return the instants that are over by it."""
        with self._lock:
            if (past := self._past_of(stamp_ns)) is not None:
                self._late[camera] += 1
                if now - past.arrived <= self._wait:
                    self._missed[camera] = 0
                return []
            instant = self._instant_of(camera, stamp_ns, now)
            instant.items[camera] = item
            self._missed[camera] = 0
            if all(name in instant.items for name in self._cameras if self._missed[name] < _MISSED):
                return self._end(self._waiting.index(instant) + 1)
            return self._end(len(self._waiting) - _WAITING)

    def due(self, now: float) -> list[Instant]:
        """Return the instants that have waited for too long by now [s]."""
        with self._lock:
            over = [index for index, one in enumerate(self._waiting) if now - one.arrived >= self._wait]
            return self._end(max(over, default=-1) + 1)

    def reset(self) -> None:
        """Forget what waits and what is past, as after a jump of the clock; the counts stay."""
        with self._lock:
            self._waiting.clear()
            self._past.clear()
            self._missed.clear()

    def _past_of(self, stamp_ns: int) -> _Waiting | None:
        """Instant that is over, of this stamp or a later one; None if there is none."""
        if not self._past or stamp_ns > self._past[-1].stamp_ns + self._tolerance_ns:
            return None
        return min(self._past, key=lambda past: abs(past.stamp_ns - stamp_ns))

    def _instant_of(self, camera: str, stamp_ns: int, now: float) -> _Waiting:
        """Nearest waiting instant that lacks the camera, or a new one."""
        near = [
            one
            for one in self._waiting
            if abs(one.stamp_ns - stamp_ns) <= self._tolerance_ns and camera not in one.items
        ]
        if near:
            return min(near, key=lambda one: abs(one.stamp_ns - stamp_ns))
        instant = _Waiting(stamp_ns, now)
        self._waiting.append(instant)
        self._waiting.sort(key=lambda one: one.stamp_ns)
        return instant

    def _end(self, count: int) -> list[Instant]:
        """End the first ``count`` waiting instants."""
        ended, self._waiting = self._waiting[: max(count, 0)], self._waiting[max(count, 0) :]
        instants = []
        for one in ended:
            missing = tuple(camera for camera in self._cameras if camera not in one.items)
            self._missed.update(missing)
            self._without.update(missing)
            items = {camera: one.items[camera] for camera in self._cameras if camera in one.items}
            instants.append(Instant(items, missing))
            self._past.append(one)
        return instants
