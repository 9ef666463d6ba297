"""Poses from 2D-3D matches: exact without noise, robust against wrong matches, the same for the same seed."""

import numpy as np
import pytest
from point_street import CAMERA
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.geometry.poses import pose_error, transform_points
from vizloc_ros.localization.absolute_pose import AbsolutePose, estimate_absolute_pose

OPTIONS = {"max_error": 4.0, "max_trials": 2000}


def scene(seed: int, count: int = 200, noise_px: float = 0.0, outliers: int = 0):
    """(pixels, points, cam_from_world): the last ``outliers`` pixels are of other points."""
    rng = np.random.default_rng(seed)
    cam_from_world = Rigid3d(Rotation3d(rng.uniform(-1, 1, 3)), rng.uniform(-20, 20, 3))
    pixels = rng.uniform((0, 0), CAMERA.size, (count, 2))
    points_cam = CAMERA.rays(pixels) * rng.uniform(3, 30, (count, 1))
    points = transform_points(cam_from_world.inverse(), points_cam)
    pixels += noise_px * rng.normal(size=pixels.shape)
    if outliers:
        pixels[-outliers:] = rng.uniform((0, 0), CAMERA.size, (outliers, 2))
    return pixels, points, cam_from_world


def estimate(pixels: np.ndarray, points: np.ndarray, seed: int = 0) -> AbsolutePose:
    answer = estimate_absolute_pose(pixels, points, CAMERA, **OPTIONS, seed=seed)
    assert answer is not None
    return answer


@pytest.mark.parametrize("seed", range(5))
def test_the_pose_is_exact_without_noise(seed: int) -> None:
    """Half a pixel of a wrong convention would show as centimetres."""
    pixels, points, truth = scene(seed)
    answer = estimate(pixels, points)
    metres, degrees = pose_error(answer.cam_from_map.inverse(), truth.inverse())
    assert metres < 1e-5
    assert degrees < 1e-5
    assert answer.inliers.all()


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_wrong_matches_are_found_out(share: float) -> None:
    count = 300
    outliers = int(share * count)
    pixels, points, truth = scene(11, count, noise_px=0.7, outliers=outliers)
    answer = estimate(pixels, points)
    metres, degrees = pose_error(answer.cam_from_map.inverse(), truth.inverse())
    assert metres < 0.05
    assert degrees < 0.2
    assert answer.inliers.shape == (count,)
    assert answer.inliers[:-outliers].mean() > 0.98
    assert answer.inliers[-outliers:].mean() < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_inliers_are_those_of_the_refined_pose(seed: int) -> None:
    """With many matches near the limit."""
    pixels, points, _ = scene(seed, 300, noise_px=2.5, outliers=60)
    answer = estimate(pixels, points)
    errors = np.linalg.norm(CAMERA.project(transform_points(answer.cam_from_map, points))[0] - pixels, axis=1)
    np.testing.assert_array_equal(answer.inliers, errors <= OPTIONS["max_error"])


def test_the_same_matches_and_seed_give_the_same_pose() -> None:
    pixels, points, _ = scene(3, 150, noise_px=1.0, outliers=90)
    one, again, *others = (estimate(pixels, points, seed) for seed in (5, 5, 6, 7, 8))
    np.testing.assert_array_equal(one.cam_from_map.matrix(), again.cam_from_map.matrix())
    np.testing.assert_array_equal(one.inliers, again.inliers)
    for other in others:
        assert pose_error(one.cam_from_map.inverse(), other.cam_from_map.inverse())[0] < 0.1


def test_garbage_finds_no_support() -> None:
    rng = np.random.default_rng(0)
    pixels, points = rng.uniform((0, 0), CAMERA.size, (60, 2)), rng.normal(size=(60, 3)) * 20
    answer = estimate_absolute_pose(pixels, points, CAMERA, **OPTIONS, seed=0)
    assert answer is None or answer.inliers.sum() < 12


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_too_few_matches_give_none_or_little_support(count: int) -> None:
    pixels, points, _ = scene(0, 10)
    answer = estimate_absolute_pose(pixels[:count], points[:count], CAMERA, **OPTIONS, seed=0)
    assert answer is None or answer.inliers.sum() <= count


def test_points_in_one_place_do_not_crash() -> None:
    answer = estimate_absolute_pose(np.full((20, 2), 100.0), np.ones((20, 3)), CAMERA, **OPTIONS, seed=0)
    assert answer is None or np.isfinite(answer.cam_from_map.matrix()).all()
