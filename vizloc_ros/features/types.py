"""Features of one image, with descriptors quantized to int8 for messages and maps."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vizloc_ros.arrays import Float32, Int8
from vizloc_ros.errors import FeatureError
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.quarter_turns import Roll

QUANTIZATION_SCALE = 127.0  # an int8 descriptor is round(127 * unit vector)
NO_GLOBAL_DESCRIPTOR: Float32 = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Features:
    """Local and global features of one rectified image.

    Attributes:
        keypoints: (N, 2) float32 pixels, (0, 0) at the centre of the top-left pixel, best score first.
        scores: (N,) float32 detection scores, in the extractor's own scale.
        descriptors: (N, D) int8, round(127 * unit vector).
        global_descriptor: (G,) float32 unit vector; empty until a global model has described the image.
        image_size: (width, height) [px].
    """

    keypoints: Float32
    scores: Float32
    descriptors: Int8
    global_descriptor: Float32
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        n = len(self.keypoints)
        if self.keypoints.shape != (n, 2) or self.scores.shape != (n,) or self.descriptors.shape[:1] != (n,):
            raise FeatureError(
                f"features do not fit together: keypoints {self.keypoints.shape}, scores {self.scores.shape}, "
                f"descriptors {self.descriptors.shape}"
            )

    def __len__(self) -> int:
        return len(self.keypoints)

    @cached_property
    def inverse_norms(self) -> Float32:
        """(N,) inverse lengths of the descriptors, for who needs them more than once."""
        return inverse_norms(self.descriptors)

    def best(self, count: int) -> "Features":
        """Return the features with the best ``count`` keypoints only; their indices do not change."""
        return replace(
            self,
            keypoints=self.keypoints[:count],
            scores=self.scores[:count],
            descriptors=self.descriptors[:count],
        )


def quantize(descriptors: Float32) -> Int8:
    """Quantize unit vectors (..., D) to int8; the largest error of an element is 0.5 / 127."""
    return np.round(descriptors * QUANTIZATION_SCALE).clip(-127, 127).astype(np.int8)


def dequantize(descriptors: Int8) -> Float32:
    """Turn int8 descriptors (..., D) back into unit vectors; zero vectors stay zero."""
    values: Float32 = descriptors.astype(np.float32)
    norms = np.sqrt(np.einsum("...d,...d->...", values, values))[..., None]
    values /= np.maximum(norms, np.float32(1e-6))
    return values


def inverse_norms(descriptors: Int8) -> Float32:
    """(N,) inverse lengths of (N, D) descriptors; 1 for zero vectors."""
    values = descriptors.astype(np.float32)
    squared = np.einsum("nd,nd->n", values, values)
    inverse: Float32 = 1 / np.sqrt(np.maximum(squared, np.float32(1)))
    return inverse


def corrected(features: Features, correction: IntrinsicsCorrection, camera: PinholeCamera) -> Features:
    """Features with their keypoints moved to where the calibrated ``camera`` would have seen them."""
    if correction == IntrinsicsCorrection():
        return features
    pixels = features.keypoints.astype(np.float64, order="F")  # with contiguous columns it takes half the time
    return replace(features, keypoints=(pixels - correction.shift(pixels, camera)).astype(np.float32, order="C"))


def turned_back(features: Features, roll: Roll) -> Features:
    """Features of a rolled camera's image, from those of its upright image; the descriptors stay as they are."""
    if roll is Roll.NONE:
        return features
    back = roll.inverse
    keypoints = back.turn_pixels(features.keypoints.astype(np.float64), features.image_size).astype(np.float32)
    return replace(features, keypoints=keypoints, image_size=back.turn_size(features.image_size))
