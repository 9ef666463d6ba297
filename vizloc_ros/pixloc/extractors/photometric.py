"""Classical photometric alignment, from which PixLoc starts in section 3.1: intensities in place of features."""

import cv2
import numpy as np

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.pixloc.image_fit import scale_to_multiples
from vizloc_ros.pixloc.optimizer.alignment_options import LearnedAlignment
from vizloc_ros.pixloc.optimizer.robust import BarronLoss
from vizloc_ros.pixloc.pyramid import FeaturePyramid, level_of_image

LEVELS = 5
# Residual pattern 8 of "Direct Sparse Odometry" (Engel, Koltun, Cremers, 2016).
PATTERN = ((0, 0), (-2, 0), (2, 0), (0, -2), (0, 2), (-1, -1), (1, 1), (-1, 1))
_RADIUS = 2  # px: of the pattern
_SCALE = 0.1  # of the robust cost, for intensities from 0 to 1
_MIN_SIDE = 4  # px: of the coarsest level


class IntensityExtractor:
    """A ``PyramidExtractor`` without a network: five levels, each half as large as the one before."""

    unit_features = False

    def __init__(self, long_side: int = 640) -> None:
        """Shrink images to ``long_side`` [px]."""
        self._long_side = long_side

    @property
    def model_id(self) -> str:
        """Name with the size of the pattern, the number of levels and the size of images."""
        return f"photometric-{len(PATTERN)}-{LEVELS}-{self._long_side}"

    @property
    def learned(self) -> LearnedAlignment:
        """Constant damping and Cauchy cost; nothing is learned."""
        return LearnedAlignment.undamped(LEVELS, BarronLoss(0.0, _SCALE))

    def extract(self, image: UInt8) -> FeaturePyramid:
        """Extract the pyramid; as ``PyramidExtractor.extract``."""
        size = (image.shape[1], image.shape[0])
        shrunk: Float32 = scale_to_multiples(gray_image(image), self._long_side).astype(np.float32) / np.float32(255)
        levels = []
        for _ in range(LEVELS):
            features = _patches(shrunk)
            levels.append(level_of_image(features, np.ones(shrunk.shape, np.float32), size, normalize=False))
            half = (max(_MIN_SIDE, shrunk.shape[1] // 2), max(_MIN_SIDE, shrunk.shape[0] // 2))
            shrunk = np.asarray(cv2.resize(shrunk, half, interpolation=cv2.INTER_AREA), np.float32)
        return FeaturePyramid(tuple(levels), size)

    def smoothed(self, _image: UInt8) -> None:
        """Return nothing: its finest level are such patches."""


def _patches(image: Float32) -> Float32:
    """Return (H, W, 8) intensities of the pattern around every pixel; the border is replicated."""
    height, width = image.shape
    padded = cv2.copyMakeBorder(image, _RADIUS, _RADIUS, _RADIUS, _RADIUS, cv2.BORDER_REPLICATE)
    shifted = [padded[_RADIUS + y : _RADIUS + y + height, _RADIUS + x : _RADIUS + x + width] for x, y in PATTERN]
    return np.stack(shifted, axis=2)
