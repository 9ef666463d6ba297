"""Photometric alignment: the intensities of small patches in place of features, as the classical methods have it."""

import cv2
import numpy as np

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.features.hfnet.image_size import gray_image
from vizloc_ros.pixloc.image_fit import fit_image
from vizloc_ros.pixloc.optimizer.alignment_options import LearnedAlignment
from vizloc_ros.pixloc.optimizer.robust import BarronLoss
from vizloc_ros.pixloc.pyramid import FeaturePyramid, level_of_image

LEVELS = 5
# Residual pattern 8 of "Direct Sparse Odometry" (Engel, Koltun, Cremers, 2016).
PATTERN = ((0, 0), (-2, 0), (2, 0), (0, -2), (0, 2), (-1, -1), (1, 1), (-1, 1))
_REACH = 2
_SCALE = 0.1  # of the robust loss, for intensities from 0 to 1
_COARSEST_SIDE = 4


class IntensityExtractor:
    """A ``PyramidExtractor`` without a network: five levels, each half as large as the one before."""

    unit_features = False

    def __init__(self, long_side: int = 640) -> None:
        """Shrinks images to ``long_side`` [px]."""
        self._long_side = long_side

    @property
    def model_id(self) -> str:
        """Names the pattern and the size."""
        return f"photometric-{len(PATTERN)}-{LEVELS}-{self._long_side}"

    @property
    def learned(self) -> LearnedAlignment:
        """Nothing was."""
        return LearnedAlignment.undamped(LEVELS, BarronLoss(0.0, _SCALE))

    def extract(self, image: UInt8) -> FeaturePyramid:
        """As ``PyramidExtractor.extract``."""
        size = (image.shape[1], image.shape[0])
        shrunk: Float32 = fit_image(gray_image(image), self._long_side).astype(np.float32) / np.float32(255)
        levels = []
        for _ in range(LEVELS):
            features = _patches(shrunk)
            levels.append(level_of_image(features, np.ones(shrunk.shape, np.float32), size, normalize=False))
            half = (max(_COARSEST_SIDE, shrunk.shape[1] // 2), max(_COARSEST_SIDE, shrunk.shape[0] // 2))
            shrunk = np.asarray(cv2.resize(shrunk, half, interpolation=cv2.INTER_AREA), np.float32)
        return FeaturePyramid(tuple(levels), size)


def _patches(image: Float32) -> Float32:
    """(H, W, 8) intensities around every pixel."""
    height, width = image.shape
    padded = cv2.copyMakeBorder(image, _REACH, _REACH, _REACH, _REACH, cv2.BORDER_REPLICATE)
    shifted = [padded[_REACH + y : _REACH + y + height, _REACH + x : _REACH + x + width] for x, y in PATTERN]
    return np.stack(shifted, axis=2)
