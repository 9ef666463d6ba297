"""Intensities in place of features, and ablations of extractors: each changes one part and no other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pixloc_scene import smooth_level

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ImageError
from vizloc_ros.pixloc.extractors.ablations import Coarse, Compact, Unconfident, Undamped
from vizloc_ros.pixloc.extractors.photometric import LEVELS, PATTERN, IntensityExtractor
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.optimizer.alignment_options import LearnedAlignment
from vizloc_ros.pixloc.optimizer.robust import BarronLoss
from vizloc_ros.pixloc.patches import SmoothedImage
from vizloc_ros.pixloc.pyramid import FeaturePyramid

IMAGE = np.random.default_rng(0).integers(0, 256, (96, 160), np.uint8)


@dataclass(frozen=True)
class SmoothExtractor:
    """Extractor of unit features with learned damping and confidences; the image's first pixel is their seed."""

    model_id: str = "smooth"
    unit_features: bool = True

    @property
    def learned(self) -> LearnedAlignment:
        return LearnedAlignment(np.arange(12.0).reshape(2, 6), BarronLoss(-1.0, 0.3))

    def extract(self, image: UInt8) -> FeaturePyramid:
        size = (image.shape[1], image.shape[0])
        levels = tuple(smooth_level(size, stride, int(image[0, 0])) for stride in (4, 8))
        return FeaturePyramid(levels, size, SmoothedImage.of(image, size))


BASES: list[PyramidExtractor] = [SmoothExtractor(), IntensityExtractor()]


def test_intensities_are_those_of_the_pattern() -> None:
    pyramid = IntensityExtractor().extract(IMAGE)
    finest = pyramid.levels[0].features
    assert finest.shape == (96, 160, len(PATTERN))
    for k, (x, y) in enumerate(PATTERN):
        assert_allclose(finest[50, 70, k], IMAGE[50 + y, 70 + x] / 255, atol=1e-6)
    assert_allclose(finest[0, 0, PATTERN.index((-2, 0))], IMAGE[0, 0] / 255, atol=1e-6, err_msg="goes on at the border")


def test_intensities_have_five_levels_of_half_the_size() -> None:
    pyramid = IntensityExtractor().extract(IMAGE)
    assert [level.shape for level in pyramid.levels] == [(96 >> k, 160 >> k) for k in range(LEVELS)]
    for k, level in enumerate(pyramid.levels):
        assert_allclose(level.scale, 0.5**k)
        assert_array_equal(level.confidences, 1)
        blocks = IMAGE.reshape(96 >> k, 1 << k, 160 >> k, 1 << k).mean(axis=(1, 3)) / 255
        assert_allclose(level.features[:, :, 0], blocks, atol=1e-5)


def test_intensities_of_a_shrunk_image() -> None:
    extractor = IntensityExtractor(96)
    pyramid = extractor.extract(np.random.default_rng(1).integers(0, 256, (100, 130), np.uint8))
    assert pyramid.image_size == (130, 100)
    assert pyramid.levels[0].shape == (64, 64)
    assert pyramid.levels[-1].shape == (4, 4)
    assert_allclose(pyramid.levels[0].scale, [64 / 130, 64 / 100])
    with pytest.raises(ImageError, match="too small"):
        extractor.extract(np.zeros((20, 130), np.uint8))


def test_intensities_have_a_constant_damping() -> None:
    extractor = IntensityExtractor()
    assert not extractor.unit_features
    assert extractor.learned.dampings.shape == (LEVELS, 6)
    assert np.unique(extractor.learned.dampings).size == 1
    assert extractor.model_id != IntensityExtractor(320).model_id


def parts(extractor: PyramidExtractor) -> dict[str, Any]:
    """All parts of the output of an extractor."""
    pyramid, learned = extractor.extract(IMAGE), extractor.learned
    return {
        "features": [level.features for level in pyramid.levels],
        "confidences": [level.confidences for level in pyramid.levels],
        "scales": [level.scale for level in pyramid.levels],
        "image_size": [pyramid.image_size],
        "smoothed": [] if pyramid.smoothed is None else [pyramid.smoothed.intensities],
        "dampings": [learned.dampings],
        "loss": [(learned.loss.alpha, learned.loss.scale)],
        "unit": [extractor.unit_features],
    }


def assert_only_changed(variant: PyramidExtractor, base: PyramidExtractor, changed: str) -> None:
    found, expected = parts(variant), parts(base)
    for name in set(expected) - {changed}:
        for one, other in zip(found[name], expected[name], strict=True):
            assert_array_equal(one, other, err_msg=name)
    assert variant.model_id.startswith(f"{base.model_id}-")


@pytest.mark.parametrize("base", BASES)
def test_variants_change_one_part_and_no_other(base: PyramidExtractor) -> None:
    for variant, changed in (
        (Unconfident(base), "confidences"),
        (Undamped(base), "dampings"),
        (Compact(base, [IMAGE], 4), "features"),
        (Coarse(base), "smoothed"),
    ):
        assert_only_changed(variant, base, changed)
    assert Coarse(base).extract(IMAGE).smoothed is None
    assert all((level.confidences == 1).all() for level in Unconfident(base).extract(IMAGE).levels)
    assert (Undamped(base).learned.dampings == 1e-2).all()


def test_variants_of_variants_change_both() -> None:
    base = SmoothExtractor()
    both = Undamped(Unconfident(base))
    assert both.model_id == "smooth-unconfident-undamped"
    assert (both.extract(IMAGE).levels[0].confidences == 1).all()
    assert (both.learned.dampings == 1e-2).all()


@pytest.mark.parametrize("base", BASES)
def test_compact_features_of_full_length_are_rotated_ones(base: PyramidExtractor) -> None:
    """Distances do not change, so alignments do not either."""
    full = Compact(base, [IMAGE], 8).extract(IMAGE)
    for one, other in zip(full.levels, base.extract(IMAGE).levels, strict=True):
        assert one.features.shape == other.features.shape
        a, b = (level.features.reshape(-1, 8)[:200] for level in (one, other))
        assert_allclose(a @ a.T, b @ b.T, atol=1e-4)


def test_compact_features_keep_the_largest_variation() -> None:
    """No other four directions keep more, for intensities, which are not scaled to unit length."""
    base, rng = IntensityExtractor(), np.random.default_rng(2)
    compact = Compact(base, [IMAGE], 4).extract(IMAGE)
    for one, other in zip(compact.levels, base.extract(IMAGE).levels, strict=True):
        assert one.features.shape == (*one.shape, 4)
        assert one.features.flags.c_contiguous
        kept = float((one.features**2).sum())
        for _ in range(5):
            directions, _ = np.linalg.qr(rng.normal(size=(8, 4)))
            assert kept >= ((other.features @ directions) ** 2).sum() - 1e-3


def test_compact_unit_features_are_of_unit_length() -> None:
    for level in Compact(SmoothExtractor(), [IMAGE, 255 - IMAGE], 3).extract(IMAGE).levels:
        assert level.features.shape[2] == 3
        assert_allclose(np.linalg.norm(level.features, axis=2), 1, atol=1e-5)
