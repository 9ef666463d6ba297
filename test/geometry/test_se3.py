"""The group SE(3): exp and log invert each other everywhere, and every Jacobian agrees with what it is defined by."""

from math import factorial, pi

import numpy as np
import pytest
from geometry_helpers import matrix_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.se3 import (
    adjoint,
    cross_matrix,
    se3_exp,
    se3_log,
    so3_exp,
    so3_left_jacobian,
    so3_left_jacobian_inverse,
    so3_log,
)

quick = settings(max_examples=40, deadline=None)

# Angles where formulas break: zero, the switch from series to closed form, half a turn.
angles = st.one_of(
    st.sampled_from([0.0, 1e-12, 1e-7, 1e-3, 0.999, 1.001, pi - 1e-9, pi - 1e-4]), st.floats(0, pi - 1e-9)
)
vectors = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array).filter(lambda v: np.linalg.norm(v) > 1e-3)
axes = vectors.map(lambda v: v / np.linalg.norm(v))
rotation_vectors = st.builds(lambda axis, angle: axis * angle, axes, angles)
tangents = st.builds(lambda rho, phi: np.concatenate([10 * rho, phi]), vectors, rotation_vectors)
poses = tangents.map(se3_exp)


def assert_same_pose(one: Rigid3d, other: Rigid3d, atol: float = 1e-12) -> None:
    assert_allclose(matrix_of(one), matrix_of(other), atol=atol)


def power_series(matrix: Float64, k: int = 0) -> Float64:
    """The sum of matrix^n / (n + k)!: the exponential for k = 0, the left Jacobian for k = 1."""
    return sum(np.linalg.matrix_power(matrix, n) / float(factorial(n + k)) for n in range(40))


@quick
@given(rotation_vectors)
def test_so3_log_inverts_exp(phi: Float64) -> None:
    assert_allclose(so3_log(so3_exp(phi)), phi, atol=1e-14, rtol=1e-12)


@quick
@given(rotation_vectors)
def test_so3_exp_is_the_matrix_exponential(phi: Float64) -> None:
    assert_allclose(so3_exp(phi).matrix(), power_series(cross_matrix(phi)), atol=1e-13)


@quick
@given(axes, st.floats(0, 20))
def test_so3_log_of_more_than_half_a_turn_is_the_short_way(axis: Float64, angle: float) -> None:
    rotation = so3_exp(axis * angle)
    assert np.linalg.norm(so3_log(rotation)) <= pi + 1e-12
    assert_allclose(so3_exp(so3_log(rotation)).matrix(), rotation.matrix(), atol=1e-12)


def test_so3_log_of_exactly_half_a_turn() -> None:
    for axis in np.eye(3):
        assert_allclose(np.abs(so3_log(so3_exp(pi * axis))), pi * axis, atol=1e-14)


@pytest.mark.parametrize("angle", [0.0, 1e-300, 1e-160, 1e-20, 1e-9])
def test_tiny_rotations_keep_their_digits(angle: float) -> None:
    phi = angle * np.array([0.6, 0.0, 0.8])
    assert_allclose(so3_log(so3_exp(phi)), phi, rtol=1e-14, atol=0)


@quick
@given(tangents)
def test_se3_log_inverts_exp(xi: Float64) -> None:
    assert_allclose(se3_log(se3_exp(xi)), xi, atol=1e-12, rtol=1e-12)


@quick
@given(poses)
def test_se3_exp_inverts_log(pose: Rigid3d) -> None:
    assert_same_pose(se3_exp(se3_log(pose)), pose)


@quick
@given(tangents)
def test_se3_exp_is_the_matrix_exponential(xi: Float64) -> None:
    generator = np.zeros((4, 4))
    generator[:3, :3], generator[:3, 3] = cross_matrix(xi[3:]), xi[:3]
    assert_allclose(matrix_of(se3_exp(xi)), power_series(generator), atol=1e-12)


@quick
@given(poses, poses, poses)
def test_group_axioms(a: Rigid3d, b: Rigid3d, c: Rigid3d) -> None:
    assert_same_pose((a * b) * c, a * (b * c), atol=1e-11)
    assert_same_pose(a * Rigid3d(), a)
    assert_same_pose(a * a.inverse(), Rigid3d())
    assert_same_pose((a * b).inverse(), b.inverse() * a.inverse(), atol=1e-11)


@quick
@given(poses, tangents)
def test_the_adjoint_moves_a_motion_to_another_frame(pose: Rigid3d, xi: Float64) -> None:
    assert_same_pose(se3_exp(adjoint(pose) @ xi), pose * se3_exp(xi) * pose.inverse(), atol=1e-9)


@quick
@given(tangents)
def test_inverse_of_exp_is_exp_of_the_negative(xi: Float64) -> None:
    assert_same_pose(se3_exp(xi).inverse(), se3_exp(-xi), atol=1e-11)


@quick
@given(tangents, st.floats(-1, 1), st.floats(-1, 1))
def test_exp_of_one_direction_adds(xi: Float64, s: float, t: float) -> None:
    assert_same_pose(se3_exp(s * xi) * se3_exp(t * xi), se3_exp((s + t) * xi), atol=1e-11)


@quick
@given(rotation_vectors)
def test_left_jacobian_is_its_power_series(phi: Float64) -> None:
    assert_allclose(so3_left_jacobian(phi), power_series(cross_matrix(phi), k=1), atol=1e-13)


@quick
@given(rotation_vectors)
def test_left_jacobian_is_the_numeric_derivative(phi: Float64) -> None:
    """exp(phi + d) exp(phi)^-1 ~ exp(J d), by central differences."""
    step, back = 1e-5, so3_exp(phi).inverse()
    columns = [
        (so3_log(so3_exp(phi + d) * back) - so3_log(so3_exp(phi - d) * back)) / (2 * step) for d in step * np.eye(3)
    ]
    assert_allclose(np.stack(columns, axis=1), so3_left_jacobian(phi), atol=1e-8)


@quick
@given(rotation_vectors)
def test_left_jacobian_inverse(phi: Float64) -> None:
    assert_allclose(so3_left_jacobian(phi) @ so3_left_jacobian_inverse(phi), np.eye(3), atol=1e-13)


@quick
@given(rotation_vectors)
def test_left_jacobian_of_negative_is_the_right_jacobian(phi: Float64) -> None:
    """J(-phi) = J(phi)^T = R^T J(phi)."""
    jacobian = so3_left_jacobian(phi)
    assert_allclose(so3_left_jacobian(-phi), jacobian.T, atol=1e-14)
    assert_allclose(so3_left_jacobian(-phi), so3_exp(phi).matrix().T @ jacobian, atol=1e-13)
