"""Choice of the camera's roll in the feature node: by option, by mounting, and by the poses that come back."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from pycolmap import Rigid3d, Rotation3d
from ros_helpers import ros_nodes, spin_until

from vizloc_ros.geometry.poses import array_of
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.ros.camera_roll import CameraRoll
from vizloc_ros.ros.messages import header_of, transform_to_msg
from vizloc_ros.ros.node_options import HfnetOptions
from vizloc_ros.ros.qos import LATCHED, POSE

pytestmark = pytest.mark.ros
FORWARD = Rigid3d(Rotation3d(np.array([-0.5, 0.5, -0.5, 0.5])), np.array([1.2, 0.0, 1.5]))


class Running:
    """Choice of a running node, and a localizer that answers it."""

    def __init__(self, choice: CameraRoll, node: Any, localizer: Any) -> None:
        self.choice, self._nodes = choice, (node, localizer)
        self._localizer = localizer
        self._pose = localizer.create_publisher(PoseWithCovarianceStamped, "localization/pose", POSE)
        self.stamp = 0

    def choose(self) -> Roll:
        self.stamp += 100_000_000
        return self.choice.choose(header_of(self.stamp, "camera"))

    def choose_many(self, count: int = 24) -> list[Roll]:
        return [self.choose() for _ in range(count)]

    def localize(self, stamp: int) -> None:
        """Publish a pose of the image with that stamp until the node has heard it."""
        self.spin_until(lambda: self._pose.get_subscription_count() > 0)
        self._pose.publish(PoseWithCovarianceStamped(header=header_of(stamp, "map")))
        self.spin_until(lambda: stamp not in self.choice._pending)

    def send_mounting(self, base_from_cam: Rigid3d) -> None:
        tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed: run make setup")
        from geometry_msgs.msg import TransformStamped

        publisher = self._localizer.create_publisher(tf2_msgs.TFMessage, "/tf_static", LATCHED)
        transform = TransformStamped(
            header=header_of(0, "base_link"), child_frame_id="camera", transform=transform_to_msg(base_from_cam)
        )
        publisher.publish(tf2_msgs.TFMessage(transforms=[transform]))

    def spin_until(self, condition: Callable[[], bool]) -> None:
        spin_until(condition, *self._nodes)


@pytest.fixture
def start() -> Callable[..., AbstractContextManager[Running]]:
    @contextmanager
    def start(roll: str, base_from_cam: Rigid3d | None = None) -> Iterator[Running]:
        fixed = () if base_from_cam is None else tuple(map(float, array_of(base_from_cam)))
        with ros_nodes("hfnet", "localizer") as [node, localizer]:
            options = HfnetOptions(map_path="map", roll=roll, base_from_cam=fixed)  # type: ignore[arg-type]
            yield Running(CameraRoll(node, options), node, localizer)

    return start


@pytest.mark.parametrize("roll", Roll)
def test_a_named_roll_is_taken_whatever_the_mounting(start, roll: Roll) -> None:
    with start(roll.value, FORWARD * Roll.UPSIDE_DOWN.upright_from_cam) as running:
        assert set(running.choose_many()) == {roll}


@pytest.mark.parametrize("mounting", [None, FORWARD, FORWARD * Rigid3d(Rotation3d(np.array([0, 0, 0.6])), np.zeros(3))])
def test_upright_cameras_and_unknown_ones_are_not_turned(start, mounting: Rigid3d | None) -> None:
    with start("mounting", mounting) as running:
        assert set(running.choose_many()) == {Roll.NONE}


def test_a_sideways_camera_is_turned_once_its_mounting_is_known(start) -> None:
    """Upright comes first: the map may be of the same sideways camera. Then comes what the mounting says."""
    with start("mounting") as running:
        assert set(running.choose_many()) == {Roll.NONE}
        running.send_mounting(FORWARD * Roll.COUNTERCLOCKWISE.upright_from_cam)
        running.spin_until(lambda: running.choice._extrinsics.find("camera") is not None)
        assert [running.choose(), running.choose()] == [Roll.NONE, Roll.COUNTERCLOCKWISE]
        running.localize(running.stamp)
        assert set(running.choose_many(10)) == {Roll.COUNTERCLOCKWISE}


def test_the_roll_of_the_image_that_got_a_pose_stays_though_the_pose_comes_late(start) -> None:
    with start("auto") as running:
        chosen = {}
        for _ in range(6):
            roll = running.choose()
            chosen[running.stamp] = roll
        stamp = next(stamp for stamp, roll in chosen.items() if roll is Roll.UPSIDE_DOWN)
        running.localize(stamp)
        assert set(running.choose_many(10)) == {Roll.UPSIDE_DOWN}
        assert set(running.choose_many()) == set(Roll), "no more poses: the others are tried, too"


def test_a_pose_of_an_unknown_image_decides_nothing_and_old_images_are_forgotten(start) -> None:
    with start("auto") as running:
        running.localize(12345)
        assert set(running.choose_many(300)) == set(Roll)
        assert len(running.choice._pending) == 100
