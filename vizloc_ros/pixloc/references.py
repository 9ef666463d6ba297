"""What an image is aligned with: landmarks, and how keyframes saw them on every level."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float32, Float64, Int64
from vizloc_ros.errors import FeatureError


@dataclass(frozen=True)
class LevelReferences:
    """The landmarks on one level.

    Attributes:
        features: (N, C), of unit length unless they are intensities.
        confidences: (N,) of the keyframes, 0 to 1.
    """

    features: Float32
    confidences: Float32


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
            tuple(LevelReferences(level.features[rows], level.confidences[rows]) for level in self.levels),
        )


def joined(parts: Sequence[References]) -> References:
    """All landmarks of some references that have the same levels."""
    levels = tuple(
        LevelReferences(
            np.concatenate([level.features for level in same]), np.concatenate([level.confidences for level in same])
        )
        for same in zip(*(part.levels for part in parts), strict=True)
    )
    return References(
        np.concatenate([part.points for part in parts]), np.concatenate([part.landmarks for part in parts]), levels
    )
