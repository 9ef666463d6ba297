"""Alignment of an image with known pose: convergence, steps, and failures."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from geometry_helpers import matrix_of
from numpy.testing import assert_allclose
from pixloc_scene import CAMERA, PRIORS, TRUTH, Scene, bilinear, scene, stack

from vizloc_ros.arrays import Float64, evenly
from vizloc_ros.errors import FeatureError
from vizloc_ros.geometry.camera import IntrinsicsCorrection
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.se3 import se3_exp, se3_log
from vizloc_ros.pixloc.optimizer.alignment import align
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment
from vizloc_ros.pixloc.optimizer.projection import project
from vizloc_ros.pixloc.optimizer.robust import BarronLoss
from vizloc_ros.pixloc.pyramid import FeaturePyramid

SCENE = scene()
NOISY = scene(noise=0.05)
BENT = IntrinsicsCorrection(focal=0.01, cx=3.0, cy=-2.0, radial=-0.03)


def aligned(what: Scene = SCENE, priors: list[Any] = PRIORS, **options: Any) -> list[Alignment]:
    apart = {name: options.pop(name) for name in ("finalists", "trace") if name in options}
    view = what.view(options.pop("correction", None))
    settings = AlignmentOptions(**{"min_motion": 1e-4, **options})
    return align([view], priors, what.learned, settings, **apart)


def assert_found(outcome: Alignment, metres: float = 1e-4, degrees: float = 1e-3) -> None:
    assert outcome.failure == ""
    distance, angle = pose_error(outcome.cam_from_map, TRUTH)
    assert distance < metres
    assert angle < degrees


def test_every_initial_pose_converges() -> None:
    assert max(pose_error(prior, TRUTH)[0] for prior in PRIORS) > 0.4
    for outcome in aligned():
        assert_found(outcome)
        assert outcome.num_points == len(SCENE.references)
        assert outcome.cost < 1e-5
        assert outcome.inlier_ratio == 1
        assert outcome.trace == ()
    assert aligned()[3].iterations == (1, 1, 1)


@pytest.mark.parametrize("alpha", [2.0, 1.0, -2.0])
def test_other_losses_converge(alpha: float) -> None:
    for outcome in aligned(SCENE.with_loss(BarronLoss(alpha, 0.5))):
        assert_found(outcome)


def test_default_options_converge_to_a_hundredth_of_a_pixel() -> None:
    for outcome in align([SCENE.view()], PRIORS, SCENE.learned):
        assert_found(outcome, metres=1e-3, degrees=1e-2)


def test_coarse_levels_widen_the_basin_of_convergence() -> None:
    far = [se3_exp(5 * se3_log(prior * TRUTH.inverse())) * TRUTH for prior in PRIORS[:3]]
    for outcome in aligned(priors=far):
        assert_found(outcome)
    alone = [pose_error(outcome.cam_from_map, TRUTH)[0] for outcome in aligned(SCENE.only_level(0), far)]
    assert max(alone) > 0.5


def test_a_batch_gives_the_results_of_single_initial_poses() -> None:
    batch = aligned(NOISY, trace=True)
    for prior, outcome in zip(PRIORS, batch, strict=True):
        (alone,) = aligned(NOISY, [prior], trace=True)
        assert outcome.iterations == alone.iterations
        assert outcome.num_points == alone.num_points
        for one, other in zip(outcome.trace, alone.trace, strict=True):
            assert_allclose(matrix_of(one), matrix_of(other), atol=1e-7)
        assert_allclose(
            [outcome.cost, outcome.inlier_ratio], [alone.cost, alone.inlier_ratio], rtol=1e-5, err_msg="cost, inliers"
        )
        assert_allclose(outcome.covariance, alone.covariance, rtol=1e-4, atol=1e-12)


def test_the_trace_goes_from_the_initial_to_the_final_pose() -> None:
    for prior, outcome in zip(PRIORS, aligned(trace=True), strict=True):
        assert len(outcome.trace) == 1 + sum(outcome.iterations)
        assert_allclose(matrix_of(outcome.trace[0]), matrix_of(prior), atol=0)
        assert_allclose(matrix_of(outcome.trace[-1]), matrix_of(outcome.cam_from_map), atol=1e-12)


def test_only_finalists_go_on_to_the_finest_level() -> None:
    lost = se3_exp(np.array([3, 0, 0, 0, 0.8, 0])) * TRUTH
    first, other, second = aligned(priors=[PRIORS[0], lost, PRIORS[1]], finalists=2)
    for outcome in (first, second):
        assert_found(outcome)
        assert outcome.iterations[0] > 0
    assert other.failure == "given up: other initial poses fit better"
    assert other.iterations[0] == 0
    _, ended, _ = aligned(priors=[PRIORS[0], lost, PRIORS[1]], finalists=3)
    assert ended.failure != other.failure
    assert pose_error(ended.cam_from_map, TRUTH)[0] > 1


def test_iterations_end_at_their_limit() -> None:
    for outcome in aligned(priors=PRIORS[:3], max_iterations=2, trace=True):
        assert outcome.iterations == (2, 2, 2)
        assert outcome.failure == ""


def objective(what: Scene, pose: Float64, confidences: Float64 | None = None) -> tuple[float, Float64, Float64]:
    """Cost scale^2 sum(w rho) at exp(d) * initial pose, with (N, C) residuals and weights w, implemented once more."""
    level, references, loss = what.pyramid.levels[0], what.references.levels[0], what.learned.loss
    rotations, translations = stack([se3_exp(pose) * PRIORS[0]])
    pixels = project(rotations, translations, what.references.positions, CAMERA, IntrinsicsCorrection()).pixels[0]
    u, v = level.positions(pixels).T
    inside = (u >= 0) & (v >= 0) & (u <= level.shape[1] - 1) & (v <= level.shape[0] - 1)
    value, _, _ = bilinear(level.features, u, v)
    residual = value - references.features
    if confidences is None:
        confidences = inside * bilinear(level.confidences[:, :, None], u, v)[0][:, 0] * references.confidences
    cost = loss.scale**2 * float(confidences @ loss.cost((residual * residual).sum(axis=1)))
    return cost, residual, confidences


@pytest.mark.parametrize("alpha", [2.0, 0.0, -2.0])
@pytest.mark.parametrize("index", [0, 2])
def test_a_step_is_that_of_levenberg_marquardt(alpha: float, index: int) -> None:
    """The gradient is the numeric one of the robust cost; the Hessian is that of numeric derivatives of residuals."""
    what = NOISY.only_level(index).with_loss(BarronLoss(alpha, 0.3))
    (outcome,) = aligned(what, PRIORS[:1], max_iterations=1, trace=True)
    step = se3_log(outcome.trace[1] * outcome.trace[0].inverse())

    _, residual, confidences = objective(what, np.zeros(6))
    weights = confidences * what.learned.loss.weight((residual * residual).sum(axis=1))
    eps = 1e-7
    around = [[objective(what, sign * d, confidences) for sign in (1, -1)] for d in eps * np.eye(6)]
    gradient = np.array([(after[0] - before[0]) / (2 * eps) for after, before in around])
    jacobian = np.array([(after[1] - before[1]) / (2 * eps) for after, before in around])
    hessian = np.einsum("inc,n,jnc->ij", jacobian, weights, jacobian)
    damped = hessian + np.diag(np.diag(hessian) * what.learned.dampings[0])
    assert_allclose(step, -np.linalg.solve(damped, gradient), rtol=1e-3, atol=1e-5)


def test_an_intrinsics_correction_is_applied() -> None:
    bent = scene(correction=BENT)
    for outcome in aligned(bent, correction=BENT):
        assert_found(outcome)
    for outcome in aligned(bent):
        assert pose_error(outcome.cam_from_map, TRUTH)[0] > 0.02


def test_the_covariance_is_symmetric_positive_and_grows_with_the_residuals() -> None:
    small, large = (aligned(scene(noise=noise), PRIORS[:1])[0].covariance for noise in (0.02, 0.04))
    for covariance in (small, large):
        assert_allclose(covariance, covariance.T, atol=0)
        assert np.linalg.eigvalsh(covariance).min() > 0
    assert_allclose(np.sqrt(np.diag(large) / np.diag(small)), 2, rtol=0.15)


def test_noise_raises_the_cost_and_sign_changes_are_outliers() -> None:
    costs = [aligned(scene(noise=noise), PRIORS[:1])[0].cost for noise in (0.0, 0.05, 0.2)]
    assert costs == sorted(costs)
    quarter = replace(
        SCENE.references.levels[0],
        features=SCENE.references.levels[0].features * np.where(np.arange(300) % 4, 1, -1)[:, None].astype(np.float32),
    )
    turned = replace(SCENE, references=replace(SCENE.references, levels=(quarter, *SCENE.references.levels[1:])))
    (outcome,) = aligned(turned, [TRUTH])
    assert outcome.inlier_ratio == pytest.approx(0.75, abs=0.08)
    assert_found(outcome, metres=0.05, degrees=0.2)


def test_too_few_landmarks_in_the_image_fail() -> None:
    behind = se3_exp(np.array([0, 0, 0, 0, np.pi, 0])) * TRUTH
    good, bad = aligned(priors=[PRIORS[0], behind], min_landmarks=20)
    assert_found(good)
    assert bad.failure == "fewer than 20 landmarks in the image"
    assert bad.iterations == (0, 0, 0)
    assert bad.num_points == 0
    assert_allclose(matrix_of(bad.cam_from_map), matrix_of(behind), atol=1e-12)
    assert np.isnan(bad.covariance).all()
    assert bad.cost == bad.inlier_ratio == 0


def test_no_landmarks_at_all_fail() -> None:
    nothing = replace(SCENE, references=SCENE.references.take(np.zeros(0, np.int64)))
    for outcome in aligned(nothing):
        assert outcome.failure == "fewer than 10 landmarks in the image"


def test_a_pose_that_moves_too_far_has_diverged() -> None:
    near = se3_exp(np.array([0.01, 0, 0, 0, 0, 0])) * TRUTH
    far, good = aligned(priors=[PRIORS[0], near], max_distance=0.2)
    assert far.failure == "diverged: more than 0.2 m away from the initial pose"
    assert sum(far.iterations) > 0
    assert_found(good)


def test_features_of_nan_fail() -> None:
    levels = [replace(level, features=np.full_like(level.features, np.nan)) for level in SCENE.pyramid.levels]
    broken = replace(SCENE, pyramid=FeaturePyramid(tuple(levels), CAMERA.size))
    for prior, outcome in zip(PRIORS, aligned(broken), strict=True):
        assert outcome.failure == "the landmarks in the image do not fix the pose"
        assert_allclose(matrix_of(outcome.cam_from_map), matrix_of(prior), atol=1e-12)


def test_an_image_without_structure_does_not_move_the_pose() -> None:
    levels = [replace(level, features=np.ones_like(level.features)) for level in SCENE.pyramid.levels]
    flat = replace(SCENE, pyramid=FeaturePyramid(tuple(levels), CAMERA.size))
    (outcome,) = aligned(flat, PRIORS[:1])
    assert_allclose(matrix_of(outcome.cam_from_map), matrix_of(PRIORS[0]), atol=1e-9)
    assert outcome.inlier_ratio == 0
    assert not (np.linalg.eigvalsh(np.nan_to_num(outcome.covariance)) > 0).all()


@pytest.mark.parametrize("part", ["pyramid", "references", "learned"])
def test_different_numbers_of_levels_are_refused(part: str) -> None:
    other = replace(SCENE, **{part: getattr(SCENE.only_level(0), part)})
    with pytest.raises(FeatureError, match=r"levels, the reference features .* of the same network"):
        aligned(other)


def test_a_coarse_level_without_landmarks_is_skipped() -> None:
    """A border of seven pixels leaves one row of the coarsest level's fifteen."""
    for outcome in aligned(priors=PRIORS, border=7):
        assert outcome.iterations[2] == 0
        assert min(outcome.iterations[:2]) > 0
        assert_found(outcome)
        assert outcome.num_points < len(SCENE.references)


def test_coarse_levels_take_fewer_landmarks() -> None:
    """A quarter of them on the coarsest level gives the same steps there."""
    few = SCENE.references.take(evenly(300, 75))
    options: dict[str, Any] = {"coarse_landmarks": 10, "max_iterations": 3, "trace": True}
    (outcome,) = aligned(priors=PRIORS[:1], **options)
    coarse = replace(SCENE, references=few).only_level(2)
    (alone,) = aligned(coarse, PRIORS[:1], coarse_landmarks=10, max_iterations=3, trace=True)
    for one, other in zip(outcome.trace[:4], alone.trace, strict=True):
        assert_allclose(matrix_of(one), matrix_of(other), atol=1e-7)
