"""Rows of two moments in one image: the fields of an interlaced camera, or a buffer that is read while it is written.

Both views are in the image, and a pose may be that of either. Rows of one moment resemble the next row more than the
one after it: their mean differences have a ratio of 0.5 to 0.8 in photographs and rendered streets, and of 0.99 at most
with strong noise. If every second row is 0.1 s or more old, it is 1.9 and more. In the raw pixels of a color sensor,
taken for gray, rows and columns alternate.
"""

import cv2
import numpy as np

from vizloc_ros.arrays import UInt8

_STEP = 4  # every such column is compared
_MAX_RATIO = 1.4


def is_interlaced(gray: UInt8) -> bool:
    """Tell whether every second row of an (H, W) gray image is of another moment."""
    return _rows_alternate(gray) and not _rows_alternate(gray.T)


def _rows_alternate(gray: UInt8) -> bool:
    if gray.shape[0] < 3:
        return False
    rows = np.ascontiguousarray(gray[:, ::_STEP])
    next_row, row_after = (cv2.absdiff(rows[step:], rows[:-step]).mean() for step in (1, 2))
    return bool(next_row > _MAX_RATIO * row_after)
