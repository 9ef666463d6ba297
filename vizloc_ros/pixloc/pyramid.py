"""Dense features of one image, level by level (PixLoc, section 3.1: image representation)."""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float32, Float64
from vizloc_ros.errors import FeatureError
from vizloc_ros.pixloc.patches import SmoothedImage


@dataclass(frozen=True)
class FeatureLevel:
    """One level of the features of an image: feature map F and uncertainty map U of the paper.

    Attributes:
        features: (H, W, C) features F, of unit length in every pixel unless they are intensities.
        confidences: (H, W) confidences u = 1 / (1 + U), 0 to 1 (PixLoc, Eq. 6).
        scale: (2,) columns and rows of this level for one pixel of the image.
    """

    features: Float32
    confidences: Float32
    scale: Float64

    def __post_init__(self) -> None:
        if self.features.ndim != 3 or self.confidences.shape != self.features.shape[:2] or min(self.shape) < 2:
            raise FeatureError(
                f"features {self.features.shape} and confidences {self.confidences.shape} do not make a level: "
                "H x W x C and H x W with at least two rows and columns are needed"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the level."""
        return self.features.shape[0], self.features.shape[1]

    def positions(self, pixels: Float64) -> Float64:
        """Return the positions of (..., 2) pixels of the image on this level; (0, 0) is the center of the first one."""
        return (pixels + 0.5) * self.scale - 0.5


@dataclass(frozen=True)
class FeaturePyramid:
    """Feature levels of one image.

    Attributes:
        levels: levels, finest first; none of an image whose patches alone are aligned.
        image_size: (width, height) of the image [px].
        smoothed: image for the patches of the fine level; None without this level.
    """

    levels: tuple[FeatureLevel, ...]
    image_size: tuple[int, int]
    smoothed: SmoothedImage | None = None

    def __len__(self) -> int:
        return len(self.levels)


def level_of_image(
    features: Float32, confidences: Float32, image_size: tuple[int, int], *, normalize: bool = True
) -> FeatureLevel:
    """Return the level of an image of (width, height) that (H, W, C) features cover from edge to edge.

    ``normalize`` scales the features to unit length.
    """
    if normalize:
        norms = np.linalg.norm(features, axis=2, keepdims=True)
        features = features / np.maximum(norms, np.float32(1e-6))
    rows, columns = confidences.shape
    scale = np.array([columns / image_size[0], rows / image_size[1]])
    return FeatureLevel(np.ascontiguousarray(features), np.ascontiguousarray(confidences), scale)
