"""Scalar products of features: what the normal equations need, without the channels in every iteration.

Between the four corners of a cell, bilinear lookup gives the feature F = a + x b + y c + x y d of the image. Its
derivatives are dF/dx = b + y d and dF/dy = c + x d. With e = a - reference feature, the residual is
r = e + x b + y c + x y d (PixLoc, Eq. 1). So its squared length and the terms of J^T W r and J^T W J (Eq. 3) follow
from the ten scalar products of b, c, d and e.

The ten stay the same while a landmark stays in its cell: an iteration that moves it within the cell touches no channel
at all. Products of the image alone are computed once for all landmarks, initial poses and iterations.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vizloc_ros.arrays import Float32, Float64, Int64
from vizloc_ros.pixloc.pyramid import FeatureLevel
from vizloc_ros.pixloc.references import LevelReferences

_NO_CELL = -1


@dataclass(frozen=True)
class ResidualProducts:
    """Scalar products of M residuals r and of the derivatives dF/dx and dF/dy at their positions (x, y) on the level.

    Attributes:
        squared_residuals: (M,) r . r
        xx: (M,) dF/dx . dF/dx
        xy: (M,) dF/dx . dF/dy
        yy: (M,) dF/dy . dF/dy
        xr: (M,) dF/dx . r, half the derivative of r . r by x.
        yr: (M,) dF/dy . r
        confidences: (M,) confidences u_q of the image (PixLoc, Eq. 6).
    """

    squared_residuals: Float32
    xx: Float32
    xy: Float32
    yy: Float32
    xr: Float32
    yr: Float32
    confidences: Float32


class CellProducts(NamedTuple):
    """Scalar products fij = fi . fj of the features at the corners of M cells, (M,) each.

    Corner 0 is top left, 1 top right, 2 bottom left and 3 bottom right.
    """

    f00: Float32
    f11: Float32
    f22: Float32
    f33: Float32
    f01: Float32
    f23: Float32
    f02: Float32
    f13: Float32
    f03: Float32
    f12: Float32


class ImageProducts:
    """Scalar products of the features of neighboring pixels of one level."""

    def __init__(self, level: FeatureLevel) -> None:
        f = level.features
        rows, columns, channels = f.shape
        products = np.zeros((rows, columns, 5), np.float32)
        products[:, :, 0] = _dot(f, f)
        products[:, :-1, 1] = _dot(f[:, :-1], f[:, 1:])
        products[:-1, :, 2] = _dot(f[:-1], f[1:])
        products[:-1, :-1, 3] = _dot(f[:-1, :-1], f[1:, 1:])
        products[:-1, :-1, 4] = _dot(f[:-1, 1:], f[1:, :-1])
        self.level = level
        self.features = f.reshape(-1, channels)
        self.confidences = level.confidences.ravel()
        self.corners = np.array([0, 1, columns, columns + 1])  # pixels of a cell, from its top left one
        self._products = products.reshape(-1, 5)

    def of_cells(self, cells: Int64) -> CellProducts:
        """Return the products of (M,) cells, each given by the index of its top left pixel."""
        own, right, down, diagonal, across = self._products[cells[:, None] + self.corners].transpose(2, 1, 0)
        f00, f11, f22, f33 = own
        return CellProducts(f00, f11, f22, f33, right[0], right[2], down[0], down[1], diagonal[0], across[0])


class PointProducts:
    """Products of image and reference features at each landmark, kept from one iteration to the next.

    Each of several poses has a slot for each landmark: slot = pose * N + landmark.
    """

    def __init__(self, image: ImageProducts, references: LevelReferences, poses: int) -> None:
        count = poses * len(references.features)
        self._image = image
        self._references = references.features
        self._squared = _dot(references.features, references.features)
        self._cells = np.full(count, _NO_CELL)
        self._products = np.zeros((14, count), np.float32)  # the ten, and the confidences of the four corners

    def at(self, slots: Int64, u: Float64, v: Float64) -> ResidualProducts:
        """Look up the residuals (PixLoc, Eq. 1) of M landmarks at their positions on the level.

        Args:
            slots: (M,) slots of the landmarks, each at most once.
            u: (M,) columns, inside the level.
            v: (M,) rows, inside the level.
        """
        rows, columns = self._image.level.shape
        left, top = np.minimum(u.astype(np.int64), columns - 2), np.minimum(v.astype(np.int64), rows - 2)
        cells = top * columns + left
        changed = np.flatnonzero(cells != self._cells[slots])
        if len(changed):
            self._enter_cells(slots[changed], cells[changed])
        bb, bc, bd, cc, cd, dd, eb, ec, ed, ee, *confidences = self._products.take(slots, axis=1)
        x, y = (u - left).astype(np.float32), (v - top).astype(np.float32)
        xy = x * y
        rb = eb + x * bb + y * bc + xy * bd
        rc = ec + x * bc + y * cc + xy * cd
        rd = ed + x * bd + y * cd + xy * dd
        re = ee + x * eb + y * ec + xy * ed
        u0, u1, u2, u3 = confidences
        return ResidualProducts(
            squared_residuals=np.maximum(re + x * rb + y * rc + xy * rd, 0),
            xx=bb + y * (2 * bd + y * dd),
            xy=bc + x * bd + y * cd + xy * dd,
            yy=cc + x * (2 * cd + x * dd),
            xr=rb + y * rd,
            yr=rc + x * rd,
            confidences=u0 + x * (u1 - u0) + y * (u2 - u0) + xy * (u0 - u1 - u2 + u3),
        )

    def _enter_cells(self, slots: Int64, cells: Int64) -> None:
        """Compute the ten products and the confidences of landmarks that have moved to other cells."""
        f00, f11, f22, f33, f01, f23, f02, f13, f03, f12 = self._image.of_cells(cells)
        landmarks, pixels = slots % len(self._references), cells[:, None] + self._image.corners
        # k is the reference feature, F_k of Eq. 1; ki is k . fi:
        k0, k1, k2, k3 = (self._image.features[pixels] @ self._references[landmarks][:, :, None])[:, :, 0].T
        # With b = f1 - f0, c = f2 - f0, d = f0 - f1 - f2 + f3 and e = f0 - k; b1 is b . f1, kb is k . b:
        b0, c0 = f01 - f00, f02 - f00
        b1, b2, b3 = f11 - f01, f12 - f02, f13 - f03
        c1, c2, c3 = f12 - f01, f22 - f02, f23 - f03
        d0, d1, d2, d3 = (
            f00 - f01 - f02 + f03,
            f01 - f11 - f12 + f13,
            f02 - f12 - f22 + f23,
            f03 - f13 - f23 + f33,
        )
        kb, kc, kd = k1 - k0, k2 - k0, k0 - k1 - k2 + k3
        self._products[:10, slots] = (
            *(b1 - b0, b2 - b0, b0 - b1 - b2 + b3),
            *(c2 - c0, c0 - c1 - c2 + c3, d0 - d1 - d2 + d3),
            *(b0 - kb, c0 - kc, d0 - kd, f00 - 2 * k0 + self._squared[landmarks]),
        )
        self._products[10:, slots] = self._image.confidences[pixels].T
        self._cells[slots] = cells


def _dot(a: Float32, b: Float32) -> Float32:
    product: Float32 = np.einsum("...c,...c->...", a, b)
    return product
