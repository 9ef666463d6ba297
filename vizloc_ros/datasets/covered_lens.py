"""Covered part of the lens: a region that stays dark and the same while the rest of the image moves.

Dirt, a sticker, a strap before the lens. Sky stays the same, too, but is brighter than the rest of a day's image; at
night nothing can be told. Poses may still be right, so this is named and not withheld.
"""

from collections import deque

import cv2
import numpy as np

from vizloc_ros.arrays import Bool, Float32, UInt8

_COLUMNS, _ROWS = 32, 24  # cells whose mean brightness is compared
_MOVED = 1.0  # gray levels, mean over the cells: less is a camera at rest, whose images are not counted
_IMAGES, _FEWEST = 40, 20
_MOVING_STD = 5.0  # gray levels over the images, mean over the cells that are not covered
_STATIC_STD = 0.8  # road and walls in the shade stay above, by their texture
_BRIGHT_IMAGE = 50.0  # gray levels; below, it is night
_DARK = 0.7  # of the image's median brightness
_MIN_SHARE = 0.04  # of the image


class CoveredLens:
    """Watch for covered parts in the images of one camera. For one thread."""

    def __init__(self) -> None:
        self._grids: deque[Float32] = deque(maxlen=_IMAGES)

    def check(self, gray: UInt8) -> str:
        """Take the next (H, W) gray image; return a description of the covered part, empty without one."""
        grid = np.asarray(cv2.resize(gray, (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA), np.float32)
        if not self._grids or np.abs(grid - self._grids[-1]).mean() > _MOVED:
            self._grids.append(grid)
        if len(self._grids) < _FEWEST:
            return ""
        covered = _covered_cells(np.stack(self._grids))
        share = float(covered.mean())
        if share < _MIN_SHARE:
            return ""
        return (
            f"{share:.0%} of the image, {_place_of(covered)}, stays dark and the same while the rest moves: is the "
            "lens covered or dirty there?"
        )


def _covered_cells(grids: Float32) -> Bool:
    """Mask (R, C) of the largest dark and static region of (N, R, C) brightnesses."""
    spread, brightness = grids.std(axis=0), grids.mean(axis=0)
    typical = float(np.median(brightness[spread > _STATIC_STD])) if (spread > _STATIC_STD).any() else 0.0
    static = (spread < _STATIC_STD) & (brightness < _DARK * typical)
    if typical < _BRIGHT_IMAGE or static.all() or spread[~static].mean() < _MOVING_STD:
        return np.zeros(spread.shape, bool)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(static.astype(np.uint8))
    if count < 2:
        return static
    return np.asarray(labels == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def _place_of(covered: Bool) -> str:
    rows, columns = np.nonzero(covered)
    row, column = (rows.mean() + 0.5) / covered.shape[0], (columns.mean() + 0.5) / covered.shape[1]
    vertical = "upper" if row < 0.4 else "lower" if row > 0.6 else ""
    horizontal = "left" if column < 0.4 else "right" if column > 0.6 else ""
    return " ".join(filter(None, (vertical, horizontal))) or "in the middle"
