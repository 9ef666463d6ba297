import numpy as np
import pytest
from geometry_helpers import matrix_of
from geometry_msgs.msg import Point, Pose, Quaternion
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycolmap import Rigid3d

from vizloc_ros.errors import CameraError, RosError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_from_quaternion
from vizloc_ros.ros import messages as conversions

HEADER = conversions.header_of(1_700_000_000_123_456_789, "map")
coordinates = st.floats(-1e4, 1e4)
quaternions = hnp.arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 0.1)
poses = st.builds(pose_from_quaternion, hnp.arrays(np.float64, 3, elements=coordinates), quaternions)


@given(st.integers(-(2**31) * 10**9, 2**31 * 10**9 - 1))
def test_stamps(stamp_ns):
    stamp = conversions.stamp_from_ns(stamp_ns)
    assert 0 <= stamp.nanosec < 10**9
    assert conversions.stamp_to_ns(stamp) == stamp_ns


def test_header():
    assert (HEADER.stamp.sec, HEADER.stamp.nanosec, HEADER.frame_id) == (1_700_000_000, 123_456_789, "map")


@given(poses)
def test_poses_and_transforms(pose):
    for back in (
        conversions.pose_from_msg(conversions.pose_to_msg(pose)),
        conversions.transform_from_msg(conversions.transform_to_msg(pose)),
    ):
        np.testing.assert_allclose(matrix_of(back), matrix_of(pose), rtol=0, atol=1e-12)


def test_a_quarter_turn_to_the_left():
    """Pose of a vehicle at (1, 2, 0) that faces along y."""
    pose = pose_from_quaternion(np.array([1.0, 2.0, 0.0]), np.array([0, 0, 1.0, 1.0]))
    msg = conversions.pose_to_msg(pose)
    assert (msg.position.x, msg.position.y, msg.position.z) == (1, 2, 0)
    assert (msg.orientation.z, msg.orientation.w) == pytest.approx((0.5**0.5, 0.5**0.5))
    np.testing.assert_allclose(conversions.pose_from_msg(msg) * np.array([1.0, 0, 0]), [1, 3, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("position", "quaternion"),
    [
        ((0, 0, 0), (0, 0, 0, 0)),
        ((0, 0, 0), (0, 0, 0, 1.02)),
        ((0, 0, 0), (0, 0, np.nan, 1)),
        ((0, np.inf, 0), (0, 0, 0, 1)),
    ],
)
def test_what_is_no_pose(position, quaternion):
    x, y, z = map(float, position)
    qx, qy, qz, qw = map(float, quaternion)
    msg = Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))
    with pytest.raises(RosError, match=r"no pose.*finite.*norm 1"):
        conversions.pose_from_msg(msg)


def test_pose_with_covariance():
    covariance = np.arange(36.0).reshape(6, 6)
    pose = pose_from_quaternion(np.array([1.0, 2, 3]), np.array([0, 0, 0, 1.0]))
    msg = conversions.pose_with_covariance_to_msg(pose, covariance.T, HEADER)
    assert msg.header == HEADER
    np.testing.assert_array_equal(np.reshape(msg.pose.covariance, (6, 6)), covariance.T)
    assert msg.pose.pose == conversions.pose_to_msg(pose)


def test_pose_array():
    keyframes = [pose_from_quaternion(np.array([x, 0.0, 0.0]), np.array([0, 0, 0, 1.0])) for x in (1.0, 2.0)]
    msg = conversions.poses_to_msg(keyframes, HEADER)
    assert [pose.position.x for pose in msg.poses] == [1, 2]
    assert conversions.poses_to_msg([], HEADER).poses == []


class TestCamera:
    camera = PinholeCamera(1241, 376, 718.856, 717.5, 607.19, 185.2)

    def test_round_trip(self):
        msg = conversions.rectified_camera_to_msg(self.camera, HEADER)
        assert conversions.rectified_camera_from_msg(msg) == self.camera
        assert msg.header == HEADER
        np.testing.assert_array_equal(np.reshape(msg.k, (3, 3)), self.camera.matrix)
        np.testing.assert_array_equal(np.reshape(msg.p, (3, 4))[:, :3], self.camera.matrix)
        np.testing.assert_array_equal(np.reshape(msg.r, (3, 3)), np.eye(3))

    def test_a_lens_with_distortion(self):
        msg = conversions.rectified_camera_to_msg(self.camera, HEADER)
        msg.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
        with pytest.raises(CameraError, match=r"distortion.*features/camera_info"):
            conversions.rectified_camera_from_msg(msg)

    def test_skew(self):
        msg = conversions.rectified_camera_to_msg(self.camera, HEADER)
        msg.k[1] = 0.5
        with pytest.raises(CameraError, match="skew"):
            conversions.rectified_camera_from_msg(msg)

    def test_no_calibration(self):
        msg = conversions.rectified_camera_to_msg(self.camera, HEADER)
        msg.k = np.zeros(9)
        with pytest.raises(CameraError, match="calibrate"):
            conversions.rectified_camera_from_msg(msg)


def test_identity_is_the_identity():
    msg = conversions.transform_to_msg(Rigid3d())
    assert (msg.rotation.w, msg.translation.x) == (1.0, 0.0)
