"""Covariances of poses: moved along a lever arm against samples of the error model, and their standard deviations."""

from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.covariance import (
    max_position_std,
    move_to_base,
    position_and_rotation_std,
    squared_error,
    with_map_covariance,
)
from vizloc_ros.geometry.se3 import se3_exp, so3_exp, so3_log

quick = settings(max_examples=40, deadline=None)

MAP_FROM_CAM = se3_exp(np.array([12.0, -5.0, 3.0, 0.4, -1.1, 2.0]))
CAM_FROM_BASE = se3_exp(np.array([0.3, 1.5, -2.0, 1.2, -1.2, 1.2]))
SIGMAS = np.array([0.05, 0.1, 0.02, 0.01, 0.02, 0.005])  # m, rad

factors = hnp.arrays(np.float64, (6, 6), elements=st.floats(-1, 1))
covariances = factors.map(lambda factor: factor @ factor.T)
rotations = hnp.arrays(np.float64, 3, elements=st.floats(-3, 3)).map(so3_exp)
stds = st.floats(0, 10)


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
    truth = MAP_FROM_CAM * CAM_FROM_BASE
    errors = np.array([error_of(perturbed(MAP_FROM_CAM, sample) * CAM_FROM_BASE, truth) for sample in samples])

    computed = move_to_base(covariance, MAP_FROM_CAM, CAM_FROM_BASE)

    # In units of the standard deviations: 10,000 samples give each entry to about 1 %.
    sigmas = np.sqrt(np.diag(computed))
    assert_allclose(np.cov(errors.T) / np.outer(sigmas, sigmas), computed / np.outer(sigmas, sigmas), atol=0.04)


def test_a_lever_turns_rotation_error_into_position_error_across_it() -> None:
    one_degree = np.radians(1.0)
    covariance = np.diag([0, 0, 0, 0, 0, one_degree**2])
    two_metres_ahead = Rigid3d(so3_exp(np.zeros(3)), np.array([2.0, 0.0, 0.0]))
    moved = move_to_base(covariance, Rigid3d(), two_metres_ahead)
    assert_allclose(np.sqrt(np.diag(moved)), [0, 2 * one_degree, 0, 0, 0, one_degree], atol=1e-15)
    assert moved[1, 5] == pytest.approx(2 * one_degree**2)  # turning left moves it left


def test_there_and_back_is_the_same_covariance() -> None:
    covariance = correlated_covariance()
    moved = move_to_base(covariance, MAP_FROM_CAM, CAM_FROM_BASE)
    back = move_to_base(moved, MAP_FROM_CAM * CAM_FROM_BASE, CAM_FROM_BASE.inverse())
    assert_allclose(back, covariance, atol=1e-15)
    assert np.linalg.eigvalsh(moved).min() > 0


@quick
@given(covariances, rotations)
def test_a_turned_base_at_the_camera_has_the_cameras_covariance(covariance: Float64, turn: Rigid3d) -> None:
    base_at_camera = Rigid3d(turn, np.zeros(3))
    assert_allclose(move_to_base(covariance, MAP_FROM_CAM, base_at_camera), covariance, rtol=1e-15)


@quick
@given(covariances, stds, stds)
def test_the_maps_own_variances_are_added_to_the_diagonal(covariance: Float64, metres: float, degrees: float) -> None:
    added = with_map_covariance(covariance, metres, degrees) - covariance
    assert_allclose(added, np.diag([metres**2] * 3 + [(np.pi / 180 * degrees) ** 2] * 3), atol=1e-12)


def test_an_exact_map_adds_nothing() -> None:
    covariance = correlated_covariance()
    assert_array_equal(with_map_covariance(covariance, 0, 0), covariance)


@quick
@given(covariances, hnp.arrays(np.float64, (200, 3), elements=st.floats(-1, 1)))
def test_no_direction_is_less_certain_than_the_largest_marginal(covariance: Float64, directions: Float64) -> None:
    lengths = np.linalg.norm(directions, axis=1)
    directions = directions[lengths > 1e-3] / lengths[lengths > 1e-3, None]
    along = np.einsum("ni,ij,nj->n", directions, covariance[:3, :3], directions)
    largest = max_position_std(covariance)
    assert (np.sqrt(np.maximum(along, 0)) <= largest + 1e-7).all()
    assert largest >= np.sqrt(np.diag(covariance)[:3].max()) - 1e-7


@quick
@given(stds, stds, stds, rotations)
def test_the_largest_marginal_does_not_depend_on_the_axes(x: float, y: float, z: float, turn: Rigid3d) -> None:
    covariance, axes = np.eye(6), turn.matrix()
    covariance[:3, :3] = axes @ np.diag([x * x, y * y, z * z]) @ axes.T
    assert max_position_std(covariance) == pytest.approx(max(x, y, z), rel=1e-9, abs=1e-7)


@pytest.mark.parametrize("row", [0, 4])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_covariance_that_is_not_finite_has_no_position_std(row: int, value: float) -> None:
    covariance = correlated_covariance()
    covariance[row, row] = value
    assert isnan(max_position_std(covariance))


def test_negative_variances_are_no_certainty() -> None:
    """As of a Hessian that is singular up to rounding: NaN is refused by every limit, zero by none."""
    assert isnan(max_position_std(-np.eye(6)))
    assert max_position_std(np.zeros((6, 6))) == 0.0


@quick
@given(hnp.arrays(np.float64, 6, elements=st.floats(0, 100)))
def test_position_and_rotation_std_sum_the_variances_of_their_axes(variances: Float64) -> None:
    position, rotation = position_and_rotation_std(np.diag(variances))
    assert position == pytest.approx(np.sqrt(variances[:3].sum()))
    assert rotation == pytest.approx(np.sqrt(variances[3:].sum()))


def test_negative_variances_count_as_zero_and_nan_stays() -> None:
    assert position_and_rotation_std(np.diag([4.0, -1.0, 0, -1.0, -1.0, 9.0])) == (2.0, 3.0)
    position, rotation = position_and_rotation_std(np.diag([1.0, 1.0, np.nan, 0.0, 0.0, 0.0]))
    assert isnan(position)
    assert rotation == 0.0


def test_the_squared_error_of_honest_poses_is_six_on_average() -> None:
    covariance = correlated_covariance()
    errors = np.random.default_rng(1).multivariate_normal(np.zeros(6), covariance, size=4000)
    truths = [Rigid3d(so3_exp(e[3:]) * MAP_FROM_CAM.rotation, MAP_FROM_CAM.translation + e[:3]) for e in errors]
    squared = np.array([squared_error(MAP_FROM_CAM, truth, covariance) for truth in truths])
    assert squared.mean() == pytest.approx(6, abs=0.2)
    assert np.mean(squared <= 12.59) == pytest.approx(0.95, abs=0.015)


def test_no_error_is_within_a_covariance_that_is_none() -> None:
    moved = Rigid3d(MAP_FROM_CAM.rotation, MAP_FROM_CAM.translation + 0.1)
    for none in (np.zeros((6, 6)), -np.eye(6), np.full((6, 6), np.nan)):
        assert squared_error(moved, MAP_FROM_CAM, none) == inf
