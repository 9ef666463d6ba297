"""Stages of a build, each a function of many items: computed here and kept in memory, or in a ``WorkFolder``."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

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
