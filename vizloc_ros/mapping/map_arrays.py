"""Array files of a map: opened once, after the file, its size, type and shape were compared with map.yaml."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vizloc_ros.arrays import UNREADABLE_ARRAY
from vizloc_ros.bounded import ArrayFile, open_regular
from vizloc_ros.errors import MapError
from vizloc_ros.mapping.map_format import FileInfo, MapInfo

ArrayKind = tuple[type[np.generic], tuple[int, ...]]
Opened = Callable[[Path, BinaryIO, FileInfo], None]
_AGAIN = "restore it, or build the map again"


def open_array(folder: Path, name: str, info: MapInfo, kind: ArrayKind, opened: Opened | None = None) -> Any:
    """Memory-map an ``.npy`` file of a map read-only.

    Args:
        folder: folder of the map.
        name: name of the array, without ``.npy``.
        info: content of map.yaml, which lists the file with its size.
        kind: type of the elements, and shape.
        opened: function that gets the path, the open file, which it may keep by duplicating it, and what is listed.

    Raises:
        MapError: the file is missing, no regular file, not listed, or not of this size, type and shape.
    """
    with _opened(folder, name, info, kind) as (path, file, start):
        if opened is not None:
            opened(path, file, info.files[path.name])
        # NumPy indexes a plain array in a third of the time that its memmap takes.
        return np.asarray(np.memmap(file, kind[0], "r", start, kind[1]))


def read_small_array(folder: Path, name: str, info: MapInfo, kind: ArrayKind) -> Any:
    """Read an ``.npy`` file of a map into memory, where no change of the file reaches it; as ``open_array``."""
    with _opened(folder, name, info, kind) as (_, file, start):
        file.seek(start)
        return np.frombuffer(file.read(), kind[0]).reshape(kind[1])


@contextmanager
def _opened(folder: Path, name: str, info: MapInfo, kind: ArrayKind) -> Iterator[tuple[Path, BinaryIO, int]]:
    """Give the path of an array, its file if it is the one that map.yaml describes, and where its elements begin."""
    (dtype, shape), file_name = kind, f"{name}.npy"
    path, listed = folder / file_name, info.listed(folder, file_name)
    try:
        with open_regular(path) as file:
            found = ArrayFile.of(file)
            if found.dtype != dtype or found.shape != shape or (found.fortran and len(shape) > 1):
                has, said = f"{found.dtype}{list(found.shape)}", f"{np.dtype(dtype)}{list(shape)}"
                raise MapError(f"{path}: holds {has}, but map.yaml says {said}: the file is of another map; {_AGAIN}")
            if (size := file.tell()) != listed.bytes:
                raise MapError(f"{path}: has {size} bytes instead of {listed.bytes}: of another map; {_AGAIN}")
            yield path, file, found.start
    except FileNotFoundError:
        raise MapError(f"{path}: missing: {_AGAIN}") from None
    except UNREADABLE_ARRAY as error:
        raise MapError(f"{path}: cut off or corrupt ({error}): {_AGAIN}") from error
