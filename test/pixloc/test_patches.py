"""Patches of the fine level: their residuals and derivatives, the pose they end at, and when it is not used."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pixloc_scene import CAMERA, TRUTH, Scene, bilinear, scene
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float32, Float64, UInt8
from vizloc_ros.errors import FeatureError
from vizloc_ros.geometry.poses import pose_error, transform_points
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.pixloc.optimizer.alignment import align
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions, FineOptions
from vizloc_ros.pixloc.optimizer.patch_products import PatchProducts
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment
from vizloc_ros.pixloc.patches import (
    PATTERN,
    Patches,
    QuantizedPatches,
    SmoothedImage,
    contrast_confidence,
    normalized,
    roughness,
    sample_patches,
)

SIZE = (CAMERA.width, CAMERA.height)
FEATURES = scene(noise=0.15)  # noisy references: the feature levels end beside the true pose
FEATURE_LEVELS = len(FEATURES.pyramid)
NEAR = se3_exp(np.array([0.03, 0.02, -0.05, 0.003, -0.002, 0.002])) * TRUTH


def texture(seed: int = 0) -> UInt8:
    """Image with structure of some pixels."""
    noise = np.random.default_rng(seed).normal(size=SIZE[::-1]).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1)
    return np.clip(128 + 125 * smooth, 0, 255).astype(np.uint8)


def with_patches(image: UInt8, what: Scene = FEATURES, seen: UInt8 | None = None) -> Scene:
    """Scene with the patches of an image; the camera sees ``seen``, by default the same."""
    in_camera = transform_points(TRUTH, what.references.positions)
    pixels, _ = CAMERA.project(in_camera)
    reference = SmoothedImage.of(image, SIZE)
    patches = sample_patches(reference, pixels, CAMERA.fx / in_camera[:, 2])
    smoothed = SmoothedImage.of(image if seen is None else seen, SIZE)
    return replace(
        what,
        pyramid=replace(what.pyramid, smoothed=smoothed),
        references=replace(what.references, patches=patches),
    )


def aligned(what: Scene, prior: Rigid3d = NEAR, **fine: float) -> Alignment:
    options = AlignmentOptions(min_motion=0.02, fine=FineOptions(**fine))
    (outcome,) = align([what.view()], [prior], what.learned, options, trace=True)
    assert outcome.failure == ""
    return outcome


def error(outcome: Alignment) -> float:
    return pose_error(outcome.cam_from_map, TRUTH)[0]


def exact_residual(image: Float32, reference: Float64, u: float, v: float, enlargement: float) -> tuple[Float64, float]:
    """Residual by its definition, in double precision, and the contrast of the image's patch."""
    at = np.array([u, v]) + enlargement * PATTERN
    intensities = bilinear(image[:, :, None], at[:, 0], at[:, 1])[0][:, 0]
    centered = intensities - intensities.mean()
    return centered / np.linalg.norm(centered) - reference, float(intensities.std())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.6, 1.6))
def test_products_are_those_of_the_numeric_derivative(seed: int, enlargement: float) -> None:
    rng = np.random.default_rng(seed)
    image = SmoothedImage.of(texture(seed % 7), SIZE)
    values, _ = normalized(rng.normal(size=(5, len(PATTERN))).astype(np.float32))
    patches = Patches(values, np.full(5, 20, np.float32), np.ones(5, np.float32))
    u, v = rng.uniform(10, SIZE[0] - 10, 5), rng.uniform(10, SIZE[1] - 10, 5)
    found = PatchProducts(image, patches, np.full(5, enlargement)).at(np.arange(5), u, v)
    for i in range(5):

        def residual(du: float, dv: float, i: int = i) -> Float64:
            reference = patches.values[i].astype(np.float64)
            return exact_residual(image.intensities, reference, u[i] + du, v[i] + dv, enlargement)[0]

        step = 1e-5  # px; a jump of the derivative between two pixels changes the mean of both sides by no more
        r = residual(0, 0)
        by_u, by_v = ((residual(*d) - residual(*-d)) / (2 * step) for d in step * np.eye(2))
        assert_allclose(found.squared_residuals[i], r @ r, rtol=1e-3)
        expected = [by_u @ by_u, by_u @ by_v, by_v @ by_v, by_u @ r, by_v @ r]
        products = [found.xx[i], found.xy[i], found.yy[i], found.xr[i], found.yr[i]]
        assert_allclose(products, expected, rtol=0.01, atol=0.01)
        contrast = exact_residual(image.intensities, values[i].astype(np.float64), u[i], v[i], enlargement)[1]
        assert_allclose(found.confidences[i], contrast_confidence(np.float32([contrast]))[0], rtol=1e-3)


def test_gain_and_offset_of_a_camera_do_not_change_patches() -> None:
    pixels = np.random.default_rng(0).uniform(10, 200, (50, 2))
    intensities, one = SmoothedImage.of(texture(), SIZE).intensities, np.ones(50)
    scale = np.ones(2)
    bright, dark = (sample_patches(SmoothedImage(i, scale), pixels, one) for i in (intensities, 30 + 0.2 * intensities))
    assert_allclose(bright.values, dark.values, atol=1e-4)
    assert_allclose(bright.contrasts, 5 * dark.contrasts, rtol=1e-3)
    assert_allclose(np.linalg.norm(bright.values, axis=1), 1, atol=1e-6)
    assert_allclose(bright.values.sum(axis=1), 0, atol=1e-5)


def test_a_flat_patch_is_zero_and_does_not_count() -> None:
    flat = SmoothedImage(np.full(SIZE[::-1], 7, np.float32), np.ones(2))
    patches = sample_patches(flat, np.array([[50.0, 60.0]]), np.ones(1))
    assert_array_equal(patches.values, 0)
    products = PatchProducts(flat, patches, np.ones(1)).at(np.array([0]), np.array([50.0]), np.array([60.0]))
    assert products.confidences[0] == 0
    assert np.isfinite([values[0] for values in vars(products).values()]).all()


def test_quantized_patches_are_the_same_to_a_hundredth() -> None:
    pixels = np.random.default_rng(1).uniform(10, 200, (80, 2))
    patches = sample_patches(SmoothedImage.of(texture(), SIZE), pixels, np.geomspace(0.01, 1e6, 80))
    stored = QuantizedPatches.of(patches)
    assert (stored.values.dtype, stored.contrasts.dtype, stored.resolutions.dtype) == (np.int8, np.float16, np.float16)
    restored = stored.take(np.arange(80)).dequantized()
    assert np.linalg.norm(restored.values - patches.values, axis=1).max() < 0.02
    assert_allclose(restored.contrasts, patches.contrasts, rtol=1e-3)
    assert_allclose(restored.resolutions, np.minimum(patches.resolutions, 65504), rtol=1e-2)


def test_patches_of_another_version_are_refused() -> None:
    with pytest.raises(FeatureError, match=r"\(3, 9\) are not 3 x 16.*add-pixloc"):
        Patches(np.zeros((3, 9), np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32))
    with pytest.raises(FeatureError, match="2 patches for 300 landmarks"):
        replace(FEATURES.references, patches=with_patches(texture()).references.patches.take(np.arange(2)))  # type: ignore[union-attr]


def test_a_blurred_patch_is_less_rough() -> None:
    pixels = np.random.default_rng(2).uniform(20, 200, (200, 2))
    sharp, blurred = (
        sample_patches(SmoothedImage.of(image, SIZE), pixels, np.ones(200)).values
        for image in (texture(), cv2.blur(texture(), (9, 9)))
    )
    assert roughness(blurred).mean() < 0.8 * roughness(sharp).mean()


def test_the_fine_level_ends_nearer_and_knows_it() -> None:
    what = with_patches(texture())
    coarse, fine = aligned(what, enabled=False), aligned(what)
    assert len(coarse.iterations) == FEATURE_LEVELS
    assert len(fine.iterations) == FEATURE_LEVELS + 1
    assert error(coarse) > 0.002
    assert error(fine) < 0.1 * error(coarse)
    assert np.trace(fine.covariance) < 0.1 * np.trace(coarse.covariance)
    assert (fine.inlier_ratio, fine.cost, fine.num_points) == (coarse.inlier_ratio, coarse.cost, coarse.num_points)
    assert len(fine.trace) == 1 + sum(fine.iterations)
    assert_allclose(fine.trace[-1].matrix(), fine.cam_from_map.matrix(), atol=1e-12)


def test_patches_are_as_large_as_the_landmarks_in_the_image() -> None:
    """Seen from half of the distance, structure is twice as large."""
    image = texture(3)
    centre = np.array([CAMERA.cx, CAMERA.cy])
    zoom = np.array([[1.4, 0, -0.4 * centre[0]], [0, 1.4, -0.4 * centre[1]]])
    larger = np.asarray(cv2.warpAffine(image, zoom, SIZE, flags=cv2.INTER_CUBIC), np.uint8)
    plane = CAMERA.rays(np.random.default_rng(4).uniform((60, 50), (260, 190), (200, 2))) * 14.0
    pixels, _ = CAMERA.project(plane)
    patches = sample_patches(SmoothedImage.of(image, SIZE), pixels, np.full(200, CAMERA.fx / 14.0))
    nearer, _ = CAMERA.project(plane - [0, 0, 4.0])
    slots = np.arange(200)
    residuals = [
        PatchProducts(SmoothedImage.of(larger, SIZE), patches, np.full(200, factor))
        .at(slots, *nearer.T)
        .squared_residuals.mean()
        for factor in (1.4, 1.0)
    ]
    assert residuals[0] < 0.1 < residuals[1]


def test_other_exposures_end_at_the_same_pose() -> None:
    dark = (20 + 0.4 * texture()).astype(np.uint8)
    assert error(aligned(with_patches(texture(), seen=dark))) < 0.001


@pytest.mark.parametrize(
    ("seen", "fine"),
    [
        (cv2.blur(texture(), (11, 1)), {}),
        (texture(5), {"min_sharpness": 0.0}),  # another place
        (texture(), {"max_deviation": 0.01}),
        (np.hstack([texture(5)[:, :150], texture()[:, 150:]]), {"min_inlier_ratio": 0.9}),
        (np.full(SIZE[::-1], 90, np.uint8), {}),
    ],
)
def test_the_pose_of_the_features_stays_where_patches_do_not_tell_better(seen: UInt8, fine: dict[str, float]) -> None:
    what = with_patches(texture(), seen=seen)
    coarse, kept = aligned(what, enabled=False), aligned(what, **fine)
    assert_array_equal(kept.cam_from_map.matrix(), coarse.cam_from_map.matrix())
    assert_array_equal(kept.covariance, coarse.covariance)
    assert kept.iterations == coarse.iterations


def test_half_of_the_patches_are_enough() -> None:
    seen = np.hstack([texture(5)[:, :150], texture()[:, 150:]])
    assert error(aligned(with_patches(texture(), seen=seen))) < 0.002


def test_without_patches_of_image_or_map_there_is_no_fine_level() -> None:
    what = with_patches(texture())
    expected = aligned(what, enabled=False)
    for without in (
        replace(what, pyramid=replace(what.pyramid, smoothed=None)),
        replace(what, references=replace(what.references, patches=None)),
    ):
        assert_array_equal(aligned(without).cam_from_map.matrix(), expected.cam_from_map.matrix())


def test_every_initial_pose_is_refined() -> None:
    what = with_patches(texture())
    priors = [NEAR, se3_exp(np.array([-0.05, 0, 0.05, 0, 0.003, 0])) * TRUTH]
    for outcome in align([what.view()], priors, what.learned):
        assert error(outcome) < 0.001
