"""Work on all cores from threads: OpenCV and BLAS release the interpreter lock, but must not start threads too."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import cv2
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")


class Progress(Protocol):
    """Wraps an iterable to show how far it is."""

    def __call__(self, iterable: Iterable[Item], description: str, total: int) -> Iterable[Item]:
        """Yields the items of ``iterable``, of which there are ``total``."""
        ...


def silent(iterable: Iterable[Item], description: str, total: int) -> Iterable[Item]:
    """The ``Progress`` that shows nothing."""
    return iterable


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Inside, OpenCV and BLAS calls use one thread."""
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
    """``[function(item) for item in items]`` on all cores, in order; the first exception ends it."""
    with one_thread_each(), ThreadPoolExecutor(usable_cores()) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in progress(futures, description, len(futures))]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
