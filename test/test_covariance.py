"""Covariances moved along a lever arm, against samples of the error model itself."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.covariance import covariance_of_product
from vizloc_ros.geometry.se3 import se3_exp, so3_exp, so3_log

WORLD_FROM_CAM = se3_exp(np.array([12.0, -5.0, 3.0, 0.4, -1.1, 2.0]))
CAM_FROM_BASE = se3_exp(np.array([0.3, 1.5, -2.0, 1.2, -1.2, 1.2]))
SIGMAS = np.array([0.05, 0.1, 0.02, 0.01, 0.02, 0.005])  # m, rad


def correlated_covariance() -> Float64:
    factor = np.random.default_rng(3).normal(size=(6, 6))
    covariance = factor @ factor.T
    scale = SIGMAS / np.sqrt(np.diag(covariance))
    return covariance * np.outer(scale, scale)


def perturbed(pose: Rigid3d, error: Float64) -> Rigid3d:
    return Rigid3d(so3_exp(error[3:]) * pose.rotation, pose.translation + error[:3])


def error_of(pose: Rigid3d, truth: Rigid3d) -> Float64:
    rotation = so3_log(pose.rotation * truth.rotation.inverse())
    return np.concatenate([pose.translation - truth.translation, rotation])


def test_agrees_with_monte_carlo() -> None:
    covariance = correlated_covariance()
    samples = np.random.default_rng(0).multivariate_normal(np.zeros(6), covariance, size=10_000)
    truth = WORLD_FROM_CAM * CAM_FROM_BASE
    errors = np.array([error_of(perturbed(WORLD_FROM_CAM, sample) * CAM_FROM_BASE, truth) for sample in samples])

    computed = covariance_of_product(covariance, WORLD_FROM_CAM, CAM_FROM_BASE)

    # In units of the standard deviations: 10,000 samples give each entry to about 1 %.
    sigmas = np.sqrt(np.diag(computed))
    assert_allclose(np.cov(errors.T) / np.outer(sigmas, sigmas), computed / np.outer(sigmas, sigmas), atol=0.04)


def test_a_lever_turns_rotation_error_into_position_error_across_it() -> None:
    one_degree = np.radians(1.0)
    covariance = np.diag([0, 0, 0, 0, 0, one_degree**2])
    two_metres_ahead = Rigid3d(so3_exp(np.zeros(3)), np.array([2.0, 0.0, 0.0]))
    moved = covariance_of_product(covariance, Rigid3d(), two_metres_ahead)
    assert_allclose(np.sqrt(np.diag(moved)), [0, 2 * one_degree, 0, 0, 0, one_degree], atol=1e-15)
    assert moved[1, 5] == pytest.approx(2 * one_degree**2)  # turning left moves it left


def test_there_and_back_is_the_same_covariance() -> None:
    covariance = correlated_covariance()
    moved = covariance_of_product(covariance, WORLD_FROM_CAM, CAM_FROM_BASE)
    back = covariance_of_product(moved, WORLD_FROM_CAM * CAM_FROM_BASE, CAM_FROM_BASE.inverse())
    assert_allclose(back, covariance, atol=1e-15)
    assert np.linalg.eigvalsh(moved).min() > 0


def test_a_turned_base_at_the_camera_has_the_cameras_covariance() -> None:
    covariance = correlated_covariance()
    turned = Rigid3d(so3_exp(np.array([1.0, 2.0, -0.5])), np.zeros(3))
    assert_allclose(covariance_of_product(covariance, WORLD_FROM_CAM, turned), covariance, rtol=1e-15)
