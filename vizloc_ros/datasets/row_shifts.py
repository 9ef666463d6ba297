"""Rows that are shifted sideways against each other: a bad cable, or a lost synchronization.

A shift moves the landmarks of its rows, and the pose with them. Where it begins, a row differs from the next one by far
more than the rows above and below do, and resembles it once one of them is shifted. An edge that lies across the image
is such a row, too, but no shift makes up for it: photographs, rendered streets and their usual faults have no such rows
or up to five. Where each eight rows are shifted by up to 3 % of the width, 30 of 50 shifts are found and more. Smooth
shifts, as of a camera that vibrates, are none of these.
"""

import cv2
import numpy as np
from scipy import fft

from vizloc_ros.arrays import Int64, UInt8
from vizloc_ros.datasets.jpeg_damage import MIN_DETAIL, MIN_GAIN, SHIFTED, row_details

_STEP = 4  # every such column is compared at first
_BREAK = 1.5  # least difference of the rows where a shift begins, as a ratio of those beside it ...
_BESIDE = 4  # ... on either side: rows that are doubled, or enlarged fourfold, break more often
_LEAST_SHIFT, _MOST_SHIFT = 2, 0.05  # px, and ratio of the width
_ENOUGH = 10  # of such rows
_MOST_ALIKE = 0.6  # ratio of equal shifts; the courses of a wall have no others
_SMALLEST = 64  # px; width and height


def has_shifted_rows(gray: UInt8) -> bool:
    """Tell whether an (H, W) gray image is shifted sideways in ten places or more, by different amounts."""
    if min(gray.shape) < _SMALLEST:
        return False
    breaks = _breaks(gray)
    if len(breaks) < _ENOUGH:
        return False
    shifts = np.abs(_shifts(gray, breaks))
    return len(shifts) >= _ENOUGH and bool(np.bincount(shifts).max() <= _MOST_ALIKE * len(shifts))


def _breaks(gray: UInt8) -> Int64:
    """Rows that differ from the next one by more than those above and below do."""
    rows = np.ascontiguousarray(gray[:, ::_STEP])
    difference = np.pad(cv2.absdiff(rows[1:], rows[:-1]).mean(axis=1), _BESIDE, mode="reflect")
    around = np.lib.stride_tricks.sliding_window_view(difference, 2 * _BESIDE + 1)
    beside = np.maximum(around[:, :_BESIDE].max(axis=1), around[:, _BESIDE + 1 :].max(axis=1))
    return np.flatnonzero(around[:, _BESIDE] > _BREAK * beside)


def _shifts(gray: UInt8, breaks: Int64) -> Int64:
    """Shifts [px] of those rows that the next one resembles once it is shifted."""
    above, below = (row_details(gray[rows]) for rows in (breaks, breaks + 1))
    width = gray.shape[1]
    most = int(_MOST_SHIFT * width)
    norm = np.sqrt(np.square(above).sum(axis=1) * np.square(below).sum(axis=1))
    products = fft.irfft(np.conj(fft.rfft(above)) * fft.rfft(below), width) / np.maximum(norm, 1e-6)[:, None]
    tried = np.r_[_LEAST_SHIFT : most + 1, -most : 1 - _LEAST_SHIFT]
    best = products[:, tried].argmax(axis=1)
    correlation = products[np.arange(len(breaks)), tried[best]]
    is_detailed = np.minimum(above.std(axis=1), below.std(axis=1)) > MIN_DETAIL
    found = is_detailed & (correlation > SHIFTED) & (correlation > products[:, 0] + MIN_GAIN)
    return np.asarray(tried[best][found], np.int64)
