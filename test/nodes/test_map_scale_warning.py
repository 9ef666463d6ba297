"""A map of unknown scale: its server warns as long as it runs."""

import shutil
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus

from vizloc_ros.mapping.map_writer import add_to_map
from vizloc_ros.mapping.sfm_report import UNKNOWN_SCALE
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.nodes.visual_map_server import VisualMapServerNode

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("scale", ["metric", "unknown"])
def test_the_server_of_a_map_of_unknown_scale_warns(point_map: VisualMap, tmp_path: Path, scale: str) -> None:
    folder = tmp_path / "map"
    shutil.copytree(point_map.folder, folder)
    add_to_map(folder, [], lambda _: None, {"scale": scale})
    rclpy.init(args=["--ros-args", "-p", f"map_path:={folder}"])
    try:
        node = VisualMapServerNode()
        try:
            statuses = [node.diagnostics.take_status() for _ in range(2)]
        finally:
            node.destroy_node()
    finally:
        rclpy.shutdown()
    for status in statuses:
        assert status.level == (DiagnosticStatus.OK if scale == "metric" else DiagnosticStatus.WARN)
        assert (UNKNOWN_SCALE in status.message) == (scale == "unknown")
