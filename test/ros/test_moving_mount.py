"""A camera that moves on the vehicle: its pose at the time of the image, which is waited for."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from node_helpers import COMPOSED, FRAME, bench
from pixloc_helpers import truth
from pycolmap import Rigid3d, Rotation3d
from ros_helpers import ros_nodes, spin_until

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.geometry.poses import BODY_FROM_OPTICAL, pose_error
from vizloc_ros.geometry.transform_tree import TransformTree
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.ros import extrinsics
from vizloc_ros.ros.extrinsics import MountTransforms
from vizloc_ros.ros.messages import header_of, transform_to_msg
from vizloc_ros.ros.qos import TF

pytestmark = pytest.mark.ros
tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed: run make setup")


def panned(degrees: float) -> Rigid3d:
    """Pose of the camera on the vehicle, on a unit that pans."""
    return Rigid3d(Rotation3d(np.array([0, 0, np.radians(degrees)])), np.array([0.5, 0, 1.0])) * BODY_FROM_OPTICAL


def message(stamp_ns: int, degrees: float) -> object:
    stamped = TransformStamped(header=header_of(stamp_ns, "base_link"), child_frame_id=FRAME)
    stamped.transform = transform_to_msg(panned(degrees))
    return tf2_msgs.TFMessage(transforms=[stamped])


def test_the_transform_after_the_image_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extrinsics, "_WAIT_S", 10.0)
    problems: list[str] = []
    with ros_nodes("broadcaster", "listener") as (broadcaster, listener), ThreadPoolExecutor() as pool:
        mount = MountTransforms(listener, TransformTree(), problems.append)
        publisher = broadcaster.create_publisher(tf2_msgs.TFMessage, "/tf", TF)
        spin_until(lambda: publisher.get_subscription_count() > 0, broadcaster, listener)
        publisher.publish(message(1_000_000_000, 0))
        asked = pool.submit(mount.wait_for, "base_link", FRAME, 1_050_000_000)
        publisher.publish(message(1_100_000_000, 20))
        spin_until(asked.done, broadcaster, listener)
        monkeypatch.setattr(extrinsics, "_WAIT_S", 0.01)
        assert mount.wait_for("base_link", FRAME, 1_100_000_001) is None
    found = asked.result()
    assert found is not None
    assert pose_error(found, panned(10)) == pytest.approx((0, 0), abs=1e-5)
    assert not problems


def test_the_localizer_follows_a_panning_camera(street_map: VisualMap, street: SyntheticStreet, tmp_path: Path) -> None:
    record = street.records("query")[3]
    given = {"base_from_cam": (), "moving_mount": True}
    with bench(street_map.folder, tmp_path / "log", COMPOSED, localizer=given) as made:
        publisher = made.node.create_publisher(tf2_msgs.TFMessage, "/tf", TF)
        made.spin_until(lambda: publisher.get_subscription_count() > 0)
        made.send_camera_info(record)
        made.send_image(record.read_image())
        made.expect_complaint("localizer", "no transform base_link", "/tf of the time of the image")
        degrees: dict[int, float] = {}

        def send() -> int:
            """Publish an image between two transforms; each one has another pan."""
            stamp, number = made.stamp_ns + 100_000_000, len(degrees)
            publisher.publish(message(stamp - 50_000_000, number))
            publisher.publish(message(stamp + 50_000_000, number + 1))
            degrees[stamp] = number + 0.5
            return made.send_image(record.read_image())

        for _ in range(10):
            send()
            try:
                made.spin_until(lambda: bool(made.recorder.poses), timeout_s=3.0)
            except AssertionError:
                continue
            break
        stamp, pose = next(iter(made.recorder.poses.items()))
    assert pose_error(pose.map_from_base * panned(degrees[stamp]), truth(record))[0] < 0.1
