"""Alignment of several cameras in one problem: normal equations, convergence, covariance, and fits of the views."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pixloc_scene import CAMERA, PRIORS, TRUTH, Scene, bilinear, scene
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.covariance import move_to_base
from vizloc_ros.geometry.poses import pose_error, transform_points
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.pixloc.optimizer.aligned_view import View
from vizloc_ros.pixloc.optimizer.alignment import align
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions
from vizloc_ros.pixloc.optimizer.levels import FeaturesOnLevel
from vizloc_ros.pixloc.optimizer.linearization import Linearization, linearize
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment

MOUNTS = (  # cam_from_rig: near the rig's frame, and behind it, looking back
    se3_exp(np.array([0.1, 0.0, -0.2, 0.02, -0.05, 0.01])),
    se3_exp(np.array([0.3, -0.1, 2.4, 0.05, 3.0, 0.1])),
)
SCENES = [scene(seed=i, truth=mount * TRUTH) for i, mount in enumerate(MOUNTS)]
NOISY = [scene(noise=0.05, seed=i, truth=mount * TRUTH) for i, mount in enumerate(MOUNTS)]


def views_of(scenes: list[Scene], mounts: tuple[Rigid3d, ...] = MOUNTS) -> list[View]:
    return [
        View(each.pyramid, each.references, CAMERA, cam_from_rig=mount)
        for each, mount in zip(scenes, mounts, strict=True)
    ]


def aligned(views: list[View], priors: list[Rigid3d] = PRIORS) -> list[Alignment]:
    return align(views, priors, SCENES[0].learned, AlignmentOptions(min_motion=1e-4))


def residuals(view: View, index: int, rig_from_map: Rigid3d) -> Float64:
    """(M, C) residuals of the landmarks in the image, in double precision."""
    level = view.pyramid.levels[index]
    pixels, visible = CAMERA.project(transform_points(view.cam_from_map(rig_from_map), view.references.positions))
    u, v = level.positions(pixels).T
    inside = visible & (u >= 0) & (v >= 0) & (u <= level.shape[1] - 1) & (v <= level.shape[0] - 1)
    values, _, _ = bilinear(level.features, u[inside], v[inside])
    return values - view.references.levels[index].features[inside]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2]))
def test_the_normal_equations_are_those_of_the_numeric_jacobian(seed: int, index: int) -> None:
    """H = J^T W J and J^T W r of the residuals of both cameras, J by the update of the rig's pose."""
    pose = se3_exp(np.random.default_rng(seed).normal(0, 0.02, 6)) * TRUTH
    options, eps = AlignmentOptions(coarse_landmarks=300), 1e-7
    hessian, gradient, linearized = np.zeros((6, 6)), np.zeros(6), []
    for view in views_of(NOISY):
        level = FeaturesOnLevel(index, view, 1, NOISY[0].learned, options)
        matrix = pose.matrix()
        (at_pose,) = linearize(level, np.arange(1), matrix[None, :, :3], matrix[None, :, 3])
        linearized.append(at_pose)
        steps = [residuals(view, index, se3_exp(sign * step) * pose) for step in eps * np.eye(6) for sign in (1, -1)]
        assume(len({len(each) for each in steps}) == 1)  # else a landmark is on the border of the image
        jacobian = np.stack([(a - b) / (2 * eps) for a, b in zip(steps[::2], steps[1::2], strict=True)], axis=-1)
        weighted = at_pose.weights[:, None, None] * jacobian
        hessian += np.einsum("mci,mcj->ij", weighted, jacobian)
        gradient += np.einsum("mci,mc->i", weighted, residuals(view, index, pose))
    found = Linearization.of(linearized).equations
    scale = np.sqrt(np.diag(hessian))
    assert_allclose(found.hessian / np.outer(scale, scale), hessian / np.outer(scale, scale), atol=2e-3)
    assert_allclose(found.gradient / scale, gradient / scale, atol=2e-3 * np.abs(gradient / scale).max() + 1e-3)


def test_a_step_moves_the_landmarks_of_all_cameras() -> None:
    """The motion by which convergence is judged."""
    views, step = views_of(SCENES), np.array([1e-4, -2e-4, 1e-4, 2e-5, 1e-5, -3e-5])
    matrix, options = TRUTH.matrix(), AlignmentOptions()
    levels = [FeaturesOnLevel(0, view, 1, SCENES[0].learned, options) for view in views]
    found = Linearization.of(
        [linearize(level, np.arange(1), matrix[None, :, :3], matrix[None, :, 3])[0] for level in levels]
    )
    squared = []
    for view in views:
        moved, before = (
            CAMERA.project(transform_points(view.cam_from_map(pose), view.references.positions))[0]
            for pose in (se3_exp(step) * TRUTH, TRUTH)
        )
        squared.append((((moved - before) * view.pyramid.levels[0].scale) ** 2).sum(axis=1))
    assert found.rms_motion(step) == pytest.approx(np.sqrt(np.concatenate(squared).mean()), rel=1e-2)


def test_both_cameras_find_one_pose() -> None:
    for outcome in aligned(views_of(SCENES)):
        assert outcome.failure == ""
        assert pose_error(outcome.cam_from_map, TRUTH) == pytest.approx((0, 0), abs=1e-3)
        assert [fit.inlier_ratio for fit in outcome.fits] == [1, 1]
        assert [fit.num_points for fit in outcome.fits] == [300, 300]
        assert outcome.num_points == 600


def test_the_only_camera_at_the_rigs_frame_is_the_rig() -> None:
    for prior in PRIORS:
        (alone,) = aligned([SCENES[0].view()], [prior])
        (mounted,) = aligned(views_of(SCENES[:1], (Rigid3d(),)), [prior])
        assert alone.iterations == mounted.iterations
        assert_allclose(alone.cam_from_map.matrix(), mounted.cam_from_map.matrix(), atol=1e-9)
        assert_allclose(alone.covariance, mounted.covariance, rtol=1e-6)


def test_where_the_camera_is_on_the_rig_does_not_matter() -> None:
    """The pose of a camera, and its covariance, are the same by that of the rig as alone."""
    mount = MOUNTS[1]
    (alone,) = aligned([NOISY[1].view()], [mount * PRIORS[0]])
    (of_rig,) = aligned(views_of(NOISY[1:], (mount,)), [PRIORS[0]])
    assert pose_error(mount * of_rig.cam_from_map, alone.cam_from_map) == pytest.approx((0, 0), abs=2e-3)
    moved = move_to_base(of_rig.covariance, of_rig.cam_from_map.inverse(), mount.inverse())
    assert_allclose(moved, alone.covariance, atol=0.05 * np.abs(alone.covariance).max())


def test_twice_the_same_image_has_half_the_covariance() -> None:
    view = views_of(NOISY)[0]
    (once,), (twice,) = aligned([view], PRIORS[:1]), aligned([view, view], PRIORS[:1])
    assert_allclose(twice.cam_from_map.matrix(), once.cam_from_map.matrix(), atol=1e-6)
    assert_allclose(twice.covariance, once.covariance * (300 - 6) / (600 - 6), rtol=1e-3)


def test_a_view_that_shows_something_else_is_told_by_its_fit() -> None:
    strange = scene(seed=5, truth=MOUNTS[1] * TRUTH)
    views = views_of([SCENES[0], Scene(strange.pyramid, SCENES[1].references, SCENES[1].learned)])
    (outcome,) = aligned(views, PRIORS[:1])
    good, bad = outcome.fits
    assert good.inlier_ratio > 0.9
    assert bad.inlier_ratio < 0.2
    assert bad.inlier_ratio < outcome.inlier_ratio < good.inlier_ratio


def test_a_camera_that_does_not_see_the_landmarks_has_no_say() -> None:
    views = views_of([SCENES[0], SCENES[0]])  # of the front camera, looked for in the image of the rear one
    (both,), (alone,) = aligned(views, PRIORS[:1]), aligned(views[:1], PRIORS[:1])
    assert both.fits[1].num_points == 0
    assert_allclose(both.cam_from_map.matrix(), alone.cam_from_map.matrix(), atol=1e-9)
