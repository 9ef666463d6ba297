"""Bilinear interpolation between the pixels of an array, with channels last or first.

Positions are columns and rows (x, y) of the array, (0, 0) at the centre of its first pixel. Positions beyond the
centres of the outermost pixels are moved to them.
"""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float32, Float64, Int64


@dataclass(frozen=True)
class Corners:
    """The four pixels around each of N positions.

    Attributes:
        left: (N,) columns.
        right: (N,) columns; the same as ``left`` at the right border.
        top: (N,) rows.
        bottom: (N,) rows; the same as ``top`` at the lower border.
        x: (N,) distance of the position from ``left``, 0 to 1.
        y: (N,) distance of the position from ``top``, 0 to 1.
    """

    left: Int64
    right: Int64
    top: Int64
    bottom: Int64
    x: Float32
    y: Float32

    @classmethod
    def of(cls, positions: Float64 | Float32, columns: int, rows: int) -> "Corners":
        """Pixels around (N, 2) positions in an array with these numbers of columns and rows."""
        inside: Float64 = np.clip(positions, 0, (columns - 1, rows - 1))
        first = inside.astype(np.int64)
        x, y = (inside - first).astype(np.float32).T
        left, top = first.T
        return cls(left, np.minimum(left + 1, columns - 1), top, np.minimum(top + 1, rows - 1), x, y)

    def take(self, indices: Int64) -> "Corners":
        """Pixels around some of the positions."""
        return Corners(*(values[indices] for values in vars(self).values()))


def interpolate_channels_last(values: Float32, corners: Corners) -> Float32:
    """Return the (N, ...) values of an (H, W, ...) array: between columns first, then between rows."""
    column = (-1,) + (1,) * (values.ndim - 2)
    x, y = corners.x.reshape(column), corners.y.reshape(column)
    upper = (1 - x) * values[corners.top, corners.left] + x * values[corners.top, corners.right]
    lower = (1 - x) * values[corners.bottom, corners.left] + x * values[corners.bottom, corners.right]
    interpolated: Float32 = (1 - y) * upper + y * lower
    return interpolated


def interpolate_channels_first(values: Float32, corners: Corners) -> Float32:
    """Return the (C, N) values of a (C, H, W) array: the weighted sum of the corners, channel by channel."""
    channels, _, width = values.shape
    flat = values.reshape(channels, -1)
    interpolated = np.zeros((channels, len(corners.x)), np.float32)
    for column, row, weight in (
        (corners.left, corners.top, (1 - corners.x) * (1 - corners.y)),
        (corners.right, corners.top, corners.x * (1 - corners.y)),
        (corners.left, corners.bottom, (1 - corners.x) * corners.y),
        (corners.right, corners.bottom, corners.x * corners.y),
    ):
        interpolated += flat.take(row * width + column, axis=1) * weight
    return interpolated
