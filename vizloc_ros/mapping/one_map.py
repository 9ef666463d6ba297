"""Check that all landmarks that arrive are of one map: two map servers with different maps must not be mixed.

Landmarks are numbered from zero in every map. So a number with another position is a landmark of another map.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from vizloc_ros.arrays import Float64, Int64

_SAME_POSITION = 0.01  # m; positions are sent as float32
_REMEMBERED = 10_000  # landmarks
_FEW = 3  # shared landmarks below which two messages tell nothing
_SURE = 3  # messages of one map after which a second publisher counts as gone, such as that of a killed process


class OneMap:
    """Memory of the landmarks that have arrived on a topic. Thread-safe.

    Attributes:
        replaced: number of times that the only publisher has changed its map.
    """

    def __init__(self, topic: str, *, sure_first: bool) -> None:
        """Begin without landmarks.

        Args:
            topic: name of the topic, for messages.
            sure_first: also report two publishers that have not been seen to differ, until a few messages agree.
        """
        self.replaced = 0
        self._topic, self._sure_first = topic, sure_first
        self._lock = threading.Lock()
        self._known: tuple[Int64, Float64] = np.zeros(0, np.int64), np.zeros((0, 3))
        self._publishers = self._agreed = 0
        self._differ = False

    def count(self, publishers: int) -> str:
        """Take note of the number of publishers now. Return the reason why their landmarks must not be used, or empty.

        A conflict stands until one of them has gone.
        """
        with self._lock:
            if publishers > max(1, self._publishers):
                self._agreed = 0
            self._publishers = publishers
            if publishers < 2:
                self._differ = False
                return ""
            who = f"{publishers} publishers on {self._topic}: "
            if self._differ:
                return f"{who}their maps differ, stop all visual_map_servers but one"
            if self._sure_first and self._agreed < _SURE:
                return f"{who}is there more than one visual_map_server? No pose until their maps are known to agree"
            return ""

    def take(self, ids: NDArray[np.integer], positions: NDArray[np.floating]) -> bool:
        """Compare the landmarks of a message with those before; return False if they are not to be used.

        Args:
            ids: (N,) numbers of the landmarks; one may come several times.
            positions: (N, 3) their positions in the map [m].
        """
        unique, first = np.unique(ids.astype(np.int64), return_index=True)
        arrived = unique, positions[first].astype(np.float64)
        with self._lock:
            same = _are_of_one_map(self._known, arrived)
            if same is False and self._publishers > 1:
                self._differ = True
                return False
            if same is False:
                self.replaced += 1
            self._agreed += same is True
            self._known = _joined(arrived, self._known if same is not False else None)
            return True


def _joined(arrived: tuple[Int64, Float64], known: tuple[Int64, Float64] | None) -> tuple[Int64, Float64]:
    """Landmarks of the last message, and those before while there is room."""
    if known is None:
        return arrived
    older = np.flatnonzero(~np.isin(known[0], arrived[0]))[: max(0, _REMEMBERED - len(arrived[0]))]
    return np.concatenate([arrived[0], known[0][older]]), np.concatenate([arrived[1], known[1][older]])


def _are_of_one_map(known: tuple[Int64, Float64], arrived: tuple[Int64, Float64]) -> bool | None:
    """Return True if the landmarks of two messages have the same positions; None if too few are shared."""
    _, before, now = np.intersect1d(known[0], arrived[0], assume_unique=True, return_indices=True)
    if len(before) < _FEW:
        return None
    moved = np.abs(known[1][before] - arrived[1][now]).max(axis=1)
    return bool(np.median(moved) < _SAME_POSITION)
