"""Running nodes under messages with random faults: none ends, none grows, and poses are right again afterwards."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from message_mutations import MAX_BYTES, mutated, originals
from node_helpers import bench
from sensor_msgs.msg import CameraInfo, Image, NavSatFix, PointCloud2
from tf2_msgs.msg import TFMessage

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.mapping.builder import BuildReport
from vizloc_ros.ros.qos import FEATURES, POSE, TF_STATIC

pytestmark = pytest.mark.ros

COUNT = 140
TOPICS: dict[str, tuple[Any, Any]] = {
    "image": (Image, POSE),
    "camera_info": (CameraInfo, POSE),
    "features": (PointCloud2, FEATURES),
    "features/camera_info": (CameraInfo, FEATURES),
    "global_descriptor": (PointCloud2, FEATURES),
    "candidates": (PointCloud2, FEATURES),
    "/tf_static": (TFMessage, TF_STATIC),
    "fix": (NavSatFix, POSE),
}


def most_memory(process: int) -> int:
    """Largest resident memory of a process so far [bytes]."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def test_nodes_outlive_messages_with_random_faults(
    street_build: tuple[Path, BuildReport], street: SyntheticStreet, tmp_path: Path
) -> None:
    queries, rng = street.records("query"), np.random.default_rng(5)
    with bench(street_build[0], tmp_path / "log", hfnet={"camera_info_stable": 2}) as made:
        made.expect_pose(queries[3])
        publishers = {topic: made.node.create_publisher(kind, topic, qos) for topic, (kind, qos) in TOPICS.items()}
        made.spin_until(lambda: all(publisher.get_subscription_count() for publisher in publishers.values()))
        valid = originals()
        for number in range(COUNT):
            topic = list(TOPICS)[number % len(TOPICS)]
            msg = mutated(valid[topic], rng)
            if topic in ("features", "features/camera_info", "candidates"):  # of equal stamps, so that they are joined
                msg.header.stamp.sec, msg.header.stamp.nanosec = 2000 + number // len(TOPICS), 0
            publishers[topic].publish(msg)
            if number % 7 == 6:
                made.spin_until(lambda: True)
        for publisher in publishers.values():
            made.node.destroy_publisher(publisher)
        made.spin_until(lambda: made.node.count_publishers("candidates") == 1)
        made.forget()
        made.stamp_ns += 10_000_000_000_000
        for _ in range(3):  # a calibration that was before the faults is used again after two messages
            made.send_camera_info(queries[5])
            made.send_image(queries[5].read_image())
        made.expect_pose(queries[5])
        for process in made.processes.process_ids.values():
            assert most_memory(process) < MAX_BYTES
    assert "Traceback" not in (tmp_path / "log").read_text()
