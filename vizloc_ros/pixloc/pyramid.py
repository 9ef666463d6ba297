"""Dense features of one image, level by level."""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float32, Float64
from vizloc_ros.errors import FeatureError


@dataclass(frozen=True)
class FeatureLevel:
    """One level of the features of an image (PixLoc, section 3.1).

    Attributes:
        features: (H, W, C), of unit length in every pixel unless they are intensities.
        confidences: (H, W) how far each pixel is to be trusted, 0 to 1: u = 1 / (1 + U) of the network's uncertainty U.
        scale: (2,) columns and rows of this level for one pixel of the image.
    """

    features: Float32
    confidences: Float32
    scale: Float64

    def __post_init__(self) -> None:
        if self.features.ndim != 3 or self.confidences.shape != self.features.shape[:2] or min(self.shape) < 2:
            raise FeatureError(
                f"features {self.features.shape} and confidences {self.confidences.shape} are no level: H x W x C and "
                "H x W with at least two rows and columns are"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.features.shape[0], self.features.shape[1]

    def positions(self, pixels: Float64) -> Float64:
        """(..., 2) places on this level, (0, 0) the centre of the first, of (..., 2) pixels of the image."""
        return (pixels + 0.5) * self.scale - 0.5


@dataclass(frozen=True)
class FeaturePyramid:
    """The levels of one image, finest first.

    Attributes:
        levels: at least one.
        image_size: (width, height) of the image [px].
    """

    levels: tuple[FeatureLevel, ...]
    image_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.levels)


def level_of_image(
    features: Float32, confidences: Float32, image_size: tuple[int, int], *, normalize: bool = True
) -> FeatureLevel:
    """The level of an image of ``image_size`` (width, height) that features (H, W, C) cover from edge to edge."""
    if normalize:
        norms = np.linalg.norm(features, axis=2, keepdims=True)
        features = features / np.maximum(norms, np.float32(1e-6))
    rows, columns = confidences.shape
    scale = np.array([columns / image_size[0], rows / image_size[1]])
    return FeatureLevel(np.ascontiguousarray(features), np.ascontiguousarray(confidences), scale)
