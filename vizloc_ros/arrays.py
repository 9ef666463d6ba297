"""Array types of signatures (shapes and units are in the docstrings), and evenly spread indices."""

from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

# Errors of numpy.load for files that are missing, cut off or damaged; the last two are for a damaged header.
UNREADABLE_ARRAY = (OSError, ValueError, EOFError, SyntaxError, TokenError)

Float64 = NDArray[np.float64]
Float16 = NDArray[np.float16]
Float32 = NDArray[np.float32]
Int8 = NDArray[np.int8]
UInt8 = NDArray[np.uint8]
UInt16 = NDArray[np.uint16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]


def evenly(length: int, count: int) -> Int64:
    """Indices (count,) spread evenly over a sequence of ``length``; from two on with its first and last element."""
    return np.linspace(0, length - 1, count).round().astype(np.int64)
