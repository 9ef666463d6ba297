"""Names for the array types used in signatures; shapes and units stand in the docstrings."""

from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

# What numpy.load raises for files that are missing, cut off or damaged; the last two for a damaged header.
UNREADABLE_ARRAY = (OSError, ValueError, EOFError, SyntaxError, TokenError)

Float64 = NDArray[np.float64]
Float16 = NDArray[np.float16]
Float32 = NDArray[np.float32]
Int8 = NDArray[np.int8]
UInt8 = NDArray[np.uint8]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]
