"""Ablations: variants of an extractor, each without one of its parts (PixLoc, section 5.4, Table 3)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.optimizer.alignment_options import LearnedAlignment
from vizloc_ros.pixloc.patches import SmoothedImage
from vizloc_ros.pixloc.pyramid import FeatureLevel, FeaturePyramid

_DAMPING = 1e-2  # in place of the learned one


class Variant:
    """A ``PyramidExtractor`` that changes the output of another one, its base."""

    def __init__(self, base: PyramidExtractor, name: str) -> None:
        self._base, self._name = base, name

    @property
    def model_id(self) -> str:
        """Name of the base and of the change."""
        return f"{self._base.model_id}-{self._name}"

    @property
    def learned(self) -> LearnedAlignment:
        """Damping and robust cost of the base."""
        return self._base.learned

    @property
    def unit_features(self) -> bool:
        """True if the features of the base are of unit length."""
        return self._base.unit_features

    def extract(self, image: UInt8) -> FeaturePyramid:
        """Extract the changed pyramid; as ``PyramidExtractor.extract``."""
        pyramid = self._base.extract(image)
        return replace(pyramid, levels=tuple(map(self._change_level, range(len(pyramid)), pyramid.levels)))

    def smoothed(self, image: UInt8) -> SmoothedImage | None:
        """Return the image of the base for patches."""
        return self._base.smoothed(image)

    def _change_level(self, index: int, level: FeatureLevel) -> FeatureLevel:
        return level


class Unconfident(Variant):
    """Variant with confidence 1 for every pixel, without the uncertainties of PixLoc, Eq. 6."""

    def __init__(self, base: PyramidExtractor) -> None:
        super().__init__(base, "unconfident")

    def _change_level(self, index: int, level: FeatureLevel) -> FeatureLevel:
        return replace(level, confidences=np.ones_like(level.confidences))


class Undamped(Variant):
    """Variant with one small damping for all levels and directions, without the learned one of PixLoc, Eq. 7."""

    def __init__(self, base: PyramidExtractor) -> None:
        super().__init__(base, "undamped")

    @property
    def learned(self) -> LearnedAlignment:
        """Robust cost of the base with a constant damping."""
        learned = self._base.learned
        return LearnedAlignment.undamped(len(learned.dampings), learned.loss, _DAMPING)


class Coarse(Variant):
    """Variant without the fine level: its images have no patches."""

    def __init__(self, base: PyramidExtractor) -> None:
        super().__init__(base, "coarse")

    def extract(self, image: UInt8) -> FeaturePyramid:
        """Extract the pyramid without the image of the patches; as ``PyramidExtractor.extract``."""
        return replace(self._base.extract(image), smoothed=None)

    def smoothed(self, _image: UInt8) -> None:
        """Return nothing."""


class Compact(Variant):
    """Variant with shorter features: their projections on the directions of largest variation, on each level."""

    def __init__(self, base: PyramidExtractor, images: Sequence[UInt8], dimension: int) -> None:
        """Find the directions in the features of some images, such as the map's."""
        super().__init__(base, f"compact{dimension}")
        pyramids = [base.extract(image) for image in images]
        self._directions = [_directions([p.levels[i] for p in pyramids], dimension) for i in range(len(pyramids[0]))]

    def _change_level(self, index: int, level: FeatureLevel) -> FeatureLevel:
        features = level.features @ self._directions[index]
        if self.unit_features:
            features /= np.maximum(np.linalg.norm(features, axis=2, keepdims=True), np.float32(1e-6))
        return replace(level, features=np.ascontiguousarray(features))


def _directions(levels: Sequence[FeatureLevel], dimension: int) -> Float32:
    """Return (C, D) orthonormal directions of the largest second moments.

    The mean is not subtracted, so that the features keep their lengths.
    """
    features = np.concatenate([level.features.reshape(-1, level.features.shape[2]) for level in levels])
    _, vectors = np.linalg.eigh(features.T @ features)
    return np.ascontiguousarray(vectors[:, ::-1][:, :dimension], np.float32)
