"""Refinement of poses: numeric Jacobian, the minimum that a general solver finds, outliers, and too few matches."""

import numpy as np
import pycolmap
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.geometry.colmap_camera import colmap_camera
from vizloc_ros.geometry.poses import perturbed, pose_error, transform_points
from vizloc_ros.localization.absolute_pose import reprojection_errors
from vizloc_ros.localization.pose_refinement import projection_jacobian, refine_absolute_pose

CAMERA = PinholeCamera(640, 480, 500.0, 510.0, 320.0, 240.0)
TRUE = Rigid3d(Rotation3d(np.array([0.1, -0.2, 0.05])), np.array([1.0, -2.0, 3.0]))


def make_matches(count: int, seed: int, noise: float = 0.5, outliers: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 2), of which the first are outliers, and positions (N, 3)."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform([0, 0], CAMERA.size, (count, 2))
    points = CAMERA.rays(pixels) * rng.uniform(4, 40, (count, 1))
    pixels += rng.normal(scale=noise, size=pixels.shape)
    pixels[:outliers] += rng.uniform(-30, 30, (outliers, 2))
    return pixels, transform_points(TRUE.inverse(), points)


def loss(pose: Rigid3d, pixels: np.ndarray, positions: np.ndarray) -> float:
    return float(np.log1p(reprojection_errors(pose, pixels, positions, CAMERA) ** 2).sum())


def test_the_jacobian_is_the_numeric_one() -> None:
    _, positions = make_matches(20, 0)
    points = transform_points(TRUE, positions)
    jacobian, size = projection_jacobian(points[:, :2].T / points[:, 2], 1 / points[:, 2], CAMERA), 1e-6
    for index in range(6):
        motion = np.zeros(6)
        motion[index] = size
        ends = [
            CAMERA.project(transform_points(Rigid3d(Rotation3d(sign * motion[3:]), sign * motion[:3]), points))[0]
            for sign in (1, -1)
        ]
        np.testing.assert_allclose(jacobian[:, index].T, (ends[0] - ends[1]) / (2 * size), rtol=1e-5, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(count=st.integers(12, 300), seed=st.integers(0, 10_000), distance=st.floats(0, 0.1), degrees=st.floats(0, 0.4))
def test_it_finds_a_minimum_as_low_as_a_general_solver(count: int, seed: int, distance: float, degrees: float) -> None:
    pixels, positions = make_matches(count, seed, outliers=count // 8)
    start = perturbed(TRUE, distance, degrees, np.random.default_rng(seed))
    options = pycolmap.AbsolutePoseRefinementOptions()
    options.gradient_tolerance = 1e-9
    mask = np.ones(count, bool)
    camera = colmap_camera(CAMERA)
    solved = pycolmap.refine_absolute_pose(start, pixels + PIXEL_CENTRE, positions, mask, camera, options)
    refined = refine_absolute_pose(start, pixels, positions, CAMERA)
    assert loss(refined, pixels, positions) <= min(
        loss(start, pixels, positions), loss(solved["cam_from_world"], pixels, positions) + 0.02 * count
    )


def test_exact_matches_give_the_exact_pose_in_spite_of_outliers() -> None:
    pixels, positions = make_matches(200, 1, noise=0.0, outliers=40)
    refined = refine_absolute_pose(perturbed(TRUE, 0.2, 1.0, np.random.default_rng(2)), pixels, positions, CAMERA)
    assert pose_error(refined.inverse(), TRUE.inverse()) == pytest.approx((0, 0), abs=2e-3)


def test_matches_behind_the_camera_do_not_count() -> None:
    pixels, positions = make_matches(100, 3)
    behind = transform_points(TRUE.inverse(), np.array([[0.5, 0.5, -3.0]]))
    start = perturbed(TRUE, 0.05, 0.2, np.random.default_rng(0))
    with_one = refine_absolute_pose(start, np.vstack([pixels, [[1, 1]]]), np.vstack([positions, behind]), CAMERA)
    assert (with_one.matrix() == refine_absolute_pose(start, pixels, positions, CAMERA).matrix()).all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_matches_leave_the_pose_as_it_is(count: int) -> None:
    pixels, positions = make_matches(count, 4)
    assert (refine_absolute_pose(TRUE, pixels, positions, CAMERA).matrix() == TRUE.matrix()).all()
