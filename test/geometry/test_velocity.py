"""Velocity from two poses: right in the vehicle's frame, honest about its errors, and unknown where nothing says it."""

import numpy as np
import pytest
from pycolmap import Rigid3d

from vizloc_ros.geometry.se3 import se3_exp, so3_exp
from vizloc_ros.geometry.velocity import UNKNOWN, VelocityEstimator

MS = 1_000_000
START = se3_exp(np.array([10.0, -4.0, 2.0, 0.3, -0.2, 2.0]))
TWIST = np.array([8.0, 0.0, 0.1, 0.02, -0.01, 0.4])  # m/s, rad/s; in the vehicle's frame
COVARIANCE = np.diag([1e-4, 4e-4, 9e-4, 1e-6, 4e-6, 9e-6])


def estimator() -> VelocityEstimator:
    return VelocityEstimator(acceleration_std=3.0, turn_acceleration_std=60.0, max_gap=1.0)


def test_a_steady_motion() -> None:
    velocities = estimator()
    velocities.add(0, START, COVARIANCE)
    found = velocities.add(100 * MS, START * se3_exp(0.1 * TWIST), COVARIANCE)
    np.testing.assert_allclose(found.twist, TWIST, atol=1e-9)
    assert np.linalg.eigvalsh(found.covariance)[0] > 0


def test_the_covariance_is_that_of_the_errors() -> None:
    """Errors of both poses, along the axes of the map; that of an acceleration is left out."""
    rng = np.random.default_rng(0)
    moved = START * se3_exp(0.1 * TWIST)
    errors = []
    for _ in range(4000):
        velocities = estimator()
        velocities.add(0, disturbed(START, rng), COVARIANCE)
        found = velocities.add(100 * MS, disturbed(moved, rng), COVARIANCE)
        errors.append(found.twist - TWIST)
    acceleration = np.array([3.0] * 3 + [np.radians(60.0)] * 3) * 0.05
    expected = found.covariance - np.diag(acceleration**2)
    np.testing.assert_allclose(np.cov(np.array(errors).T), expected, atol=0.06 * np.abs(expected).max())
    assert np.std(errors, axis=0) == pytest.approx(np.sqrt(np.diag(expected)), rel=0.06)


def disturbed(pose: Rigid3d, rng: np.random.Generator) -> Rigid3d:
    error = rng.normal(size=6) * np.sqrt(np.diag(COVARIANCE))
    return Rigid3d(so3_exp(error[3:]) * pose.rotation, pose.translation + error[:3])


@pytest.mark.parametrize("milliseconds", [-100, 0, 1001])
def test_unknown_is_no_standstill(milliseconds: int) -> None:
    velocities = estimator()
    assert velocities.add(0, START, COVARIANCE) is UNKNOWN
    assert velocities.add(milliseconds * MS, START, COVARIANCE) is UNKNOWN
    assert np.diag(UNKNOWN.covariance).min() >= 1e6


def test_after_a_reset_the_next_pose_is_no_motion() -> None:
    velocities = estimator()
    velocities.add(0, START, COVARIANCE)
    velocities.reset()
    assert velocities.add(100 * MS, START * se3_exp(TWIST), COVARIANCE) is UNKNOWN
