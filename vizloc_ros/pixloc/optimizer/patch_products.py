"""Scalar products of patches: residuals of normalized intensities, looked up where the landmarks are projected.

With intensities I of the image at the pattern around a position p, c = I - mean(I) and q = c / |c|, the residual is
r = q - reference patch. It moves with p by dq/dp = (1 - q q^T) (dI/dp - mean(dI/dp)) / |c|. So ||r||^2 is twice one
minus the normalized correlation of both patches. dI/dp is the derivative of the bilinear interpolation, at every
intensity of the pattern, so there is no map of derivatives of the whole image.
"""

import numpy as np

from vizloc_ros.arrays import Float32, Float64, Int64
from vizloc_ros.pixloc.optimizer.products import ResidualProducts
from vizloc_ros.pixloc.patches import PATTERN, Patches, SmoothedImage, contrast_confidence, roughness

_MIN_LENGTH = np.float32(1.0)  # gray levels, of the 16 intensities; flatter patches have no derivative


class PatchProducts:
    """Products of the patches of an image and of the references; a slot for each landmark of each pose."""

    def __init__(self, image: SmoothedImage, patches: Patches, enlargements: Float64) -> None:
        """Take patches of N landmarks.

        Args:
            image: the image.
            patches: reference patches.
            enlargements: (B * N,) size of each slot's landmark in this image, for one in the keyframe's.
        """
        self._intensities, self._shape = image.intensities.ravel(), image.shape
        self._references = patches.values
        self._offsets = PATTERN[None] * enlargements[:, None, None]  # (B * N, 16, 2)

    def at(self, slots: Int64, u: Float64, v: Float64) -> ResidualProducts:
        """Look up the residuals of M landmarks at their positions; as ``products.PointProducts.at``."""
        centered, du, dv = self._centered(slots, u, v)
        lengths = np.sqrt(np.einsum("mp,mp->m", centered, centered))
        inverse = 1 / np.maximum(lengths, _MIN_LENGTH)[:, None]
        own = centered * inverse
        residuals = own - self._references[slots % len(self._references)]
        # The projection 1 - q q^T; the mean of q is zero, so that of the derivatives must be removed, too.
        du = (du - du.mean(axis=1, keepdims=True) - own * np.einsum("mp,mp->m", own, du)[:, None]) * inverse
        dv = (dv - dv.mean(axis=1, keepdims=True) - own * np.einsum("mp,mp->m", own, dv)[:, None]) * inverse
        return ResidualProducts(
            squared_residuals=_dot(residuals, residuals),
            xx=_dot(du, du),
            xy=_dot(du, dv),
            yy=_dot(dv, dv),
            xr=_dot(du, residuals),
            yr=_dot(dv, residuals),
            confidences=contrast_confidence(lengths / np.float32(np.sqrt(len(PATTERN)))),
        )

    def sharpness(self, slots: Int64, u: Float64, v: Float64, confidences: Float32) -> float:
        """Return the roughness of the image's patches for that of the references: below 1 for a blurred image.

        Args:
            slots: (M,) slots of the landmarks.
            u: (M,) columns, inside the image.
            v: (M,) rows, inside the image.
            confidences: (M,) confidences of the reference patches.
        """
        centered, _, _ = self._centered(slots, u, v)
        lengths = np.sqrt(np.einsum("mp,mp->m", centered, centered))
        own = centered / np.maximum(lengths, _MIN_LENGTH)[:, None]
        weights = confidences * contrast_confidence(lengths / np.float32(np.sqrt(len(PATTERN))))
        of_references = float(weights @ roughness(self._references[slots % len(self._references)]))
        return float(weights @ roughness(own)) / max(of_references, 1e-9)

    def _centered(self, slots: Int64, u: Float64, v: Float64) -> tuple[Float32, Float32, Float32]:
        """Return (M, 16) intensities without their mean, and derivatives of the intensities by u and by v."""
        rows, columns = self._shape
        offsets = self._offsets[slots]
        at_u, at_v = u[:, None] + offsets[:, :, 0], v[:, None] + offsets[:, :, 1]
        left = np.clip(at_u.astype(np.int64), 0, columns - 2)
        top = np.clip(at_v.astype(np.int64), 0, rows - 2)
        x, y = (at_u - left).astype(np.float32), (at_v - top).astype(np.float32)
        corner = top * columns + left
        a, b = self._intensities[corner], self._intensities[corner + 1]
        c, d = self._intensities[corner + columns], self._intensities[corner + columns + 1]
        above, twist = b - a, a - b - c + d
        du = above + y * twist
        dv = c - a + x * twist
        values = a + x * above + y * dv
        return values - values.mean(axis=1, keepdims=True), du, dv


def _dot(a: Float32, b: Float32) -> Float32:
    product: Float32 = np.einsum("mp,mp->m", a, b)
    return product
