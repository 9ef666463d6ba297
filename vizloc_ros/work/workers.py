"""Workers that compute the chunks of a stage: threads or processes on this machine; ``ray_workers`` has other machines.

Results go to files, not to the caller, so that a run can be killed at any moment. Each worker uses one core.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any, Protocol

from vizloc_ros.errors import MapError
from vizloc_ros.parallel import one_thread_each, usable_cores
from vizloc_ros.work.stage_arrays import dumps, loads, write_part
from vizloc_ros.work.stages import Arrays

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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

    def compute(self) -> None:
        """Compute the results in this thread, and write them."""
        write_part(self.folder / self.file, [self.function(item) for item in self.items])

    @property
    def order(self) -> tuple[str, str, bytes, str]:
        """Arguments of ``compute_elsewhere``."""
        return str(self.folder), self.function_file, dumps(self.items, self.folder), self.file


def compute_elsewhere(folder: str, function_file: str, items: bytes, part: str) -> None:
    """Compute a chunk in another process, on this or another machine; the arguments are those of ``Chunk.order``."""
    root = Path(folder)
    with one_thread_each():
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
        count = self.count or usable_cores()
        with one_thread_each(), ThreadPoolExecutor(count) as pool:
            try:
                yield from as_they_finish(lambda chunk: pool.submit(chunk.compute), chunks, 2 * count)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


class Processes:
    """Processes on this machine; they start with the first chunk and end with this one, however that ends."""

    def __init__(self, pool: ProcessPoolExecutor, count: int) -> None:
        self._pool, self._count = pool, count

    def run(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Compute the chunks, see ``Workers``. Raises ``MapError`` if a process is killed."""
        try:
            yield from as_they_finish(self._submit, chunks, 2 * self._count)
        except BrokenProcessPool as error:
            raise MapError(
                f"one of {self._count} worker processes was killed, probably by the system for want of memory. The "
                "same command goes on where this one ended: give fewer --processes"
            ) from error

    def _submit(self, chunk: Chunk) -> "Future[Any]":
        """Submit a chunk, with signals blocked: a worker that starts inherits that, until ``_begin``."""
        order, before = chunk.order, signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            return self._pool.submit(compute_elsewhere, *order)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def open_processes(count: int) -> Iterator[Processes]:
    """Give ``count`` worker processes, which end with the block.

    They are spawned, as sessions of ONNX Runtime and threads of rclpy do not survive a fork.
    """
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, context, _begin, (reader,))
    try:
        yield Processes(pool, count)
        pool.shutdown()
    finally:
        writer.close()  # ends workers that are in the middle of a chunk
        pool.shutdown(wait=False, cancel_futures=True)
        reader.close()


def _begin(reader: "Connection[Any, Any]") -> None:
    """Prepare a worker: it ends with the process that started it, which alone is interrupted by Ctrl-C.

    SIGTERM ends it without the stack trace of pycolmap's logging library.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    Thread(target=_end_with_parent, args=(reader,), daemon=True).start()


def _end_with_parent(reader: "Connection[Any, Any]") -> None:
    try:
        reader.recv_bytes()  # nothing is ever sent
    except (EOFError, OSError):
        os._exit(1)


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
