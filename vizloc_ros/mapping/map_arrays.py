"""Array files of a map: opened once, after the file, its size, type and shape were compared with map.yaml."""

from collections.abc import Callable
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
    (dtype, shape), file_name = kind, f"{name}.npy"
    path, listed = folder / file_name, info.listed(folder, file_name)
    try:
        with open_regular(path) as file:
            found = ArrayFile.of(file)
            if found.dtype != dtype or found.shape != shape or (found.fortran and len(shape) > 1):
                has, said = f"{found.dtype}{list(found.shape)}", f"{np.dtype(dtype)}{list(shape)}"
                raise MapError(f"{path}: holds {has}, but map.yaml says {said}: the file is of another map; {_AGAIN}")
            size = file.tell()
            if size != listed.bytes:
                raise MapError(f"{path}: has {size} bytes instead of {listed.bytes}: of another map; {_AGAIN}")
            if opened is not None:
                opened(path, file, listed)
            return np.memmap(file, dtype, "r", found.start, shape)
    except FileNotFoundError:
        raise MapError(f"{path}: missing: {_AGAIN}") from None
    except UNREADABLE_ARRAY as error:
        raise MapError(f"{path}: cut off or corrupt ({error}): {_AGAIN}") from error


def in_memory(array: Any) -> Any:
    """Copy of a small mapped array, which no change of its file reaches; read-only too."""
    copied = np.array(array)
    copied.flags.writeable = False
    return copied
