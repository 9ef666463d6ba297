"""Targets of the local heads for one image, and the conversion of score maps to the detector's soft labels."""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float16, Float32, Int8
from vizloc_ros.features.hfnet.hfnet_config import CELL


@dataclass(frozen=True)
class Targets:
    """Targets for one image of H x W pixels, both multiples of 8.

    Attributes:
        labels: (65, H/8, W/8) float16 soft labels, see ``soft_labels``.
        descriptors: (D, H/8, W/8) int8 descriptors at the centers of the cells, round(127 * unit vector).
        keypoints: (N, 2) float32 pixels of the teacher's best local maxima, best first.
        keypoint_descriptors: (N, D) int8 descriptors at the keypoints.
    """

    labels: Float16
    descriptors: Int8
    keypoints: Float32
    keypoint_descriptors: Int8

    def crop(self, x: int, y: int, width: int, height: int) -> "Targets":
        """Targets of a part of the image; all four numbers in pixels, multiples of 8."""
        rows, columns = slice(y // CELL, (y + height) // CELL), slice(x // CELL, (x + width) // CELL)
        keypoints = self.keypoints - np.array([x, y], np.float32)
        inside = ((keypoints >= 0) & (keypoints <= [width - 1, height - 1])).all(axis=1)
        return Targets(
            self.labels[:, rows, columns],
            self.descriptors[:, rows, columns],
            keypoints[inside],
            self.keypoint_descriptors[inside],
        )


def soft_labels(odds: Float32) -> Float32:
    """Soft labels of 65 classes for cells of 8 x 8 pixels, from a full-resolution detector.

    A detector with a probability p for each pixel is interpreted as 64 independent events per cell, of which at most
    one may happen. The probability of pixel i alone is proportional to its odds p / (1 - p), that of none to 1. A
    single pixel keeps its p; several strong pixels divide the probability.

    Args:
        odds: (H, W) non-negative odds, H and W multiples of 8.

    Returns:
        (65, H/8, W/8) probabilities that sum to 1; channel 8 r + c is row r and column c, the last one "no keypoint".
    """
    height, width = odds.shape
    rows, columns = height // CELL, width // CELL
    cells = odds.reshape(rows, CELL, columns, CELL).transpose(1, 3, 0, 2).reshape(CELL * CELL, rows, columns)
    labels = np.concatenate([cells, np.ones_like(cells[:1])])
    return labels / labels.sum(axis=0)
