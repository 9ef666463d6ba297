"""Localizer node without other processes."""

import pytest
from ros_helpers import ros_context
from sensor_msgs.msg import CameraInfo, PointCloud2

from vizloc_ros.nodes.localizer import LocalizerNode
from vizloc_ros.nodes.localizer_input import CHANNELS
from vizloc_ros.ros.messages import header_of

pytestmark = pytest.mark.ros


def test_the_first_image_after_a_jump_back_in_time_is_localized(monkeypatch) -> None:
    import rclpy.context

    joined: list[int] = []
    with ros_context() as context:
        monkeypatch.setattr(rclpy.context, "get_default_context", lambda: context, raising=False)
        monkeypatch.setattr("rclpy.node.get_default_context", lambda *_: context)
        node = LocalizerNode()
        try:
            node.submit = lambda instant: joined.append(instant.items[""][0].header.stamp.sec)
            for second in (100, 101, 5, 6):
                for channel in CHANNELS:
                    kind = CameraInfo if channel.endswith("camera_info") else PointCloud2
                    node._input.receiver("", channel)(kind(header=header_of(second * 1_000_000_000, "camera")))
        finally:
            node.destroy_node()
    assert joined == [100, 101, 5, 6]
