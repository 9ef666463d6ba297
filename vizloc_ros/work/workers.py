"""Workers that compute the chunks of a stage: threads or processes on this machine; ``ray_workers`` has other machines.

Results go to files, not to the caller, so that a run can be killed at any moment. Each worker uses one core.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any, Protocol

from vizloc_ros.errors import MapError
from vizloc_ros.parallel import one_thread_each, usable_cores
from vizloc_ros.work.stage_arrays import dumps, loads, write_part
from vizloc_ros.work.stages import Arrays
from vizloc_ros.work.worker_process import Order, WorkerProcess


@dataclass(frozen=True)
class Chunk:
    """Items whose results are one part.

    Attributes:
        folder: work folder.
        function: function from an item to its result.
        function_file: name of the file in the folder that has the pickled function.
        items: the items.
        file: name of the file of the part in the folder.
    """

    folder: Path
    function: Callable[[Any], Arrays]
    function_file: str
    items: Sequence[Any]
    file: str

    def compute(self, stopped: Event) -> None:
        """Compute the results in this thread, and write them, unless the work is stopped before the last one."""
        results = [self.function(item) for item in self.items if not stopped.is_set()]
        if len(results) == len(self.items):
            write_part(self.folder / self.file, results)

    @property
    def order(self) -> Order:
        """Arguments of ``compute_chunk``."""
        return str(self.folder), self.function_file, dumps(self.items, self.folder), self.file


def compute_elsewhere(folder: str, function_file: str, items: bytes, part: str) -> None:
    """Compute a chunk in any process, on this or another machine; the arguments are those of ``Chunk.order``."""
    with one_thread_each():
        compute_chunk(folder, function_file, items, part)


def compute_chunk(folder: str, function_file: str, items: bytes, part: str) -> None:
    """Compute a chunk in a process that has one thread anyway."""
    root = Path(folder)
    function = _read_function(root, function_file)
    write_part(root / part, [function(item) for item in loads(items, root)])


@lru_cache(maxsize=1)
def _read_function(folder: Path, name: str) -> Callable[[Any], Arrays]:
    """Function of a stage, such as an extractor with its network: opened once by each worker."""
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise MapError(
            f"{folder / name}: cannot be read by a worker ({error.strerror}): the work folder must be on a disk that "
            "all machines share, at the same path (--work)"
        ) from error
    function: Callable[[Any], Arrays] = loads(data, folder)
    return function


class Workers(Protocol):
    """Workers that compute chunks."""

    def run(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Compute the chunks. Yield each one when its part is written; the first error of a worker is raised."""
        ...


@dataclass(frozen=True)
class Threads:
    """Workers in this process; the default for small builds, where starting processes costs more than it gains."""

    count: int = 0

    def run(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Compute the chunks, see ``Workers``."""
        stopped = Event()
        yield from _by_threads(self.count or usable_cores(), lambda chunk: chunk.compute(stopped), chunks, stopped.set)


class Processes:
    """This process and others on the same machine, which start with their first chunk and end with ``open_processes``.

    This one needs no start: it computes while the others import what they need.
    """

    def __init__(self, count: int) -> None:
        self._count, self._others = count, [WorkerProcess() for _ in range(count - 1)]

    def run(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Compute the chunks, see ``Workers``. Raises ``MapError`` if a process is killed."""
        stopped = Event()
        idle: SimpleQueue[WorkerProcess | None] = SimpleQueue()  # None is this process
        for worker in [None, *self._others]:
            idle.put(worker)

        def compute(chunk: Chunk) -> None:
            worker = idle.get()
            try:
                if worker is None:
                    chunk.compute(stopped)
                elif not stopped.is_set():
                    worker.compute(chunk.order)
            finally:
                idle.put(worker)

        def stop() -> None:
            stopped.set()
            self.end()

        try:
            yield from _by_threads(self._count, compute, chunks, stop)
        except EOFError as error:
            raise MapError(
                f"one of {self._count} worker processes was killed, probably by the system for want of memory. The "
                "same command goes on where this one ended: give fewer --processes"
            ) from error

    def end(self) -> None:
        """End the other processes."""
        for worker in self._others:
            worker.end()


@contextmanager
def open_processes(count: int) -> Iterator[Processes]:
    """Give ``count`` workers, of which this process is one. The others end with the block."""
    processes = Processes(count)
    try:
        yield processes
    finally:
        processes.end()


def _by_threads(
    count: int, compute: Callable[[Chunk], None], chunks: Iterable[Chunk], stop: Callable[[], None]
) -> Iterator[Chunk]:
    """Compute chunks by threads, and yield each one when it is done; ``stop`` ends those in progress."""
    with one_thread_each(), ThreadPoolExecutor(count) as pool:
        try:
            yield from as_they_finish(lambda chunk: pool.submit(compute, chunk), chunks, 2 * count)
        except BaseException:
            stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def as_they_finish(submit: Callable[[Chunk], "Future[Any]"], chunks: Iterable[Chunk], window: int) -> Iterator[Chunk]:
    """Submit the chunks, ``window`` ahead of the results, and yield each one when it is done."""
    waiting: dict[Future[Any], Chunk] = {}
    for chunk in chunks:
        waiting[submit(chunk)] = chunk
        if len(waiting) >= window:
            yield from _finished(waiting)
    while waiting:
        yield from _finished(waiting)


def _finished(waiting: "dict[Future[Any], Chunk]") -> Iterator[Chunk]:
    """Take what is done out of ``waiting``, at least one chunk."""
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        chunk = waiting.pop(future)
        future.result()
        yield chunk
