"""Stages of a build, each a function of many items: computed here and kept in memory, or in a ``WorkFolder``."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vizloc_ros.parallel import Item, Progress, parallel_map

Arrays = tuple[NDArray[Any], ...]  # result of an item: of one place, arrays differ in their length only


class Stages(Protocol):
    """Place where stages are computed, and where their results are."""

    def map(
        self,
        stage: str,
        function: Callable[[Item], Arrays],
        items: Sequence[Item],
        description: str,
        progress: Progress,
    ) -> list[Arrays]:
        """Return ``[function(item) for item in items]``; the first exception ends it.

        Args:
            stage: name of the stage, unique in a build.
            function: function from an item to a tuple of arrays.
            items: the items.
            description: description of the progress.
            progress: progress display.
        """
        ...


class InMemory:
    """Stages that are computed by threads on all cores and held in memory."""

    def map(
        self,
        stage: str,
        function: Callable[[Item], Arrays],
        items: Sequence[Item],
        description: str,
        progress: Progress,
    ) -> list[Arrays]:
        """Return ``[function(item) for item in items]``, see ``Stages``."""
        return parallel_map(function, items, description, progress)


IN_MEMORY = InMemory()


def joined(results: Sequence[Arrays]) -> list[NDArray[Any]]:
    """Join the arrays of all results, place by place; without a copy if they are a memory-mapped stage."""
    return [_joined(column) for column in zip(*results, strict=True)]


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    whole = arrays[0].base
    if isinstance(whole, np.ndarray) and all(array.base is whole for array in arrays):
        ends = np.cumsum([len(array) for array in arrays]).tolist()
        rows = zip([0, *ends], ends, arrays, strict=False)
        if len(whole) == ends[-1] and all(_same(whole[start:end], array) for start, end, array in rows):
            return whole
    return np.concatenate(arrays)


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """True if both arrays are the same bytes in memory."""
    return a.shape == b.shape and a.dtype == b.dtype and a.__array_interface__["data"] == b.__array_interface__["data"]
