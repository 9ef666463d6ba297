"""Tests of the refinement of landmarks under fixed poses: exact, at the minimum of its loss, and robust to others."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Float64, Int64
from vizloc_ros.mapping.landmark_refinement import Views, refined_points

_FOCAL = 400.0
_CAMERAS, _POINTS = 6, 30


@pytest.fixture(scope="module")
def points() -> Float64:
    """(30, 3) points, 4 to 20 m in front of the cameras [m]."""
    random = np.random.default_rng(0)
    return np.column_stack([random.uniform(-3, 3, (_POINTS, 2)), random.uniform(4, 20, _POINTS)])


def seen(points: Float64, noise_px: float) -> tuple[Int64, Views]:
    """Point of each observation, in any order, and the observations of all points by cameras along the road."""
    random = np.random.default_rng(1)
    cameras = random.permutation(np.repeat(np.arange(_CAMERAS), _POINTS))
    of_rows = np.empty(len(cameras), np.int64)
    for camera in range(_CAMERAS):
        of_rows[cameras == camera] = random.permutation(_POINTS)
    rotations = Rotation.from_rotvec(random.normal(0, 0.05, (_CAMERAS, 3))).as_matrix()
    translations = np.column_stack([random.normal(0, 0.3, (_CAMERAS, 2)), -0.5 * np.arange(_CAMERAS)])
    in_camera = np.einsum("mij,mj->mi", rotations[cameras], points[of_rows]) + translations[cameras]
    rays = in_camera[:, :2] / in_camera[:, 2:] + random.normal(0, noise_px / _FOCAL, (len(cameras), 2))
    views = Views(rotations[cameras], translations[cameras], np.full((len(cameras), 2), _FOCAL), rays)
    return of_rows, views


@pytest.mark.parametrize("loss_px", [np.inf, 1.0])
def test_exact_observations_give_exact_points(points: Float64, loss_px: float) -> None:
    of_rows, views = seen(points, 0.0)
    guesses = points + np.random.default_rng(2).normal(0, 0.1, points.shape)
    refined, errors = refined_points(guesses, of_rows, views, loss_px)
    np.testing.assert_allclose(refined, points, atol=1e-5)
    assert errors.max() < 1e-3


@pytest.mark.parametrize("loss_px", [np.inf, 1.0])
def test_no_point_beside_the_refined_one_has_less_loss(points: Float64, loss_px: float) -> None:
    of_rows, views = seen(points, 1.0)
    refined, errors = refined_points(points, of_rows, views, loss_px)
    least = losses(errors, of_rows, loss_px)
    for step in 1e-3 * np.concatenate([np.eye(3), -np.eye(3)]):
        moved = losses(errors_at(refined + step, of_rows, views), of_rows, loss_px)
        assert (moved >= least - 1e-9).all()


def test_an_observation_of_another_point_pulls_less_with_the_robust_loss(points: Float64) -> None:
    of_rows, views = seen(points, 0.3)
    of_another = np.unique(of_rows, return_index=True)[1]
    views.rays[of_another] += 10.0 / _FOCAL
    by_squares, robust = (
        np.linalg.norm(refined_points(points, of_rows, views, loss_px)[0] - points, axis=1) for loss_px in (np.inf, 1.0)
    )
    assert np.median(robust) < 0.3 * np.median(by_squares)


def errors_at(points: Float64, of_rows: Int64, views: Views) -> Float64:
    """(M,) reprojection errors [px]."""
    in_camera = np.einsum("mij,mj->mi", views.rotations, points[of_rows]) + views.translations
    return np.hypot(*(views.focal * (in_camera[:, :2] / in_camera[:, 2:] - views.rays)).T)


def losses(errors: Float64, of_rows: Int64, loss_px: float) -> Float64:
    """Loss of each point: the sum of its squared errors, or of their Cauchy loss [px^2]."""
    squares = errors**2
    return np.bincount(of_rows, squares if np.isinf(loss_px) else loss_px**2 * np.log1p(squares / loss_px**2))
