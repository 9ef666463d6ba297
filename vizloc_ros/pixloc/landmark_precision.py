"""Precision of landmarks as another camera sees them, by which they are weighted (not in the PixLoc paper).

A landmark of keyframes that are near each other is uncertain along their rays. They do not notice it, a camera aside of
them does: there, the landmark may be many pixels off, or behind what is in front of it.
"""

import numpy as np

from vizloc_ros.arrays import Float32, Float64, Int64

_TOLERATED = 5.0  # standard deviations of a keypoint, at which a landmark has half of its weight
_LEAST = 1e-5  # squared sine, of 0.2 deg: rays of two keyframes that are the same but for noise


def projection_std(rays: Float64, groups: Int64, others: Float64) -> Float64:
    """Return how precise landmarks are in another image, by linear triangulation.

    Args:
        rays: (M, 3) unit vectors from keyframes to the landmarks that they observe.
        groups: (M,) row of each one's landmark, 0 to N - 1; each landmark has at least one.
        others: (N, 3) unit vectors from the other camera to the landmarks.

    Returns:
        (N,) standard deviations of the landmarks' projections, in those of a keypoint.
    """
    counts = np.bincount(groups)
    sums = np.stack([np.bincount(groups, axis) for axis in rays.T], axis=1)
    means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    along = np.einsum("md,md->m", rays, means[groups])
    across = np.bincount(groups, np.clip(1 - along**2, 0, 1))  # sum of the squared sines
    aside = np.clip(1 - np.einsum("nd,nd->n", others, means) ** 2, 0, 1)
    return np.asarray(np.sqrt(1 / counts + aside / np.maximum(across, _LEAST)))


def precision_weights(stds: Float64) -> Float32:
    """Return weights from 0 to 1 by standard deviations as of ``projection_std``."""
    return (1 / (1 + (stds / _TOLERATED) ** 2)).astype(np.float32)
