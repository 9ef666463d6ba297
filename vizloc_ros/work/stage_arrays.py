"""Results of a stage in files: parts as they are computed, and one memory-mapped ``.npy`` file of each column at last.

A result is a tuple of arrays, one for each column. Arrays of a column have the same type and shape, except for their
length. Arrays of finished stages are pickled as references to their files, so that they go to other processes, and to
other machines with the same folder, without a copy.
"""

import copyreg
import io
import pickle
import zipfile
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vizloc_ros.errors import MapError
from vizloc_ros.files import remove, replacing, replacing_folder
from vizloc_ros.work.stages import Arrays

_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def write_part(path: Path, results: Sequence[Arrays]) -> None:
    """Write some results whole or not at all. Raises ``MapError`` if the folder cannot be written."""
    try:
        if not path.parent.is_dir():
            raise FileNotFoundError("there is no such folder on this machine")
        with replacing(path) as file:
            np.savez(file, **_joined(results))
    except OSError as error:
        raise MapError(
            f"{path}: cannot be written ({error}): the disk is full, or the folder is not shared with this machine"
        ) from error


def _joined(results: Sequence[Arrays]) -> dict[str, Any]:
    """Columns of the results, each joined along the first axis, with the length of every array."""
    columns = list(zip(*results, strict=True))
    values = {f"values{k}": np.concatenate(column) for k, column in enumerate(columns)}
    return values | {"lengths": np.array([[len(array) for array in result] for result in results], np.int64)}


def is_whole_part(path: Path) -> bool:
    """True if a part is there, and its checksums are right."""
    try:
        with np.load(path, allow_pickle=False) as part:
            return all(part[name] is not None for name in part.files)
    except _DAMAGED:
        return False


def join_parts(parts: Sequence[Path], folder: Path) -> None:
    """Join parts in the files of a finished stage, one part in memory at a time. ``folder`` appears when it is whole.

    Raises:
        OSError: a part cannot be read, or the folder not be written.
    """
    lengths: list[NDArray[np.int64]] = []
    for path in parts:
        with np.load(path, allow_pickle=False) as part:
            lengths.append(part["lengths"])
    totals = np.concatenate(lengths).sum(axis=0)
    with replacing_folder(folder) as staging:
        columns: list[NDArray[Any]] = []
        ends = np.zeros(len(totals), np.int64)
        for path in parts:
            with np.load(path, allow_pickle=False) as part:
                values = [part[f"values{k}"] for k in range(len(totals))]
            if not columns:
                columns = [
                    np.lib.format.open_memmap(staging / f"{k}.npy", "w+", first.dtype, (int(total), *first.shape[1:]))
                    for k, (first, total) in enumerate(zip(values, totals, strict=True))
                ]
            for column, added, end in zip(columns, values, ends, strict=True):
                column[end : end + len(added)] = added
            ends += [len(added) for added in values]
        for column in columns:
            if isinstance(column, np.memmap):
                column.flush()
        np.save(staging / "lengths.npy", np.concatenate(lengths), allow_pickle=False)


def read_stage(folder: Path) -> list[Arrays]:
    """Results of a finished stage; their arrays are memory-mapped. Raises ``OSError`` or ``ValueError`` if damaged."""
    lengths = np.load(folder / "lengths.npy", allow_pickle=False)
    columns = [_mapped(folder / f"{k}.npy") for k in range(lengths.shape[1])]
    ends = np.cumsum(lengths, axis=0)
    starts = ends - lengths
    if [len(column) for column in columns] != ends[-1].tolist():
        raise ValueError(f"{folder}: the lengths do not fit")
    return [
        tuple(column[start:end] for column, start, end in zip(columns, first, last, strict=True))
        for first, last in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


@lru_cache(maxsize=64)
def _mapped(path: Path) -> NDArray[Any]:
    """Array of a ``.npy`` file, memory-mapped; read if it is empty, which cannot be mapped."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(array)


def forget(folder: Path) -> None:
    """Remove a folder of results."""
    _mapped.cache_clear()
    remove(folder)


def dumps(value: object, folder: Path) -> bytes:
    """Pickle a value; arrays of the stages in ``folder`` become references."""
    buffer = io.BytesIO()
    _Pickler(buffer, folder).dump(value)
    return buffer.getvalue()


def loads(data: bytes, folder: Path) -> Any:
    """Value of ``dumps``; the folder may have another path on this machine."""
    return _Unpickler(io.BytesIO(data), folder).load()


class _Pickler(pickle.Pickler):
    """Pickler that is asked for arrays only: a ``persistent_id`` would be asked for every number."""

    def __init__(self, file: io.BytesIO, folder: Path) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._folder = folder
        self.dispatch_table = copyreg.dispatch_table | {np.ndarray: self._reduced}

    def _reduced(self, value: NDArray[Any]) -> Any:
        """Reduction of an array: its file, first byte, type and shape if it is of a stage, else the usual one."""
        owner: Any = value
        while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
            owner = owner.base
        if value.size == 0 or not value.flags.c_contiguous or not isinstance(owner, np.memmap) or not owner.filename:
            return value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        if (name := _name_in(self._folder, owner.filename)) is None:
            return value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        first = value.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
        return _array_of_stage, (name, first, value.dtype.str, value.shape)


@lru_cache(maxsize=64)
def _name_in(folder: Path, file: str) -> str | None:
    """Name of the file of a stage, relative to the folder of all stages; None for any other file."""
    path = Path(file)
    return f"{path.parent.name}/{path.name}" if path.parent.parent == folder else None


def _array_of_stage(name: str, first: int, dtype: str, shape: tuple[int, ...], *, folder: Path) -> NDArray[Any]:
    column = _mapped(folder / name).reshape(-1).view(np.uint8)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return column[first : first + size].view(dtype).reshape(shape)


class _Unpickler(pickle.Unpickler):
    """Unpickler of arrays of the stages in a folder."""

    def __init__(self, file: io.BytesIO, folder: Path) -> None:
        super().__init__(file)
        self._folder = folder

    def find_class(self, module: str, name: str) -> Any:
        """Find what a pickle names; arrays of stages are those of the folder."""
        found = super().find_class(module, name)
        return partial(found, folder=self._folder) if found is _array_of_stage else found
