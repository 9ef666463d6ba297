"""Reference features of landmarks: sampled from a level, in memory, and quantized as a map stores them."""

from dataclasses import dataclass, replace

import numpy as np

from vizloc_ros.arrays import Float16, Float32, Float64, Int8, Int64
from vizloc_ros.errors import FeatureError
from vizloc_ros.geometry.interpolation import Corners, interpolate_channels_last
from vizloc_ros.pixloc.patches import Patches, QuantizedPatches
from vizloc_ros.pixloc.pyramid import FeatureLevel

_MIN_AMPLITUDE = 0.01  # smallest value of the largest integer: scales below 6e-5 lose digits in 16 bit, or become 0


@dataclass(frozen=True)
class LevelReferences:
    """Reference features of N landmarks on one level, sampled where keyframes observe them.

    Attributes:
        features: (N, C) features F_k[p_k] (PixLoc, Eq. 1), of unit length unless they are intensities.
        confidences: (N,) confidences u_k, 0 to 1 (PixLoc, Eq. 6).
    """

    features: Float32
    confidences: Float32

    def take(self, rows: Int64) -> "LevelReferences":
        """Return some of the landmarks, by their rows."""
        return LevelReferences(self.features[rows], self.confidences[rows])


@dataclass(frozen=True)
class References:
    """Landmarks with their reference features, F_k[p_k] of the points P_i in PixLoc, Eq. 1.

    Attributes:
        positions: (N, 3) positions [m, map].
        landmark_ids: (N,) indices of the landmarks in the map.
        levels: reference features of each level, finest first.
        patches: patches of the fine level; None without this level.
    """

    positions: Float64
    landmark_ids: Int64
    levels: tuple[LevelReferences, ...]
    patches: Patches | None = None

    def __post_init__(self) -> None:
        if self.patches is not None and len(self.patches) != len(self.positions):
            raise FeatureError(f"{len(self.patches)} patches for {len(self.positions)} landmarks")
        for level in self.levels:
            if len(level.features) != len(self.positions) or len(level.confidences) != len(self.positions):
                raise FeatureError(
                    f"{len(level.features)} reference features and {len(level.confidences)} confidences for "
                    f"{len(self.positions)} landmarks"
                )

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, rows: Int64) -> "References":
        """Return some of the landmarks, by their rows."""
        return References(
            self.positions[rows],
            self.landmark_ids[rows],
            tuple(level.take(rows) for level in self.levels),
            None if self.patches is None else self.patches.take(rows),
        )


@dataclass(frozen=True)
class QuantizedLevel:
    """Reference features of N landmarks on one level, quantized as the map stores them.

    Attributes:
        features: (N, C) integers, features divided by the scales.
        scales: (N,) scale of each landmark's features.
        confidences: (N,) confidences u_k, 0 to 1.
    """

    features: Int8
    scales: Float16
    confidences: Float16

    @classmethod
    def of(cls, level: LevelReferences, bits: int = 8) -> "QuantizedLevel":
        """Quantize reference features to integers of up to 8 bits, with scales."""
        largest, top = np.abs(level.features).max(axis=1, initial=0), 2 ** (bits - 1) - 1
        scales = (np.maximum(largest, _MIN_AMPLITUDE) / top).astype(np.float16)
        integers = np.rint(level.features / scales[:, None].astype(np.float32)).clip(-top, top)
        return cls(integers.astype(np.int8), scales, level.confidences.astype(np.float16))

    def dequantized(self, *, unit_features: bool) -> LevelReferences:
        """Return the features as 32-bit floats, of 8 bits exact to a hundredth of the largest element.

        ``unit_features`` scales them to unit length, as they were before.
        """
        values = self.features.astype(np.float32) * self.scales[:, None].astype(np.float32)
        return LevelReferences(unit(values) if unit_features else values, self.confidences.astype(np.float32))


@dataclass(frozen=True)
class QuantizedReferences:
    """Landmarks with quantized reference features, as the map stores them and as messages carry them.

    Attributes:
        positions: (N, 3) positions [m, map].
        landmark_ids: (N,) indices of the landmarks in the map.
        levels: quantized reference features of each level, finest first.
        patches: quantized patches of the fine level; None without this level.
    """

    positions: Float64
    landmark_ids: Int64
    levels: tuple[QuantizedLevel, ...]
    patches: QuantizedPatches | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def weighted(self, weights: Float32) -> "QuantizedReferences":
        """Return them with (N,) weights from 0 to 1 as factors of all confidences."""
        levels = tuple(
            replace(level, confidences=(level.confidences * weights).astype(np.float16)) for level in self.levels
        )
        patches = None if self.patches is None else self.patches.weighted(weights)
        return replace(self, levels=levels, patches=patches)

    def dequantized(self, *, unit_features: bool = True) -> References:
        """Return the reference features with which images are aligned; see ``QuantizedLevel.dequantized``."""
        levels = tuple(level.dequantized(unit_features=unit_features) for level in self.levels)
        patches = None if self.patches is None else self.patches.dequantized()
        return References(self.positions, self.landmark_ids, levels, patches)


def unit(features: Float32) -> Float32:
    """Scale (N, C) features to unit length."""
    squared = np.einsum("nc,nc->n", features, features)
    return features / np.sqrt(np.maximum(squared, np.float32(1e-12)))[:, None]


def sample_references(level: FeatureLevel, pixels: Float64, *, normalize: bool) -> LevelReferences:
    """Look up features and confidences at (N, 2) pixels of the image, F[p] of PixLoc, Eq. 1: bilinear interpolation.

    Pixels outside the image have the values at its border. ``normalize`` scales the features to unit length.
    """
    rows, columns = level.shape
    corners = Corners.of(level.positions(pixels), columns, rows)
    features = interpolate_channels_last(level.features, corners)
    if normalize:
        features = unit(features)
    return LevelReferences(features, interpolate_channels_last(level.confidences, corners))
