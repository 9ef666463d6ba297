"""Flat array files that are memory-mapped."""

from pathlib import Path
from typing import Any

import numpy as np

from vizloc_ros.arrays import UNREADABLE_ARRAY
from vizloc_ros.errors import MapError


def open_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> Any:
    """Memory-maps an ``.npy`` file read-only. Raises ``MapError`` unless it is whole and of that type and shape."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise MapError(f"{path}: missing: restore it, or build the map again") from None
    except UNREADABLE_ARRAY as error:
        raise MapError(f"{path}: cut off or corrupt ({error}): restore it, or build the map again") from error
    if array.dtype != dtype or array.shape != shape:
        raise MapError(
            f"{path}: holds {array.dtype}{list(array.shape)}, but map.yaml says {np.dtype(dtype)}{list(shape)}: "
            "the file is of another map; restore it, or build the map again"
        )
    return array
