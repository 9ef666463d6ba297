"""Threads on all cores. OpenCV and BLAS release the interpreter lock, but must not start threads of their own."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import cv2
from threadpoolctl import threadpool_limits

MOST_PARTS = 4  # of one image's work: a vehicle's other processes need their cores
Item = TypeVar("Item")
Result = TypeVar("Result")


class Progress(Protocol):
    """Wrapper of an iterable that shows its progress."""

    def __call__(self, iterable: Iterable[Item], description: str, total: int) -> Iterable[Item]:
        """Yield the ``total`` items of ``iterable``."""
        ...


def silent(iterable: Iterable[Item], description: str, total: int) -> Iterable[Item]:
    """``Progress`` that shows nothing."""
    return iterable


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Parts:
    """Parts of one image's work in this process.

    Attributes:
        most: their maximum number, each on a core.
    """

    most: int = MOST_PARTS

    @cached_property
    def threads(self) -> ThreadPoolExecutor:
        """Threads of the parts."""
        return ThreadPoolExecutor(self.most, "vizloc_part")


PARTS = Parts()  # a node sets the maximum before its first image


def in_parts(function: Callable[[slice], None], count: int) -> None:
    """Call a function on equal parts of ``range(count)`` at the same time, on some of the cores."""
    parts = min(usable_cores(), PARTS.most)
    ends = [count * i // parts for i in range(parts + 1)]
    list(PARTS.threads.map(function, map(slice, ends[:-1], ends[1:])))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Context in which calls of OpenCV and BLAS use one thread each."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(threads)


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], description: str, progress: Progress = silent
) -> list[Result]:
    """Return ``[function(item) for item in items]``, computed on all cores; the first exception ends it."""
    with one_thread_each(), ThreadPoolExecutor(usable_cores()) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in progress(futures, description, len(futures))]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
