"""Topics of a vehicle that are arguments of the launch file: odometry, GNSS, camera, and transforms of a namespace."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from launch_helpers import VIZLOC_LAUNCH, launched, require_launch
from pixloc_helpers import LONG_SIDE

from vizloc_ros.mapping.visual_map import VisualMap

helpers = pytest.importorskip("ros_helpers", reason="ROS 2 (rclpy) is not installed")
from nav_msgs.msg import Odometry  # noqa: E402

pytestmark = pytest.mark.ros
TRACKER = "pixloc_tracker"
TOPICS = {
    "image_topic": "/camera/image",
    "camera_info_topic": "/camera/info",
    "odom_topic": "/wheels/odom",
    "imu_topic": "/camera/gyro",
    "fix_topic": "gnss/fix",
}


def names(found: Any) -> set[tuple[str, str]]:
    return {(one.node_namespace, one.node_name) for one in found}


@pytest.mark.parametrize("composed", ["false", "true"])
def test_nodes_of_a_namespace_take_the_vehicles_topics_and_transforms_of_it(
    tmp_path: Path, tracked_map: VisualMap, composed: str
) -> None:
    require_launch()
    given = tmp_path / "params.yaml"
    sections = {
        "/**": {"use_odometry": True, "use_imu": True, "publish_tf": True, "publish_fix": True},
        f"/**/{TRACKER}": {"long_side": LONG_SIDE},
    }
    given.write_text(yaml.safe_dump({name: {"ros__parameters": values} for name, values in sections.items()}))
    arguments = {"map_path": tracked_map.folder, "params_file": given, "namespace": "robot", "namespaced_tf": "true"}
    arguments |= {**TOPICS, "composed": composed, "dds_profile": "localhost"}
    with launched(VIZLOC_LAUNCH, tmp_path, **arguments) as running:
        with helpers.ros_nodes("probe") as [probe]:

            def subscribers(topic: str) -> set[tuple[str, str]]:
                return names(probe.get_subscriptions_info_by_topic(topic))

            def publishers(topic: str) -> set[tuple[str, str]]:
                return names(probe.get_publishers_info_by_topic(topic))

            wanted = {
                "/camera/image": {"hfnet", TRACKER},
                "/camera/info": {"hfnet", TRACKER},
                "/wheels/odom": {"localizer", TRACKER},
                "/camera/gyro": {TRACKER},
                "/robot/gnss/fix": {"visual_map_server"},
                "/robot/tf_static": {"hfnet", "localizer", TRACKER},
            }
            in_namespace = {topic: {("/robot", node) for node in nodes} for topic, nodes in wanted.items()}
            helpers.spin_until(
                lambda: {topic: subscribers(topic) for topic in wanted} == in_namespace, probe, timeout_s=90.0
            )
            helpers.spin_until(lambda: publishers("/robot/tf") == {("/robot", TRACKER)}, probe)
            assert publishers("/robot/pose/fix") == publishers("/robot/pose") == {("/robot", TRACKER)}
            for topic in ("/tf", "/tf_static", "/odom", "/robot/odom", "/fix", "/robot/fix", "/robot/image"):
                assert not publishers(topic) | subscribers(topic), topic
            odometry = probe.create_publisher(Odometry, "/wheels/odom", 10)
            helpers.spin_until(lambda: odometry.get_subscription_count() == 2, probe)
        assert running.interrupt() == 0
    assert "process has died" not in running.text
    assert "Traceback" not in running.text
