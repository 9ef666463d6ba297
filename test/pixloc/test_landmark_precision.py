"""Precision of landmarks in another image: that of a triangulation, and the weights that follow from it."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Float64
from vizloc_ros.pixloc.landmark_precision import precision_weights, projection_std
from vizloc_ros.pixloc.patches import QuantizedPatches, contrast_confidence
from vizloc_ros.pixloc.references import LevelReferences, QuantizedLevel, QuantizedReferences

LANDMARK = np.array([0.3, -0.2, 3.0])
KEYFRAMES = np.array([[0.0, 0.0, 0.0], [0.25, 0.0, 0.05], [0.4, 0.1, 0.0]])
AHEAD = np.array([0.0, 0.0, 1.0])
NOISE = 1e-3  # rad, of a ray


def directions(vectors: Float64) -> Float64:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def triangulated(rng: np.random.Generator) -> Float64:
    """Point nearest to noisy rays from the keyframes."""
    rays = directions(LANDMARK - KEYFRAMES)
    rays = directions(rays + NOISE * rng.standard_normal((3, 3)))
    projectors = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    return np.asarray(np.linalg.solve(projectors.sum(axis=0), np.einsum("nij,nj->i", projectors, KEYFRAMES)))


@pytest.mark.parametrize("center", [[0.2, 0.0, 0.0], [1.5, 0.0, 1.5], [3.0, 0.0, 3.0]])
def test_it_is_that_of_points_that_were_triangulated(center: list[float]) -> None:
    rng, other = np.random.default_rng(0), np.array(center)
    seen = directions(np.array([triangulated(rng) for _ in range(4000)]) - other)
    distance = np.linalg.norm(LANDMARK - other) / np.linalg.norm(LANDMARK - KEYFRAMES[0])
    ray = directions((LANDMARK - other)[None])[0]
    spread = np.sqrt(np.linalg.eigvalsh(np.cov((seen - seen @ ray[:, None] * ray).T))[-1])
    std = projection_std(directions(LANDMARK - KEYFRAMES), np.zeros(3, np.int64), ray[None])
    assert std.shape == (1,)
    assert std[0] == pytest.approx(spread * distance / NOISE, rel=0.25)


def test_landmarks_do_not_depend_on_each_other_or_on_the_frame() -> None:
    rng = np.random.default_rng(1)
    rays, others = (
        directions(rng.normal(0, 0.1, (12, 3)) + AHEAD),
        directions(rng.normal(0, 0.3, (4, 3)) + AHEAD),
    )
    groups = np.array([0, 1, 2, 3] * 3)
    stds, turn = projection_std(rays, groups, others), Rotation.from_rotvec([0.3, -1.0, 2.0]).as_matrix()
    alone = [projection_std(rays[groups == k], np.zeros(3, np.int64), others[k : k + 1])[0] for k in range(4)]
    np.testing.assert_allclose(stds, alone)
    np.testing.assert_allclose(stds, projection_std(rays @ turn.T, groups, others @ turn.T))


def test_one_ray_says_nothing_beside_itself() -> None:
    ray, aside = AHEAD[None], directions(AHEAD[None] + 0.3 * np.eye(1, 3))
    assert projection_std(ray, np.zeros(1, np.int64), ray)[0] == pytest.approx(1)
    assert projection_std(ray, np.zeros(1, np.int64), aside)[0] > 50


def test_weights_fall_from_one_to_nothing() -> None:
    weights = precision_weights(np.array([0.0, 0.5, 5.0, 500.0]))
    assert weights.tolist() == sorted(weights.tolist(), reverse=True)
    assert weights[[0, 2]] == pytest.approx([1, 0.5])
    assert weights[1] > 0.98
    assert weights[3] < 1e-3


def test_weights_are_factors_of_the_confidences_of_features_and_patches() -> None:
    rng, count = np.random.default_rng(2), 5
    level = QuantizedLevel.of(
        LevelReferences(rng.standard_normal((count, 8)).astype(np.float32), np.full(count, 0.8, np.float32))
    )
    contrasts = np.array([2, 5, 10, 30, 90], np.float16)
    patches = QuantizedPatches(np.ones((count, 16), np.int8), contrasts, np.ones(count, np.float16))
    references = QuantizedReferences(np.zeros((count, 3)), np.arange(count), (level,), patches)
    weights = np.array([1.0, 0.5, 0.1, 0.7, 0.0], np.float32)
    found = references.weighted(weights)
    np.testing.assert_allclose(found.levels[0].confidences, 0.8 * weights, atol=1e-3)
    np.testing.assert_array_equal(found.levels[0].features, level.features)
    assert found.patches is not None
    expected = weights * contrast_confidence(contrasts.astype(np.float32))
    np.testing.assert_allclose(
        contrast_confidence(found.patches.contrasts.astype(np.float32)), expected, rtol=5e-3, atol=1e-4
    )
