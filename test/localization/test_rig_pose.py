"""Pose of a rig from the matches of its cameras: exact, robust, refined to the minimum, with an honest covariance."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.covariance import squared_error
from vizloc_ros.geometry.poses import perturbed, pose_error, transform_points
from vizloc_ros.localization.absolute_pose import pose_covariance, reprojection_errors
from vizloc_ros.localization.pose_refinement import RigMatches, refine_absolute_pose, refine_rig_pose
from vizloc_ros.localization.rig_pose import errors_of, estimate_rig_pose, rig_covariance

CAMERAS = (PinholeCamera(640, 480, 500.0, 510.0, 320.0, 240.0), PinholeCamera(400, 300, 300.0, 290.0, 190.0, 160.0))
# Front and rear: not on one axis, and tilted.
CAMS_FROM_RIG = (
    Rigid3d(Rotation3d(np.array([0.1, 0.02, -0.05])), np.array([0.1, 1.4, -1.2])),
    Rigid3d(Rotation3d(np.array([0.05, 3.0, 0.1])), np.array([-0.2, 1.1, -0.9])),
)
TRUE = Rigid3d(Rotation3d(np.array([0.1, -0.2, 0.9])), np.array([1.0, -2.0, 3.0]))  # rig_from_map
LIMITS = {"max_error": 8.0, "max_trials": 5000, "seed": 0}


def make_rig(count: int, seed: int, noise: float = 0.0, cameras: int = 2) -> list[RigMatches]:
    rng = np.random.default_rng(seed)
    rig = []
    for camera, cam_from_rig in list(zip(CAMERAS, CAMS_FROM_RIG, strict=True))[:cameras]:
        pixels = rng.uniform([0, 0], camera.size, (count, 2))
        points = camera.rays(pixels) * rng.uniform(4, 40, (count, 1))
        positions = transform_points((cam_from_rig * TRUE).inverse(), points)
        rig.append(RigMatches(camera, cam_from_rig, pixels + rng.normal(scale=noise, size=pixels.shape), positions))
    return rig


def loss(rig_from_map: Rigid3d, rig: list[RigMatches]) -> float:
    return float(sum(np.log1p(errors_of(rig_from_map, one) ** 2).sum() for one in rig))


@settings(deadline=None, max_examples=25)
@given(count=st.integers(4, 200), seed=st.integers(0, 10_000))
def test_matches_without_noise_give_the_exact_pose(count: int, seed: int) -> None:
    found = estimate_rig_pose(make_rig(count, seed), **LIMITS)
    assert found is not None
    assert pose_error(found.rig_from_map, TRUE) == pytest.approx((0, 0), abs=1e-5)
    assert found.num_inliers == 2 * count


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), wrong=st.integers(0, 1))
def test_a_camera_whose_matches_are_all_wrong_is_outvoted(seed: int, wrong: int) -> None:
    rig = make_rig(60, seed, noise=0.5)
    rng = np.random.default_rng([seed, 1])
    rig[wrong] = replace(rig[wrong], pixels=rng.uniform([0, 0], rig[wrong].camera.size, (60, 2)))
    found = estimate_rig_pose(rig, **LIMITS)
    assert found is not None
    distance, angle = pose_error(found.rig_from_map, TRUE)
    assert distance < 0.2
    assert angle < 0.5
    assert found.inliers[1 - wrong].mean() > 0.95
    assert found.inliers[wrong].mean() < 0.15


def test_a_camera_without_matches_leaves_the_pose_to_the_other() -> None:
    rig = make_rig(50, 3)
    rig[0] = rig[0].chosen(np.zeros(50, bool))
    found = estimate_rig_pose(rig, **LIMITS)
    assert found is not None
    assert pose_error(found.rig_from_map, TRUE) == pytest.approx((0, 0), abs=1e-5)
    assert estimate_rig_pose([rig[0], rig[0]], **LIMITS) is None


def test_few_matches_of_each_camera_are_enough_together() -> None:
    """Two rays of each camera fix no pose alone."""
    found = estimate_rig_pose(make_rig(2, 5), **{**LIMITS, "max_error": 1.0})
    assert found is not None
    assert found.num_inliers == 4
    assert max(errors_of(found.rig_from_map, one).max() for one in make_rig(2, 5)) < 1e-3


@settings(deadline=None, max_examples=20)
@given(count=st.integers(12, 200), seed=st.integers(0, 10_000))
def test_the_refinement_reaches_a_minimum(count: int, seed: int) -> None:
    rig = make_rig(count, seed, noise=0.7)
    refined = refine_rig_pose(perturbed(TRUE, 0.1, 0.4, np.random.default_rng(seed)), rig)
    lowest = loss(refined, rig)
    assert lowest <= loss(TRUE, rig)
    for index in range(6):
        for size in (1e-3, -1e-3):
            motion = np.zeros(6)
            motion[index] = size
            assert lowest <= loss(Rigid3d(Rotation3d(motion[3:]), motion[:3]) * refined, rig) + 1e-6


def test_a_rig_of_one_camera_is_that_camera() -> None:
    [one] = make_rig(80, 7, noise=0.8, cameras=1)
    start = perturbed(TRUE, 0.1, 0.3, np.random.default_rng(1))
    alone = refine_absolute_pose(one.cam_from_rig * start, one.pixels, one.positions, one.camera)
    rig_from_map = refine_rig_pose(start, [one])
    assert pose_error(one.cam_from_rig * rig_from_map, alone) == pytest.approx((0, 0), abs=1e-3)
    at_camera = replace(one, cam_from_rig=Rigid3d())
    covariance = rig_covariance(alone.inverse(), [at_camera], 1e-6, scale=1.0)
    expected, _ = pose_covariance(alone.inverse(), one.positions, one.pixels, one.camera, 1e-6)
    errors = reprojection_errors(alone, one.pixels, one.positions, one.camera)
    factor = max(1.0, (float(np.median(errors)) / (0.5 * float(np.sqrt((errors**2).mean())))) ** 4)
    np.testing.assert_allclose(covariance, factor * expected, rtol=1e-9)


def test_the_covariance_is_that_of_many_trials() -> None:
    """NEES of 6 on average; the factor on correlated errors is left out by its scale."""
    squared = []
    for seed in range(150):
        rig = make_rig(40, seed, noise=1.0)
        pose = refine_rig_pose(TRUE, rig)
        covariance = rig_covariance(pose.inverse(), rig, 1e-3, scale=1.0)
        squared.append(squared_error(pose.inverse(), TRUE.inverse(), covariance))
    # Normally distributed errors count as correlated, by (0.83 / 0.5)^4 = 7.7; the robust loss costs a third.
    assert 0.6 < np.mean(squared) / 6 * 7.7 < 2.0


def test_two_cameras_are_more_certain_than_one() -> None:
    both, map_from_rig = make_rig(60, 2, noise=0.5), TRUE.inverse()
    alone = [rig_covariance(map_from_rig, [one], 0.5, 1.0) for one in both]
    together = rig_covariance(map_from_rig, both, 0.5, 1.0)
    for covariance in alone:
        assert (np.linalg.eigvalsh(covariance - together) > 0).all()


def test_matches_on_one_ray_fix_no_pose() -> None:
    [one] = make_rig(5, 1, cameras=1)
    same = replace(one, pixels=one.pixels[:1].repeat(2, axis=0), positions=one.positions[:1].repeat(2, axis=0))
    with pytest.raises(np.linalg.LinAlgError):
        rig_covariance(TRUE.inverse(), [same], 1.0, 1.0)
