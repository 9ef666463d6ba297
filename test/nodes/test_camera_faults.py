"""Faults of a running camera and of its neighbours, with node processes: no pose, and the reason by name."""

from dataclasses import replace
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_helpers import COMPOSED, bench
from sensor_msgs.msg import PointCloud2

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.mapping.builder import BuildReport
from vizloc_ros.ros.qos import FEATURES

pytestmark = pytest.mark.ros


def test_frozen_images_changed_calibrations_and_a_second_map_server_give_no_pose(
    street_build: tuple[Path, BuildReport], street: SyntheticStreet, tmp_path: Path
) -> None:
    queries = street.records("query")
    given = {"withhold_frozen": True, "camera_info_stable": 3}
    with bench(street_build[0], tmp_path / "log", COMPOSED, hfnet=given) as made:
        made.expect_pose(queries[3])
        frozen = queries[4].read_image()
        made.send_image(frozen)
        made.spin_until(lambda: made.stamp_ns in made.recorder.poses)
        made.forget()
        for _ in range(2):
            made.send_image(frozen)
            made.expect_complaint("hfnet", "camera frozen", level=DiagnosticStatus.WARN)
        made.expect_pose(queries[5])

        second = made.node.create_publisher(PointCloud2, "candidates", FEATURES)
        made.spin_until(lambda: made.node.count_publishers("candidates") == 2)
        made.spin_until(lambda: second.get_subscription_count() > 0)
        made.forget()
        first_stamp = made.send_image(queries[4].read_image())
        made.expect_complaint("localizer", "2 publishers on /candidates", "more than one visual_map_server")
        assert first_stamp not in made.recorder.poses
        made.node.destroy_publisher(second)
        made.spin_until(lambda: made.node.count_publishers("candidates") == 1)
        made.expect_pose(queries[5])

        wrong = replace(queries[3].camera, fx=1.05 * queries[3].camera.fx, fy=1.05 * queries[3].camera.fy)
        changed = [replace(record, camera=wrong) for record in queries[3:8]]
        made.forget()
        for record in changed[:2]:
            made.send_camera_info(record)
            made.send_image(record.read_image())
            made.expect_complaint("hfnet", "camera_info has changed, fx ", "until 3 messages in a row agree")
        for record in changed[2:]:
            made.send_camera_info(record)
            made.send_image(record.read_image())
        made.expect_complaint("localizer", "the calibration does not fit the map: it says fx")
        assert not made.recorder.poses
