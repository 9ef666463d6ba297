"""Features between the pixels of a level."""

import numpy as np

from vizloc_ros.arrays import Float32, Float64
from vizloc_ros.pixloc.pyramid import FeatureLevel
from vizloc_ros.pixloc.references import LevelReferences, unit


def sample(level: FeatureLevel, pixels: Float64, *, normalize: bool) -> LevelReferences:
    """Features and confidences at (N, 2) pixels of the image, bilinear; outside, those at the border.

    ``normalize`` scales features to unit length.
    """
    rows, columns = level.shape
    positions = np.clip(level.positions(pixels), 0, (columns - 1, rows - 1))
    corner = np.minimum(positions.astype(np.int64), (columns - 2, rows - 2))
    x, y = (positions - corner).astype(np.float32).T
    left, top = corner.T

    def between(values: Float32) -> Float32:
        a, b = values[top, left], values[top, left + 1]
        c, d = values[top + 1, left], values[top + 1, left + 1]
        wide = (-1,) + (1,) * (values.ndim - 2)
        u, v = x.reshape(wide), y.reshape(wide)
        between: Float32 = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d)
        return between

    features = between(level.features)
    if normalize:
        features = unit(features)
    return LevelReferences(features, between(level.confidences))
