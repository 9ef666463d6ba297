"""Damaged JPEG data that still decode: flipped bytes shift the rest of the image by some blocks, and nobody says so.

A code that is not the one that was sent has another length, so the decoder loses its place. It soon reads valid codes
again, but has counted too many blocks or too few: all that follow are in a wrong column. So the rows above and below
an edge of blocks do not belong together there, and do so once one of them is shifted by whole blocks.
"""

import cv2
import numpy as np
from scipy import fft

from vizloc_ros.arrays import Float32, UInt8

_BLOCK = 8  # px
_SMOOTHED = 31  # columns; the brightness of whole rows does not count
MIN_DETAIL = 2.0  # gray levels, standard deviation along a row
SHIFTED = 0.5  # least correlation of two rows, once one of them is shifted ...
MIN_GAIN = 0.3  # ... by which it exceeds that without a shift ...
_MIN_BREAK = 0.5  # ... and so does that of rows beside the edge: a thing's lower end has no such neighbors
_ENOUGH_EDGES, _ENOUGH_HALVES = 1, 2  # shifts begin within a row, so that half of it may show them alone


def is_shifted(gray: UInt8) -> bool:
    """Tell whether a part of an (H, W) gray image, decoded from a JPEG, is shifted sideways by whole blocks."""
    width = gray.shape[1] // (2 * _BLOCK) * 2 * _BLOCK
    edges = np.arange(_BLOCK, gray.shape[0] - 1, _BLOCK)
    if not len(edges) or width < 4 * _BLOCK:
        return False
    rows = [row_details(gray[edges + offset, :width]) for offset in (-2, -1, 0, 1)]
    if _shifted_edges(rows, slice(0, width)) >= _ENOUGH_EDGES:
        return True
    halves = slice(0, width // 2), slice(width // 2, width)
    return sum(_shifted_edges(rows, half) for half in halves) >= _ENOUGH_HALVES


def row_details(rows: UInt8) -> Float32:
    """Rows (N, W) without their slow changes."""
    values = rows.astype(np.float32)
    return values - np.asarray(cv2.blur(values, (_SMOOTHED, 1)), np.float32)


def _shifted_edges(rows: list[Float32], part: slice) -> int:
    """Number of edges below which the image is shifted, by a part of the row above each of them.

    Args:
        rows: (E, W) details of the second row above each of E edges, the first one, the first below, the second one.
        part: columns of the row above that are looked for in that below.
    """
    farther_above, above, below, farther_below = (each[:, part] for each in rows)
    at = _correlation(above, below)
    beside = np.minimum(_correlation(farther_above, above), _correlation(below, farther_below))
    is_detailed = np.minimum(above.std(axis=1), below.std(axis=1)) > MIN_DETAIL
    asked = np.flatnonzero(is_detailed & (beside > at + _MIN_BREAK))
    if not len(asked):
        return 0
    shifted = _best_of_shifts(rows[1][asked], rows[2][asked], part)
    return int(((shifted > SHIFTED) & (shifted > at[asked] + MIN_GAIN)).sum())


def _correlation(a: Float32, b: Float32) -> Float32:
    norm = np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.maximum(norm, 1e-6), np.float32)


def _best_of_shifts(above: Float32, below: Float32, part: slice) -> Float32:
    """Largest correlation (E,) of a part of (E, W) rows with other rows that are shifted by whole blocks."""
    width, length = above.shape[1], part.stop - part.start
    alone = np.zeros_like(above)
    alone[:, part] = above[:, part]
    products = fft.irfft(np.conj(fft.rfft(alone)) * fft.rfft(below), width)[:, _BLOCK::_BLOCK]
    ends = np.cumsum(np.pad(np.tile(np.square(below), 2), ((0, 0), (1, 0))), axis=1)
    starts = part.start + np.arange(_BLOCK, width, _BLOCK)
    energy = ends[:, starts + length] - ends[:, starts]
    norm = np.sqrt(np.square(alone).sum(axis=1, keepdims=True) * energy)
    is_detailed = energy > length * MIN_DETAIL**2
    return np.asarray(np.where(is_detailed, products / np.maximum(norm, 1e-6), -1).max(axis=1), np.float32)
