"""The covariance of a pose: its Jacobian by differences, its size by Monte Carlo."""

import numpy as np
import pytest
from point_street import CAMERA
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.geometry.covariance import squared_error
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.geometry.se3 import so3_exp, so3_log
from vizloc_ros.localization.absolute_pose import (
    are_blurred,
    correlation_factor,
    estimate_absolute_pose,
    pose_covariance,
    reprojection_errors,
    reprojection_jacobian,
)

POSE = Rigid3d(Rotation3d(np.array([0.4, -0.8, 1.1])), np.array([12.0, -7.0, 3.0]))


def points_in_view(seed: int, count: int, depth: tuple[float, float] = (4, 25)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rays = CAMERA.rays(rng.uniform((0, 0), CAMERA.size, (count, 2)))
    return transform_points(POSE, rays * rng.uniform(*depth, (count, 1)))


def pixels_from(pose: Rigid3d, points: np.ndarray) -> np.ndarray:
    return CAMERA.project(transform_points(pose.inverse(), points))[0]


def moved(pose: Rigid3d, error: np.ndarray) -> Rigid3d:
    """The pose whose origin is off by error[:3] and whose axes are turned by error[3:], both in the map's axes."""
    return Rigid3d(so3_exp(error[3:]) * pose.rotation, pose.translation + error[:3])


def error_of(pose: Rigid3d, truth: Rigid3d) -> np.ndarray:
    rotation = so3_log(truth.rotation * pose.rotation.inverse())
    return np.concatenate([truth.translation - pose.translation, rotation])


def test_the_jacobian_is_that_of_differences() -> None:
    points, step = points_in_view(0, 30), 1e-6
    numeric = np.stack(
        [
            (pixels_from(moved(POSE, step * axis), points) - pixels_from(moved(POSE, -step * axis), points))
            / (2 * step)
            for axis in np.eye(6)
        ],
        axis=2,
    )
    np.testing.assert_allclose(reprojection_jacobian(POSE, points, CAMERA), numeric, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.4, 1.0])
def test_the_covariance_is_that_of_many_trials(sigma: float) -> None:
    """Poses from noisy pixels scatter as foretold; a little more at 1 px, for the solver's loss is not quadratic."""
    points, rng = points_in_view(1, 80), np.random.default_rng(2)
    exact = pixels_from(POSE, points)
    errors, foretold = [], []
    for trial in range(400):
        pixels = exact + sigma * rng.normal(size=exact.shape)
        answer = estimate_absolute_pose(pixels, points, CAMERA, max_error=50.0, max_trials=100, seed=trial)
        assert answer is not None
        assert answer.inliers.all()
        estimate = answer.cam_from_map.inverse()
        errors.append(error_of(estimate, POSE))
        foretold.append(pose_covariance(estimate, points, pixels, CAMERA, pixel_sigma=0.1)[0])
    sampled, mean = np.cov(np.array(errors).T), np.mean(foretold, axis=0)
    np.testing.assert_allclose(np.sqrt(np.diag(mean)), np.sqrt(np.diag(sampled)), rtol=0.2)
    # Whitened by the prediction, the errors have unit covariance: the correlations are right, too.
    whitened = np.linalg.solve(np.linalg.cholesky(mean), np.array(errors).T)
    np.testing.assert_allclose(np.cov(whitened), np.eye(6), atol=0.45)


def test_it_is_symmetric_positive_and_halves_with_four_times_the_points() -> None:
    points = points_in_view(3, 40)
    four_times = np.tile(points, (4, 1))
    few, _ = pose_covariance(POSE, points, pixels_from(POSE, points), CAMERA, 1.0)
    many, _ = pose_covariance(POSE, four_times, pixels_from(POSE, four_times), CAMERA, 1.0)
    np.testing.assert_array_equal(few, few.T)
    assert np.linalg.eigvalsh(few).min() > 0
    np.testing.assert_allclose(many, few / 4, rtol=1e-9)


def test_a_pixel_is_never_believed_more_than_its_sigma() -> None:
    points = points_in_view(4, 50)
    pixels = pixels_from(POSE, points)
    one, rms = pose_covariance(POSE, points, pixels, CAMERA, 1.0)
    three, _ = pose_covariance(POSE, points, pixels, CAMERA, 3.0)
    assert rms < 1e-9
    np.testing.assert_allclose(three, 9 * one, rtol=1e-9)


def test_the_residuals_count_when_they_are_larger_than_sigma() -> None:
    points = points_in_view(4, 50)
    off = pixels_from(POSE, points) + np.where(np.arange(50)[:, None] % 2, 3.0, -3.0)
    covariance, rms = pose_covariance(POSE, points, off, CAMERA, 0.5)
    reference, _ = pose_covariance(POSE, points, pixels_from(POSE, points), CAMERA, 1.0)
    assert rms == pytest.approx(np.sqrt(18.0))
    np.testing.assert_allclose(covariance, reference * (2 * 50 * 9) / (2 * 50 - 6), rtol=1e-9)


def test_far_points_leave_the_position_open() -> None:
    near, far = points_in_view(5, 60, (4, 10)), points_in_view(5, 60, (400, 1000))
    near_std, far_std = (
        np.sqrt(np.trace(pose_covariance(POSE, p, pixels_from(POSE, p), CAMERA, 1.0)[0][:3, :3])) for p in (near, far)
    )
    assert far_std > 50 * near_std


def test_a_covariance_that_is_not_finite_is_an_error() -> None:
    points = points_in_view(7, 10)
    pixels = pixels_from(POSE, points)
    pixels[0] = np.nan
    with pytest.raises(np.linalg.LinAlgError, match="not finite"):
        pose_covariance(POSE, points, pixels, CAMERA, 1.0)


def test_points_in_one_place_do_not_fix_the_pose() -> None:
    points = np.tile(points_in_view(6, 1), (10, 1))
    try:
        covariance, _ = pose_covariance(POSE, points, pixels_from(POSE, points), CAMERA, 1.0)
    except np.linalg.LinAlgError:
        return
    std = np.sqrt(np.linalg.eigvalsh(covariance[:3, :3])[-1])
    assert not std < 100, "singular up to rounding: never a small number"


def test_errors_without_a_precise_core_count_as_correlated() -> None:
    rng = np.random.default_rng(8)
    noise = np.linalg.norm(rng.normal(size=(20_000, 2)), axis=1)
    sharp = np.concatenate([0.5 * noise, 5 * noise[:3000]])
    assert correlation_factor(sharp) == 1.0
    assert correlation_factor(noise) == pytest.approx((np.sqrt(np.log(2)) / 0.5) ** 4, rel=0.05)
    assert correlation_factor(100 * noise) == pytest.approx(correlation_factor(noise)), "not a matter of size"
    assert correlation_factor(np.zeros(5)) == 1.0


def test_an_image_is_blurred_if_its_errors_are_large_and_alike() -> None:
    rng = np.random.default_rng(8)
    noise = np.linalg.norm(rng.normal(size=(20_000, 2)), axis=1)
    sharp = np.concatenate([0.5 * noise, 5 * noise[:3000]])
    assert are_blurred(5 * noise, radius=3.0)
    assert not are_blurred(noise, radius=3.0), "small"
    assert not are_blurred(5 * sharp, radius=3.0), "of a map that is not exact"


def test_poses_are_within_the_covariance_where_groups_of_keypoints_slide_together() -> None:
    """As under motion blur: a group is the keypoints of one part of the image, along or against the motion."""
    points, rng = points_in_view(9, 120), np.random.default_rng(10)
    exact = pixels_from(POSE, points)
    group = (exact[:, 0] // 160).astype(int) * 4 + (exact[:, 1] // 100).astype(int)
    squared = []
    for trial in range(100):
        along = np.array([3.0, 0.5]) * rng.normal(size=(16, 1))[group]
        pixels = exact + along + rng.normal(size=exact.shape)
        answer = estimate_absolute_pose(pixels, points, CAMERA, max_error=8.0, max_trials=100, seed=trial)
        assert answer is not None
        estimate, used = answer.cam_from_map.inverse(), answer.inliers
        covariance, _ = pose_covariance(estimate, points[used], pixels[used], CAMERA, pixel_sigma=1.0)
        factor = correlation_factor(reprojection_errors(answer.cam_from_map, pixels[used], points[used], CAMERA))
        squared.append([squared_error(estimate, POSE, scale * covariance) for scale in (2.0, 2.0 * factor)])
    independent, correlated = np.mean(np.array(squared) <= 12.59, axis=0)
    assert independent < 0.6
    assert correlated > 0.85
