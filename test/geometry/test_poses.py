"""Poses to and from arrays and matrices, and the error between two."""

import numpy as np
import pytest
from geometry_helpers import matrix_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.poses import array_of, pose_error, pose_from_matrix, pose_from_quaternion, pose_of
from vizloc_ros.geometry.se3 import se3_exp, so3_exp

quick = settings(max_examples=40, deadline=None)

tangents = st.builds(
    lambda rho, phi: np.array([*rho, *phi]), st.tuples(*[st.floats(-100, 100)] * 3), st.tuples(*[st.floats(-6, 6)] * 3)
)
poses = tangents.map(se3_exp)
points = st.tuples(*[st.floats(-10, 10)] * 3).map(np.array)


@quick
@given(poses)
def test_array_round_trip(pose: Rigid3d) -> None:
    array = array_of(pose)
    assert array.shape == (7,)
    assert array[6] >= 0
    assert_allclose(pose_of(array).matrix(), pose.matrix(), atol=1e-12)


@quick
@given(poses)
def test_matrix_round_trip(pose: Rigid3d) -> None:
    assert_allclose(pose_from_matrix(matrix_of(pose)).matrix(), pose.matrix(), atol=1e-12)
    assert_allclose(pose_from_matrix(pose.matrix()).matrix(), pose.matrix(), atol=1e-12)


@quick
@given(poses, poses, points)
def test_names_chain(a_from_b: Rigid3d, b_from_c: Rigid3d, point_c: Float64) -> None:
    homogeneous = matrix_of(a_from_b) @ matrix_of(b_from_c) @ np.append(point_c, 1.0)
    assert_allclose(a_from_b * b_from_c * point_c, homogeneous[:3], atol=1e-9)


def test_matrix_of_a_strided_view() -> None:
    """Rows of a larger array, in Fortran order or every other one, arrive unchanged."""
    matrix = matrix_of(se3_exp(np.array([1.0, 2.0, 3.0, 0.1, 0.2, 0.3])))
    assert_allclose(pose_from_matrix(np.asfortranarray(matrix)).matrix(), matrix[:3])
    assert_allclose(pose_from_matrix(np.repeat(matrix, 2, axis=1)[:, ::2]).matrix(), matrix[:3])


@quick
@given(poses, st.floats(1e-3, 1e3), st.booleans())
def test_a_quaternion_of_any_norm_and_sign_is_the_same_pose(pose: Rigid3d, norm: float, negative: bool) -> None:
    quaternion = np.asarray(pose.rotation.quat) * (-norm if negative else norm)
    again = pose_from_quaternion(pose.translation, quaternion)
    assert_allclose(again.matrix(), pose.matrix(), atol=1e-12)


@quick
@given(poses, points, st.floats(0, 180))
def test_pose_error_is_the_distance_and_angle_put_in(truth: Rigid3d, offset: Float64, angle_deg: float) -> None:
    turn = so3_exp(np.radians(angle_deg) * np.array([0.0, 0.6, 0.8]))
    estimate = Rigid3d(truth.rotation * turn, truth.translation + offset)
    metres, degrees = pose_error(estimate, truth)
    assert metres == pytest.approx(np.linalg.norm(offset), abs=1e-9)
    assert degrees == pytest.approx(angle_deg, abs=1e-6)


@quick
@given(poses, poses)
def test_pose_error_is_symmetric_and_zero_only_for_the_same(one: Rigid3d, other: Rigid3d) -> None:
    assert pose_error(one, other) == pytest.approx(pose_error(other, one), abs=1e-9)
    assert pose_error(one, one) == pytest.approx((0.0, 0.0), abs=1e-6)


@quick
@given(poses, poses, poses)
def test_pose_error_does_not_depend_on_the_world(world_from_a: Rigid3d, estimate: Rigid3d, truth: Rigid3d) -> None:
    moved = pose_error(world_from_a * estimate, world_from_a * truth)
    assert moved == pytest.approx(pose_error(estimate, truth), abs=1e-6)
