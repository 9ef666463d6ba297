"""Whitening of global descriptors on a map's own images (HF-Net paper, section 5: "PCA fitted on reference images").

What all places of a map have in common (a street, its houses, its light) tells none of them apart. Whitening takes it
away and stretches the directions in which the map's places differ.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vizloc_ros.arrays import UNREADABLE_ARRAY, Float32, Float64
from vizloc_ros.errors import FeatureError, MapError

SHRINKAGE = 0.01  # of the mean variance, added to all: directions that few images tell of are not trusted
_CHUNK = 1024  # images whose descriptors are in 64 bit at a time
_FILES = {"mean": "whitening_mean.npy", "projection": "whitening_projection.npy"}


@dataclass(frozen=True)
class Whitening:
    """A mean and a projection.

    Attributes:
        mean: (G,) float32.
        projection: (G, G') float32.
    """

    mean: Float32
    projection: Float32

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.projection.ndim != 2 or len(self.projection) != len(self.mean):
            raise FeatureError(
                f"the whitening's arrays do not fit together: mean {self.mean.shape}, projection "
                f"{self.projection.shape}: build the map again"
            )

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that change with any of the arrays."""
        return f"{zlib.crc32(np.ascontiguousarray(self.projection).data, zlib.crc32(self.mean.data)):08x}"

    def apply(self, descriptor: Float32) -> Float32:
        """(G,) unit vector to (G',) unit vector.

        Raises:
            FeatureError: the descriptor is of another length.
        """
        if descriptor.shape != self.mean.shape:
            raise FeatureError(
                f"the whitening is for global descriptors of {self.mean.size} elements, this has {descriptor.size}: "
                "use the extractor that the map was built with"
            )
        white = (descriptor - self.mean) @ self.projection
        return white / np.maximum(np.linalg.norm(white), np.float32(1e-9))

    @classmethod
    def learn(cls, descriptors: Sequence[Float32]) -> "Whitening":
        """Learns it on the (G,) descriptors of a map's images.

        Raises:
            FeatureError: there are fewer than two images, or all are the same.
        """
        images = len(descriptors)
        mean = sum(descriptors, np.zeros(1)) / max(images, 1)
        variance, axes = _principal_axes(descriptors, mean) if images > 1 else (np.zeros(1), np.zeros((1, 1)))
        kept = variance > max(1e-6 * variance[0], 1e-12)
        if not kept.any():
            raise FeatureError(
                f"the global descriptors of the map's {images} images are all the same: a map needs at least two "
                "images of different places"
            )
        stretch = np.sqrt(variance[kept] + SHRINKAGE * variance.sum() / len(mean))
        return cls(mean.astype(np.float32), np.ascontiguousarray(axes[kept].T / stretch, dtype=np.float32))

    def save(self, folder: Path) -> None:
        """Writes the arrays into an existing folder."""
        for attribute, file in _FILES.items():
            np.save(folder / file, getattr(self, attribute), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "Whitening":
        """What ``save`` wrote. Raises ``MapError`` naming the file that cannot be read."""
        arrays = {}
        for attribute, file in _FILES.items():
            try:
                arrays[attribute] = np.load(folder / file, allow_pickle=False)
            except UNREADABLE_ARRAY as error:
                raise MapError(
                    f"{folder / file}: cannot be read ({error}): check the map, or build it again"
                ) from error
        return cls(**arrays)


def _principal_axes(descriptors: Sequence[Float32], mean: Float64) -> tuple[Float64, Float64]:
    """Variances (K,), largest first, along orthonormal axes (K, G) of two or more (G,) descriptors.

    Whichever is smaller is decomposed, the images or their covariance: a map may have few of them, or 100,000.
    """
    images, dimension = len(descriptors), len(mean)
    if images <= dimension:
        _, singular, axes = np.linalg.svd(np.array(descriptors, np.float64) - mean, full_matrices=False)
        return singular**2 / (images - 1), axes
    covariance = np.zeros((dimension, dimension))
    for start in range(0, images, _CHUNK):
        centred = np.array(descriptors[start : start + _CHUNK], np.float64) - mean
        covariance += centred.T @ centred
    variance, columns = np.linalg.eigh(covariance / (images - 1))
    return variance[::-1], columns.T[::-1]
