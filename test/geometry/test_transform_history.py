"""Chains of moving and static transforms, by the rules of tf2: interpolated, never extrapolated."""

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from pycolmap import Rigid3d, Rotation3d
from tf2_buffer import ExtrapolationError, Tf2Buffer

from vizloc_ros.errors import RosError
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.transform_history import TransformHistory
from vizloc_ros.geometry.transform_tree import TransformTree
from vizloc_ros.ros.messages import transform_to_msg

pytestmark = pytest.mark.ros
MAST = Rigid3d(Rotation3d(np.array([0, 0, 0.2])), np.array([0.5, 0.0, 1.2]))
TILT_FROM_CAM = Rigid3d(Rotation3d(np.array([-1.2, 1.2, -1.2])), np.array([0.05, 0.0, 0.02]))


def mast_from_tilt(seconds: float) -> Rigid3d:
    return Rigid3d(Rotation3d(np.array([0.0, 0.4 * seconds, 0.0])), np.array([0.0, 0.0, 0.1 * seconds]))


def message(parent: str, child: str, pose: Rigid3d) -> TransformStamped:
    msg = TransformStamped(child_frame_id=child, transform=transform_to_msg(pose))
    msg.header.frame_id = parent
    return msg


@pytest.fixture
def moving() -> TransformHistory:
    static = TransformTree()
    static.add(message("base_link", "mast", MAST))
    static.add(message("tilt", "cam", TILT_FROM_CAM))
    transforms = TransformHistory(static)
    for ms in range(0, 1001, 100):
        transforms.add(message("mast", "tilt", mast_from_tilt(ms / 1000)), ms * 1_000_000)
    return transforms


@pytest.mark.parametrize("ms", [-1, 0, 50, 333, 1000, 1001])
def test_a_camera_on_a_pan_tilt_unit_is_where_tf2_says(moving: TransformHistory, ms: int) -> None:
    buffer = Tf2Buffer()
    for at in range(0, 1001, 100):
        buffer.insert("mast", "tilt", at * 1_000_000, mast_from_tilt(at / 1000))
    found = moving.lookup("base_link", "cam", ms * 1_000_000)
    try:
        expected = MAST * buffer.lookup("mast", "tilt", ms * 1_000_000) * TILT_FROM_CAM
    except ExtrapolationError:
        assert found is None
        return
    assert found is not None
    assert pose_error(found, expected) == pytest.approx((0, 0), abs=1e-6)


def test_what_is_above_the_base_does_not_count(moving: TransformHistory) -> None:
    moving.add(message("odom", "base_link", MAST), 0)
    assert moving.lookup("base_link", "lidar", 0) is None
    assert moving.lookup("odom", "cam", 0) is not None


def test_a_clock_that_jumps_back_begins_anew(moving: TransformHistory) -> None:
    moving.add(message("mast", "tilt", mast_from_tilt(0.0)), -2_000_000_000)
    assert moving.lookup("base_link", "cam", 900_000_000) is None
    assert moving.lookup("base_link", "cam", -2_000_000_000) is not None


@pytest.mark.parametrize("ms", [1000, 950])
def test_what_comes_twice_or_late_changes_nothing(moving: TransformHistory, ms: int) -> None:
    before = moving.lookup("base_link", "cam", 970_000_000)
    moving.add(message("mast", "tilt", mast_from_tilt(7.0)), ms * 1_000_000)
    assert moving.lookup("base_link", "cam", 970_000_000) == before


def test_what_is_no_transform_is_refused(moving: TransformHistory) -> None:
    broken = message("mast", "tilt", MAST)
    broken.transform.translation.x = float("inf")
    with pytest.raises(RosError, match="'mast' -> 'tilt' ignored"):
        moving.add(broken, 2_000_000_000)


def test_a_loop_of_frames_ends() -> None:
    moving = TransformHistory(TransformTree())
    moving.add(message("a", "b", MAST), 0)
    moving.add(message("b", "a", MAST), 0)
    assert moving.lookup("base_link", "a", 0) is None
