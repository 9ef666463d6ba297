"""NavSatFix by hand: what is read of one, and a pose as one, on the equator at 90 degrees east."""

from typing import Any

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d
from sensor_msgs.msg import NavSatFix, NavSatStatus

from vizloc_ros.bags.gnss_fixes import fix_of_message
from vizloc_ros.datasets.record import GnssFix
from vizloc_ros.geometry.geodesy import earth_from_enu
from vizloc_ros.ros.fix_messages import fix_to_msg, geo_pose_to_msg, rotation_in_enu
from vizloc_ros.ros.messages import header_of

# x of the map is north, y west.
EARTH_FROM_MAP = earth_from_enu(0, 90, 100) * Rigid3d(Rotation3d(np.array([0, 0, np.pi / 2])), np.zeros(3))
COVARIANCE = np.array([[4.0, 1.0, 0.0], [1.0, 9.0, 0.0], [0.0, 0.0, 16.0]])


def message(**fields: Any) -> NavSatFix:
    made = fix_to_msg(EARTH_FROM_MAP, np.array([110.574, -111.319, 5.0]), COVARIANCE, header_of(7, "base_link"))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_a_pose_as_a_fix() -> None:
    made = message()
    assert (made.header.frame_id, made.header.stamp.nanosec) == ("base_link", 7)
    # 110.574 m are a thousandth of a degree of latitude, 111.319 m one of longitude.
    assert made.latitude == pytest.approx(0.001, abs=1e-7)
    assert made.longitude == pytest.approx(90.001, abs=1e-7)
    assert made.altitude == pytest.approx(105.0, abs=0.01)
    # Along north the variance of x, along east that of y; x times y is north times west.
    expected = [9.0, -1.0, 0.0, -1.0, 4.0, 0.0, 0.0, 0.0, 16.0]
    assert made.position_covariance == pytest.approx(expected, abs=1e-3)
    assert made.position_covariance_type == NavSatFix.COVARIANCE_TYPE_KNOWN
    assert (made.status.status, made.status.service) == (NavSatStatus.STATUS_FIX, 0)


def test_a_rotation_in_east_north_up() -> None:
    """A vehicle along y of the map drives west there: x forward is west, and z up."""
    along_y = Rigid3d(Rotation3d(np.array([0, 0, np.pi / 2])), np.array([0.0, 50.0, 0.0]))
    found = rotation_in_enu(EARTH_FROM_MAP, along_y).matrix()
    assert found == pytest.approx(np.array([[-1, 0, 0], [0, -1, 0], [0, 0, 1.0]]), abs=1e-4)
    far = Rigid3d(Rotation3d(), np.array([0.0, -1_000_000.0, 0.0]))  # a degree further east is a degree further round
    tilt = rotation_in_enu(EARTH_FROM_MAP, far).matrix()[:, 2]
    assert np.degrees(np.arccos(tilt[2])) == pytest.approx(np.degrees(np.arctan(1e6 / (6378137 + 100))), abs=1e-3)


def test_a_pose_as_a_geographic_one() -> None:
    pytest.importorskip("geographic_msgs.msg", reason="geographic_msgs has no wheel")
    pose = Rigid3d(Rotation3d(), np.array([110.574, -111.319, 5.0]))
    made = geo_pose_to_msg(EARTH_FROM_MAP, pose, header_of(7, "base_link"))
    assert (made.header.frame_id, made.header.stamp.nanosec) == ("base_link", 7)
    position, turn = made.pose.position, made.pose.orientation
    assert (position.latitude, position.longitude) == pytest.approx((0.001, 90.001), abs=1e-7)
    assert position.altitude == pytest.approx(105.0, abs=0.01)
    half = np.sqrt(0.5)  # x of the map is north: 90 degrees from east
    assert (turn.x, turn.y, turn.z, turn.w) == pytest.approx((0, 0, half, half), abs=1e-4)


def test_what_is_read_of_a_fix() -> None:
    read = fix_of_message(message())
    assert read is not None
    assert (read.timestamp_ns, read.std_m) == (7, pytest.approx((3.0, 2.0, 4.0), abs=1e-3))
    assert (read.latitude, read.longitude) == pytest.approx((0.001, 90.001), abs=1e-7)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": NavSatStatus(status=NavSatStatus.STATUS_NO_FIX)},
        {"latitude": float("nan")},
        {"longitude": float("inf")},
        {"latitude": 90.1},
        {"longitude": -180.1},
    ],
)
def test_no_position(fields: dict[str, Any]) -> None:
    assert fix_of_message(message(**fields)) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"position_covariance_type": NavSatFix.COVARIANCE_TYPE_UNKNOWN},
        {"position_covariance": np.zeros(9)},
        {"position_covariance": np.diag([4.0, -1.0, 4.0]).ravel()},
        {"position_covariance": np.diag([4.0, np.nan, 4.0]).ravel()},
    ],
)
def test_a_position_of_unknown_accuracy(fields: dict[str, Any]) -> None:
    read = fix_of_message(message(**fields))
    assert isinstance(read, GnssFix)
    assert read.std_m is None
