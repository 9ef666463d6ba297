"""Everything that an alignment needs of the features, without touching their channels in every iteration.

Between the four corners of a cell, the image's feature is F = a + x b + y c + x y d, with its derivatives b + y d and
c + x d. With e = a - reference, the residual is r = e + x b + y c + x y d. So the squared residual, the gradient and
Gauss and Newton's products follow from the ten scalar products of b, c, d, e. They stay as long as a landmark stays in
its cell: an iteration that moves it within the cell touches no channel at all. And those that belong to the image
alone are computed once for all landmarks, hypotheses and iterations.
"""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float32, Float64, Int64
from vizloc_ros.pixloc.pyramid import FeatureLevel
from vizloc_ros.pixloc.references import LevelReferences

_NOWHERE = -1


@dataclass(frozen=True)
class PointSums:
    """What the normal equations need of M points at positions p = (x, y) of the level.

    Attributes:
        squared: (M,) r . r
        xx: (M,) dF/dx . dF/dx
        xy: (M,) dF/dx . dF/dy
        yy: (M,) dF/dy . dF/dy
        xr: (M,) dF/dx . r, half the derivative of ``squared`` by x.
        yr: (M,) dF/dy . r
        confidences: (M,) of the image.
    """

    squared: Float32
    xx: Float32
    xy: Float32
    yy: Float32
    xr: Float32
    yr: Float32
    confidences: Float32


class ImageProducts:
    """Scalar products of the features of neighbouring pixels of one level."""

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
        self.corners = np.array([0, 1, columns, columns + 1])  # of a cell: top left, top right, bottom left and right
        self._products = products.reshape(-1, 5)

    def of_cells(self, cells: Int64) -> tuple[Float32, ...]:
        """Products of the corners 0 to 3 of M cells: 00, 11, 22, 33, 01, 23, 02, 13, 03, 12, each (M,)."""
        own, right, down, diagonal, across = self._products[cells[:, None] + self.corners].transpose(2, 1, 0)
        return *own, right[0], right[2], down[0], down[1], diagonal[0], across[0]


class PointProducts:
    """The products at each landmark, kept from one iteration to the next, for several hypotheses side by side."""

    def __init__(self, image: ImageProducts, references: LevelReferences, hypotheses: int) -> None:
        count = hypotheses * len(references.features)
        self._image = image
        self._references = references.features
        self._squared = _dot(references.features, references.features)
        self._cells = np.full(count, _NOWHERE)
        self._products = np.zeros((14, count), np.float32)  # the ten, and the confidences of the corners

    def at(self, points: Int64, u: Float64, v: Float64) -> PointSums:
        """The sums at M places inside the level.

        Args:
            points: (M,) hypothesis * N + row of the reference, each at most once.
            u: (M,) columns.
            v: (M,) rows.
        """
        rows, columns = self._image.level.shape
        left, top = np.minimum(u.astype(np.int64), columns - 2), np.minimum(v.astype(np.int64), rows - 2)
        cells = top * columns + left
        moved = np.flatnonzero(cells != self._cells[points])
        if len(moved):
            self._enter(points[moved], cells[moved])
        bb, bc, bd, cc, cd, dd, eb, ec, ed, ee, *confidences = self._products.take(points, axis=1)
        x, y = (u - left).astype(np.float32), (v - top).astype(np.float32)
        xy = x * y
        rb = eb + x * bb + y * bc + xy * bd
        rc = ec + x * bc + y * cc + xy * cd
        rd = ed + x * bd + y * cd + xy * dd
        re = ee + x * eb + y * ec + xy * ed
        u0, u1, u2, u3 = confidences
        return PointSums(
            squared=np.maximum(re + x * rb + y * rc + xy * rd, 0),
            xx=bb + y * (2 * bd + y * dd),
            xy=bc + x * bd + y * cd + xy * dd,
            yy=cc + x * (2 * cd + x * dd),
            xr=rb + y * rd,
            yr=rc + x * rd,
            confidences=u0 + x * (u1 - u0) + y * (u2 - u0) + xy * (u0 - u1 - u2 + u3),
        )

    def _enter(self, points: Int64, cells: Int64) -> None:
        """Computes anew what depends on the cell."""
        f00, f11, f22, f33, f01, f23, f02, f13, f03, f12 = self._image.of_cells(cells)
        rows, pixels = points % len(self._references), cells[:, None] + self._image.corners
        r0, r1, r2, r3 = (self._image.features[pixels] @ self._references[rows][:, :, None])[:, :, 0].T
        # With b = f1 - f0, c = f2 - f0, d = f0 - f1 - f2 + f3, e = f0 - r:
        b0, c0 = f01 - f00, f02 - f00
        b1, b2, b3 = f11 - f01, f12 - f02, f13 - f03
        c1, c2, c3 = f12 - f01, f22 - f02, f23 - f03
        d0, d1, d2, d3 = (
            f00 - f01 - f02 + f03,
            f01 - f11 - f12 + f13,
            f02 - f12 - f22 + f23,
            f03 - f13 - f23 + f33,
        )
        rb, rc, rd = r1 - r0, r2 - r0, r0 - r1 - r2 + r3
        self._products[:10, points] = (
            *(b1 - b0, b2 - b0, b0 - b1 - b2 + b3),
            *(c2 - c0, c0 - c1 - c2 + c3, d0 - d1 - d2 + d3),
            *(b0 - rb, c0 - rc, d0 - rd, f00 - 2 * r0 + self._squared[rows]),
        )
        self._products[10:, points] = self._image.confidences[pixels].T
        self._cells[points] = cells


def _dot(a: Float32, b: Float32) -> Float32:
    product: Float32 = np.einsum("...c,...c->...", a, b)
    return product
