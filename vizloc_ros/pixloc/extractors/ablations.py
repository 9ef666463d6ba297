"""Variants of an extractor that lack one of its parts: what each part is worth (PixLoc, table 3)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.optimizer.alignment_options import LearnedAlignment
from vizloc_ros.pixloc.pyramid import FeatureLevel, FeaturePyramid

_DAMPING = 1e-2  # of those without a learned one


class Variant:
    """A ``PyramidExtractor`` that changes what another one makes."""

    def __init__(self, base: PyramidExtractor, name: str) -> None:
        self._base, self._name = base, name

    @property
    def model_id(self) -> str:
        """The other one's, and what was changed."""
        return f"{self._base.model_id}-{self._name}"

    @property
    def learned(self) -> LearnedAlignment:
        """The other one's."""
        return self._base.learned

    @property
    def unit_features(self) -> bool:
        """As the other one's."""
        return self._base.unit_features

    def extract(self, image: UInt8) -> FeaturePyramid:
        """As ``PyramidExtractor.extract``."""
        pyramid = self._base.extract(image)
        return FeaturePyramid(tuple(map(self._changed, range(len(pyramid)), pyramid.levels)), pyramid.image_size)

    def _changed(self, index: int, level: FeatureLevel) -> FeatureLevel:
        return level


class Unconfident(Variant):
    """Trusts every pixel alike."""

    def __init__(self, base: PyramidExtractor) -> None:
        super().__init__(base, "unconfident")

    def _changed(self, index: int, level: FeatureLevel) -> FeatureLevel:
        return replace(level, confidences=np.ones_like(level.confidences))


class Undamped(Variant):
    """The same small damping everywhere instead of the learned one."""

    def __init__(self, base: PyramidExtractor) -> None:
        super().__init__(base, "undamped")

    @property
    def learned(self) -> LearnedAlignment:
        """The loss alone."""
        learned = self._base.learned
        return LearnedAlignment.undamped(len(learned.dampings), learned.loss, _DAMPING)


class Compact(Variant):
    """Shorter features: the directions in which those of some images differ most, on each level."""

    def __init__(self, base: PyramidExtractor, images: Sequence[UInt8], dimension: int) -> None:
        """Finds the directions in some images, of the map."""
        super().__init__(base, f"compact{dimension}")
        pyramids = [base.extract(image) for image in images]
        self._bases = [_directions([p.levels[i] for p in pyramids], dimension) for i in range(len(pyramids[0]))]

    def _changed(self, index: int, level: FeatureLevel) -> FeatureLevel:
        features = level.features @ self._bases[index]
        if self.unit_features:
            features /= np.maximum(np.linalg.norm(features, axis=2, keepdims=True), np.float32(1e-6))
        return replace(level, features=np.ascontiguousarray(features))


def _directions(levels: Sequence[FeatureLevel], dimension: int) -> Float32:
    """(C, D) orthonormal directions of the largest second moments; the mean is one of them, for lengths to stay."""
    features = np.concatenate([level.features.reshape(-1, level.features.shape[2]) for level in levels])
    _, vectors = np.linalg.eigh(features.T @ features)
    return np.ascontiguousarray(vectors[:, ::-1][:, :dimension], np.float32)
