"""Folder of a build in progress: finished stages and parts, so that a run after a kill does only what is missing.

The name of a stage has a digest of all that its results depend on: the function with its options, and the items. Items
that are results of an earlier stage are in it by the name of that one. So other options of the matching keep the
features, and another image or pose changes all that follows from it.
"""

import hashlib
import logging
import os
import pickle
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vizloc_ros import __version__
from vizloc_ros.bounded import read_regular
from vizloc_ros.errors import MapError
from vizloc_ros.files import lock_file, replacing
from vizloc_ros.parallel import Item, Progress
from vizloc_ros.work.stage_arrays import dumps, forget, is_whole_part, join_parts, read_stage
from vizloc_ros.work.stages import Arrays
from vizloc_ros.work.workers import Chunk, Threads, Workers

_LOG = logging.getLogger(__name__)
_MAX_CHUNK = 16  # items, so that a kill costs little
_MIN_CHUNKS = 64  # so that no core waits long for the last one
_UNPICKLABLE = (pickle.PicklingError, TypeError, AttributeError)
_PARTS = ".parts"
_FUNCTION = ".function"
_LOCK = "lock"
_MARK = b"work folder of vizloc_ros\n"
_OWN = re.compile(r"\.?\w+-[0-9a-f]{16}.*")  # names of stages, and of their files on the way


class WorkFolder:
    """Folder in which stages are computed by workers; ``work_folder`` opens one."""

    def __init__(self, path: Path, workers: Workers) -> None:
        self._path, self._workers = path.resolve(), workers

    def map(
        self,
        stage: str,
        function: Callable[[Item], Arrays],
        items: Sequence[Item],
        description: str,
        progress: Progress,
    ) -> list[Arrays]:
        """Return ``[function(item) for item in items]``; what is in the folder already is not computed again.

        Items or functions that cannot be pickled, such as closures, are computed in this process and not kept.

        Args:
            stage: name of the stage, unique in a build.
            function: function from an item to a tuple of arrays.
            items: the items.
            description: description of the progress.
            progress: progress display.

        Returns:
            The results, with memory-mapped arrays that stay valid until the folder is removed.

        Raises:
            MapError: the folder cannot be written, or a worker was killed.
        """
        if not items:
            return []
        try:
            pickled, name = self._name(stage, function, items)
            workers = self._workers
        except _UNPICKLABLE:
            pickled, name, workers = b"", f"{stage}-{secrets.token_hex(8)}", Threads()
        finished = self._path / name
        try:
            if finished.is_dir():
                return read_stage(finished)
        except (OSError, ValueError):
            forget(finished)
        chunks = self._chunks(name, function, items)
        with self._errors_of_the_disk():
            missing = self._prepared(stage, name, pickled, chunks)
        todo = sum(len(chunk.items) for chunk in missing)
        if todo < len(items):
            _LOG.warning("%s: %s goes on, %d of %d are there", self._path, description, len(items) - todo, len(items))
        for _ in progress(_each_item(workers.run(missing)), description, todo):
            pass
        with self._errors_of_the_disk():
            join_parts([self._path / chunk.file for chunk in chunks], finished)
            forget(self._path / f"{name}{_PARTS}")
            (self._path / f"{name}{_FUNCTION}").unlink(missing_ok=True)
            return read_stage(finished)

    @contextmanager
    def _errors_of_the_disk(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise MapError(f"{self._path}: the work folder cannot be written or read ({error})") from error

    def _prepared(self, stage: str, name: str, pickled: bytes, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Chunks whose parts are missing or damaged; all that a worker reads is there."""
        self._forget_others(stage, name)
        parts = self._path / f"{name}{_PARTS}"
        parts.mkdir(exist_ok=True)
        for leftover in parts.glob(".*"):
            leftover.unlink(missing_ok=True)
        with replacing(self._path / f"{name}{_FUNCTION}") as file:
            file.write(pickled)
        return [chunk for chunk in chunks if not is_whole_part(self._path / chunk.file)]

    def _name(self, stage: str, function: Callable[[Item], Arrays], items: Sequence[Item]) -> tuple[bytes, str]:
        pickled = dumps(function, self._path)
        digest = hashlib.sha256(f"{__version__} {len(items)}".encode())
        digest.update(pickled)
        for item in items:
            digest.update(dumps(item, self._path))
        return pickled, f"{stage}-{digest.hexdigest()[:16]}"

    def _chunks(self, name: str, function: Callable[[Item], Arrays], items: Sequence[Item]) -> list[Chunk]:
        size = max(1, min(_MAX_CHUNK, len(items) // _MIN_CHUNKS))
        return [
            Chunk(
                self._path, function, f"{name}{_FUNCTION}", items[first : first + size], f"{name}{_PARTS}/{first}.npz"
            )
            for first in range(0, len(items), size)
        ]

    def _forget_others(self, stage: str, name: str) -> None:
        """Remove the results of this stage for other images or options."""
        others = [path for path in self._path.glob(f"{stage}-*") if not path.name.startswith(name)]
        for path in others:
            if path.is_dir():
                forget(path)
            else:
                path.unlink(missing_ok=True)
        if others:
            _LOG.warning("%s: %s is of other images or options, and begins anew", self._path, stage)


def _each_item(chunks: Iterator[Chunk]) -> Iterator[Any]:
    for chunk in chunks:
        yield from chunk.items


@contextmanager
def work_folder(path: Path, workers: Workers | None = None) -> Iterator[WorkFolder]:
    """Give the work folder at ``path``; it is removed if the block succeeds, and else kept for the next run.

    Raises:
        MapError: another build uses the folder, it is no work folder, or it cannot be made.
    """
    try:
        _require_own(path)
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    except OSError as error:
        raise MapError(f"{path}: the work folder cannot be made ({error.strerror}): give another --work") from error
    try:
        _lock(lock, path)
        os.pwrite(lock, _MARK, 0)
        try:
            yield WorkFolder(path, workers or Threads())
        except BaseException:
            if any(path.glob("*/*")):
                raise
            forget(path)  # nothing was computed
            raise
        forget(path)
    finally:
        os.close(lock)


def _require_own(path: Path) -> None:
    """Raise ``MapError`` if a folder holds anything that no build has written: it is removed in the end."""
    if not path.is_dir() or not any(path.iterdir()):
        return
    others = [entry.name for entry in path.iterdir() if entry.name != _LOCK and not _OWN.fullmatch(entry.name)]
    try:
        is_marked = read_regular(path / _LOCK, len(_MARK)) in (_MARK, b"")
    except OSError:
        is_marked = False
    if others or not is_marked:
        found = f" (it holds {others[0]})" if others else ""
        raise MapError(f"{path}: is not the work folder of a build{found}: give another --work")


def _lock(lock: int, path: Path) -> None:
    locked = lock_file(lock)
    if locked is False:
        raise MapError(f"{path}: another build works there: wait for it, or give another --out")
    if locked is None:
        _LOG.warning("%s: this disk has no locks: do not run the same build twice at once", path)
