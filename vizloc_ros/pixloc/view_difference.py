"""Difference of two views of landmarks, by which observations are chosen."""

import numpy as np

from vizloc_ros.arrays import Float64


def view_difference(rays: Float64, others: Float64) -> Float64:
    """Return the (N,) differences of two views of landmarks: 1 for 1.3 times the distance, or an angle of 15 degrees.

    Args:
        rays: (N, 3) vectors from one camera to each landmark [m].
        others: (N, 3) vectors from the other camera [m].
    """
    a, b = np.linalg.norm(rays, axis=1), np.linalg.norm(others, axis=1)
    scale = np.abs(np.log(np.maximum(a, 1e-3) / np.maximum(b, 1e-3))) / np.log(1.3)
    cosine = np.einsum("nd,nd->n", rays, others) / np.maximum(a * b, 1e-6)
    angle = np.arccos(np.clip(cosine, -1, 1)) / np.radians(15)
    return np.asarray(np.hypot(scale, angle))
