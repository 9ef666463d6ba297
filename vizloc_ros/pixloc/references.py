"""Reference features of landmarks: sampled from a level, in memory, and quantized as a map stores them."""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float16, Float32, Float64, Int8, Int64
from vizloc_ros.errors import FeatureError
from vizloc_ros.pixloc.pyramid import FeatureLevel

_LARGEST = 127
_SMALLEST = 0.01  # what 127 stands for at least: scales below 6e-5 lose their digits, or become 0, in 16 bit


@dataclass(frozen=True)
class LevelReferences:
    """The landmarks on one level.

    Attributes:
        features: (N, C), of unit length unless they are intensities.
        confidences: (N,) of the keyframes, 0 to 1.
    """

    features: Float32
    confidences: Float32

    def take(self, rows: Int64) -> "LevelReferences":
        """Some of the landmarks."""
        return LevelReferences(self.features[rows], self.confidences[rows])


@dataclass(frozen=True)
class References:
    """Landmarks with the features that keyframes saw (PixLoc, section 3.1).

    Attributes:
        points: (N, 3) positions [m, map].
        landmarks: (N,) their numbers in the map.
        levels: finest first.
    """

    points: Float64
    landmarks: Int64
    levels: tuple[LevelReferences, ...]

    def __post_init__(self) -> None:
        for level in self.levels:
            if len(level.features) != len(self.points) or len(level.confidences) != len(self.points):
                raise FeatureError(
                    f"{len(level.features)} reference features and {len(level.confidences)} confidences for "
                    f"{len(self.points)} landmarks"
                )

    def __len__(self) -> int:
        return len(self.points)

    def take(self, rows: Int64) -> "References":
        """Some of the landmarks."""
        return References(
            self.points[rows],
            self.landmarks[rows],
            tuple(level.take(rows) for level in self.levels),
        )


@dataclass(frozen=True)
class QuantizedLevel:
    """The landmarks on one level as the map keeps them.

    Attributes:
        features: (N, C), to be multiplied by the scale.
        scales: (N,).
        confidences: (N,).
    """

    features: Int8
    scales: Float16
    confidences: Float16

    @classmethod
    def of(cls, level: LevelReferences) -> "QuantizedLevel":
        """References as 8-bit integers with scales."""
        largest = np.abs(level.features).max(axis=1, initial=0)
        scales = (np.maximum(largest, _SMALLEST) / _LARGEST).astype(np.float16)
        integers = np.rint(level.features / scales[:, None].astype(np.float32)).clip(-_LARGEST, _LARGEST)
        return cls(integers.astype(np.int8), scales, level.confidences.astype(np.float16))

    def dequantized(self, *, unit_features: bool) -> LevelReferences:
        """As they were, to a hundredth; of unit length again where they were."""
        values = self.features.astype(np.float32) * self.scales[:, None].astype(np.float32)
        return LevelReferences(unit(values) if unit_features else values, self.confidences.astype(np.float32))


@dataclass(frozen=True)
class QuantizedReferences:
    """References as the map keeps them, and as they travel.

    Attributes:
        points: (N, 3) positions [m, map].
        landmarks: (N,) their numbers in the map.
        levels: finest first.
    """

    points: Float64
    landmarks: Int64
    levels: tuple[QuantizedLevel, ...]

    def __len__(self) -> int:
        return len(self.points)

    def dequantized(self, *, unit_features: bool = True) -> References:
        """What images are aligned with."""
        levels = tuple(level.dequantized(unit_features=unit_features) for level in self.levels)
        return References(self.points, self.landmarks, levels)


def unit(features: Float32) -> Float32:
    """(N, C) scaled to unit length."""
    squared = np.einsum("nc,nc->n", features, features)
    return features / np.sqrt(np.maximum(squared, np.float32(1e-12)))[:, None]


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
