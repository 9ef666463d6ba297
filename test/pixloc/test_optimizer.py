"""Parts of the optimizer: every product and every derivative is compared with its definition (PixLoc, Eq. 1 to 5)."""

from math import pi

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pixloc_scene import CAMERA, TRUTH, bilinear, stack

from vizloc_ros.arrays import Float32, Float64
from vizloc_ros.errors import ConfigError
from vizloc_ros.geometry.camera import IntrinsicsCorrection
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.geometry.se3 import se3_exp, so3_log
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions, LearnedAlignment
from vizloc_ros.pixloc.optimizer.equations import NormalEquations, covariance, solve
from vizloc_ros.pixloc.optimizer.products import ImageProducts, PointProducts
from vizloc_ros.pixloc.optimizer.projection import MIN_DEPTH, LevelCamera, apply_left_update, project
from vizloc_ros.pixloc.optimizer.robust import BarronLoss
from vizloc_ros.pixloc.pyramid import FeatureLevel
from vizloc_ros.pixloc.references import LevelReferences

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)

ALPHAS = [2.0, 1.5, 1.0, 0.0, -1.0, -2.0, -10.0]
BENT = IntrinsicsCorrection(focal=0.01, cx=2.0, cy=-1.5, radial=-0.03)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_the_weight_is_the_derivative_of_the_cost(alpha: float, scale: float) -> None:
    loss = BarronLoss(alpha, scale)
    s, step = np.geomspace(1e-3, 4, 50), 1e-7
    derivative = (loss.cost(s + step) - loss.cost(s - step)) / (2 * step)
    assert_allclose(loss.weight(s), 2 * scale**2 * derivative, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_every_loss_is_least_squares_near_zero(alpha: float) -> None:
    loss, s = BarronLoss(alpha, 0.5), np.array([0.0, 1e-6])
    assert_allclose(loss.cost(s), s / 2 / 0.5**2, rtol=1e-4, atol=1e-15)
    assert_allclose(loss.weight(s), 1, rtol=1e-4)


@pytest.mark.parametrize("alpha", ALPHAS[:-1])
def test_a_smaller_alpha_gives_large_residuals_less_weight(alpha: float) -> None:
    s = np.geomspace(0.01, 4, 20)
    less = BarronLoss(ALPHAS[ALPHAS.index(alpha) + 1], 0.1)
    assert (less.weight(s) < BarronLoss(alpha, 0.1).weight(s)).all()
    assert (less.cost(s) < BarronLoss(alpha, 0.1).cost(s)).all()


def test_the_loss_has_the_published_closed_forms() -> None:
    """Barron, table of special cases, for x / c = residual / scale."""
    residual, scale = np.linspace(0, 3, 20), 0.7
    x = (residual / scale) ** 2
    for alpha, expected in {
        2.0: x / 2,
        1.0: np.sqrt(x + 1) - 1,
        0.0: np.log(x / 2 + 1),
        -2.0: 2 * x / (x + 4),
    }.items():
        assert_allclose(BarronLoss(alpha, scale).cost(residual**2), expected, atol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_loss_takes_torch_tensors_too(alpha: float) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is needed to train: pip install 'vizloc_ros[train]'")
    loss, s = BarronLoss(alpha, 0.1), np.geomspace(1e-3, 4, 9)
    tensor = torch.tensor(s, requires_grad=True)
    cost = loss.cost(tensor)
    assert_allclose(cost.detach().numpy(), loss.cost(s), rtol=1e-12)
    assert_allclose(loss.weight(tensor).detach().numpy(), loss.weight(s), rtol=1e-12)
    cost.sum().backward()
    assert_allclose(2 * 0.1**2 * tensor.grad.numpy(), loss.weight(s), rtol=1e-9)


@pytest.mark.parametrize(("alpha", "scale"), [(2.1, 1.0), (-11.0, 1.0), (0.0, 0.0), (0.0, -1.0), (float("nan"), 1.0)])
def test_losses_that_are_refused(alpha: float, scale: float) -> None:
    with pytest.raises(ConfigError, match="the robust loss has alpha"):
        BarronLoss(alpha, scale)


@pytest.mark.parametrize("dampings", [np.ones(6), np.ones((2, 5)), -np.ones((1, 6)), np.full((1, 6), np.nan)])
def test_dampings_that_are_refused(dampings: Float64) -> None:
    with pytest.raises(ConfigError, match="must be L x 6, and none negative"):
        LearnedAlignment(dampings)


@pytest.mark.parametrize("options", [{"min_landmarks": 5}, {"max_iterations": 0}, {"border": -1}, {"maximum": 3}])
def test_options_that_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        AlignmentOptions(**options)


def random_level(rng: np.random.Generator, rows: int, columns: int, channels: int) -> FeatureLevel:
    features = rng.normal(size=(rows, columns, channels)).astype(np.float32)
    return FeatureLevel(features, rng.uniform(size=(rows, columns)).astype(np.float32), np.ones(2))


def assert_products_are_direct(
    level: FeatureLevel, references: Float32, products: PointProducts, points: Float64, u: Float64, v: Float64
) -> None:
    found = products.at(points, u, v)
    value, by_u, by_v = bilinear(level.features, u, v)
    residual = value - references[points % len(references)]
    confidence, _, _ = bilinear(level.confidences[:, :, None], u, v)
    for name, one, other in [
        ("squared_residuals", residual, residual),
        ("xx", by_u, by_u),
        ("xy", by_u, by_v),
        ("yy", by_v, by_v),
        ("xr", by_u, residual),
        ("yr", by_v, residual),
    ]:
        expected = (one * other).sum(axis=1)
        assert_allclose(getattr(found, name), expected, atol=1e-5 * level.features.shape[2], err_msg=name)
    assert_allclose(found.confidences, confidence[:, 0], atol=1e-6)


@quick
@given(seeds, st.integers(2, 9), st.integers(2, 9), st.integers(1, 12), st.integers(1, 4))
def test_products_are_those_of_bilinear_features(seed: int, rows: int, columns: int, channels: int, poses: int) -> None:
    """Also after landmarks move within their cell, to other cells, out of the image and back."""
    rng = np.random.default_rng(seed)
    level = random_level(rng, rows, columns, channels)
    references = rng.normal(size=(7, channels)).astype(np.float32)
    confidences = np.ones(7, np.float32)
    products = PointProducts(ImageProducts(level), LevelReferences(references, confidences), poses)
    largest = np.array([columns - 1, rows - 1])
    places = rng.uniform((0, 0), largest, (7 * poses, 2))
    for distance in (0.0, 0.2, 3.0, 0.2, 3.0):
        places = (places + rng.uniform(-distance, distance, places.shape)).clip(0, largest)
        points = rng.permutation(len(places))[: rng.integers(1, len(places) + 1)]
        assert_products_are_direct(level, references, products, points, *places[points].T)


def test_products_at_the_pixels_and_at_the_border() -> None:
    rng = np.random.default_rng(0)
    level = random_level(rng, 4, 5, 6)
    references = rng.normal(size=(20, 6)).astype(np.float32)
    products = PointProducts(ImageProducts(level), LevelReferences(references, np.ones(20, np.float32)), 1)
    v, u = (axis.ravel().astype(float) for axis in np.mgrid[:4, :5])
    assert_products_are_direct(level, references, products, np.arange(20), u, v)


def test_a_squared_residual_of_zero_is_not_negative() -> None:
    rng = np.random.default_rng(1)
    level = random_level(rng, 3, 3, 64)
    references = level.features.reshape(-1, 64)
    products = PointProducts(ImageProducts(level), LevelReferences(references, np.ones(9, np.float32)), 1)
    v, u = (axis.ravel().astype(float) for axis in np.mgrid[:3, :3])
    squared = products.at(np.arange(9), u, v).squared_residuals
    assert (squared >= 0).all()
    assert_allclose(squared, 0, atol=1e-4)


def points_before(rng: np.random.Generator, count: int) -> Float64:
    """Random (N, 3) points of the map in the image of ``TRUTH``."""
    pixels = rng.uniform((0, 0), CAMERA.size, (count, 2))
    return transform_points(TRUTH.inverse(), CAMERA.rays(pixels) * rng.uniform(1, 30, (count, 1)))


@quick
@given(seeds)
def test_projection_is_that_of_the_corrected_camera(seed: int) -> None:
    points = points_before(np.random.default_rng(seed), 8)
    rotations, translations = stack([TRUTH, TRUTH])
    for correction in (IntrinsicsCorrection(), BENT):
        pixels, _ = CAMERA.project(transform_points(TRUTH, points))
        expected = pixels + correction.shift(pixels, CAMERA)
        seen = project(rotations, translations, points, CAMERA, correction)
        assert seen.in_front.all()
        assert_allclose(seen.pixels, [expected, expected], atol=1e-9)
        of_level = LevelCamera(CAMERA, correction, np.array([0.25, 0.2])).project(rotations, translations, points.T)
        assert_allclose(of_level.u, (seen.pixels[..., 0] + 0.5) * 0.25 - 0.5, atol=1e-9)
        assert_allclose(of_level.v, (seen.pixels[..., 1] + 0.5) * 0.2 - 0.5, atol=1e-9)
        depths = transform_points(TRUTH, points)[:, 2]
        assert_allclose(1 / of_level.inverse_depth, [depths, depths])


def test_points_behind_the_camera_are_not_in_front() -> None:
    points = np.array([[0.0, 0, -5], [0, 0, 0], [0, 0, MIN_DEPTH / 2], [0, 0, 2]])
    rotations, translations = np.eye(3)[None], np.zeros((1, 3))
    projected = LevelCamera(CAMERA, BENT, np.ones(2)).project(rotations, translations, points.T)
    seen = project(rotations, translations, points, CAMERA, BENT)
    assert projected.in_front.tolist() == seen.in_front.tolist() == [[False, False, False, True]]
    assert all(np.isfinite(values).all() for values in (*projected, seen.pixels))


@quick
@given(seeds)
def test_the_jacobian_is_the_numeric_derivative(seed: int) -> None:
    points = points_before(np.random.default_rng(seed), 5)
    camera = LevelCamera(CAMERA, IntrinsicsCorrection(), np.array([0.25, 0.2]))
    eps = 1e-6
    moves = [sign * step for step in eps * np.eye(6) for sign in (1, -1)]
    projected = camera.project(*stack([se3_exp(move) * TRUTH for move in moves]), points.T)
    here = camera.project(*stack([TRUTH]), points.T)
    du, dv = camera.jacobian(here.x[0], here.y[0], here.inverse_depth[0])
    assert_allclose(du, (projected.u[::2] - projected.u[1::2]) / (2 * eps), rtol=1e-6, atol=1e-6)
    assert_allclose(dv, (projected.v[::2] - projected.v[1::2]) / (2 * eps), rtol=1e-6, atol=1e-6)


def test_a_usual_correction_changes_the_jacobian_by_less_than_a_hundredth() -> None:
    """The reason why it is left out."""
    points = points_before(np.random.default_rng(2), 200)
    camera = LevelCamera(CAMERA, IntrinsicsCorrection(focal=0.005, radial=-0.004), np.ones(2))
    eps = 1e-6
    moves = [sign * step for step in eps * np.eye(6) for sign in (1, -1)]
    projected = camera.project(*stack([se3_exp(move) * TRUTH for move in moves]), points.T)
    here = camera.project(*stack([TRUTH]), points.T)
    du, _ = camera.jacobian(here.x[0], here.y[0], here.inverse_depth[0])
    numeric = (projected.u[::2] - projected.u[1::2]) / (2 * eps)
    assert np.abs(du - numeric).max() < 0.01 * np.abs(numeric).max()


angles = st.one_of(st.sampled_from([0.0, 1e-12, 1e-6, 9.9e-5, 1.01e-4, 1e-2, pi - 1e-9, pi, 4.0]), st.floats(0, 6))


@quick
@given(seeds, st.lists(angles, min_size=1, max_size=4))
@example(0, [0.0, 9.9e-5, 1.01e-4, pi])
def test_the_left_update_is_the_exponential_times_the_pose(seed: int, turns: list[float]) -> None:
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(len(turns), 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    steps = np.hstack([rng.uniform(-3, 3, axes.shape), axes * np.array(turns)[:, None]])
    poses = [se3_exp(rng.uniform(-2, 2, 6)) for _ in turns]
    rotations, translations = apply_left_update(*stack(poses), steps)
    expected = stack([se3_exp(step) * pose for step, pose in zip(steps, poses, strict=True)])
    assert_allclose(rotations, expected[0], rtol=0, atol=1e-13)
    assert_allclose(translations, expected[1], rtol=0, atol=1e-11)


def random_equations(rng: np.random.Generator) -> NormalEquations:
    jacobian = rng.normal(size=(20, 6)) * [1, 1, 1, 30, 30, 30]
    return NormalEquations(jacobian.T @ jacobian, jacobian.T @ rng.normal(size=20))


@quick
@given(seeds, st.floats(0, 10))
def test_updates_solve_the_damped_equations(seed: int, damping: float) -> None:
    rng = np.random.default_rng(seed)
    equations = [random_equations(rng) for _ in range(3)]
    dampings = damping * rng.uniform(size=6)
    for e, step in zip(equations, solve(equations, dampings), strict=True):
        damped = e.hessian + np.diag(np.diag(e.hessian) * dampings)
        assert_allclose(damped @ step, -e.gradient, rtol=1e-6, atol=1e-5)


def test_a_singular_pose_does_not_change_the_others() -> None:
    good = random_equations(np.random.default_rng(4))
    singular = NormalEquations(np.full((6, 6), 1e12), np.ones(6))
    nothing = NormalEquations(np.zeros((6, 6)), np.zeros(6))
    steps = solve([good, singular, nothing], np.zeros(6))
    assert_allclose(steps[0], solve([good], np.zeros(6))[0], rtol=1e-12)
    assert_allclose(steps[2], 0)


def test_the_covariance_is_that_of_the_pose_in_the_map() -> None:
    """The inverse Hessian, transformed by the numeric derivative of the camera's position and rotation."""
    equations, rotation = random_equations(np.random.default_rng(5)), TRUTH.rotation.matrix()
    weights, squared = np.full(30, 0.5, np.float32), np.full(30, 0.04, np.float32)
    eps, here = 1e-6, TRUTH.inverse()

    def change(step: Float64) -> Float64:
        moved_pose = (se3_exp(step) * TRUTH).inverse()
        turn = so3_log(moved_pose.rotation * here.rotation.inverse())
        return np.concatenate([moved_pose.translation - here.translation, turn])

    derivative = np.stack([(change(d) - change(-d)) / (2 * eps) for d in eps * np.eye(6)], axis=1)
    expected = (30 * 0.5 * 0.04 / 24) * derivative @ np.linalg.inv(equations.hessian) @ derivative.T
    found = covariance(equations, weights, squared, rotation)
    assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
    assert_allclose(found, found.T, atol=0)
    assert np.linalg.eigvalsh(found).min() > 0
    assert_allclose(covariance(equations, weights, 9 * squared, rotation), 9 * found, rtol=1e-5)


def test_a_singular_hessian_has_no_covariance() -> None:
    nothing = NormalEquations(np.zeros((6, 6)), np.zeros(6))
    assert np.isnan(covariance(nothing, np.zeros(0, np.float32), np.zeros(0, np.float32), np.eye(3))).all()
