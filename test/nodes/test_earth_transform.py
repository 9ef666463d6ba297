"""Pose of the map on the earth, from the map server; and what a map without one cannot give."""

import shutil
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from pixloc_helpers import LONG_SIDE
from ros_helpers import ros_context, ros_nodes, spin_until

from vizloc_ros.mapping.georeference import Georeference, Wgs84
from vizloc_ros.mapping.map_writer import add_to_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.nodes.pixloc_tracker import PixLocTrackerNode
from vizloc_ros.nodes.visual_map_server import VisualMapServerNode
from vizloc_ros.ros.qos import TF_STATIC

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("wanted", [True, False])
def test_earth_to_map_by_hand(point_map: VisualMap, tmp_path: Path, monkeypatch, wanted: bool) -> None:
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed: run make setup")
    folder = tmp_path / "map"
    shutil.copytree(point_map.folder, folder)
    place = Georeference(datum=Wgs84(latitude=0, longitude=90, altitude=100))
    add_to_map(folder, [], lambda _: None, {"georeference": place})
    given = ("-p", f"map_path:={folder}", "-p", "map_frame:=site", "-p", f"publish_earth:={str(wanted).lower()}")
    messages = []
    with ros_context(*given) as context, ros_nodes("listener") as (listener,):
        monkeypatch.setattr("rclpy.node.get_default_context", lambda *_: context)
        server = VisualMapServerNode()
        try:
            assert server.count_publishers("/tf_static") == int(wanted)
            if not wanted:
                return
            listener.create_subscription(tf2_msgs.TFMessage, "/tf_static", messages.append, TF_STATIC)
            spin_until(lambda: bool(messages), listener)
        finally:
            server.destroy_node()
    (transform,) = messages[0].transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ("earth", "site")
    position, rotation = transform.transform.translation, transform.transform.rotation
    # On the equator at 90 degrees east, y of ECEF points up; x points west, and z north.
    assert (position.x, position.y, position.z) == pytest.approx((0, 6_378_237, 0), abs=1e-6)
    half = 0.5**0.5
    assert (rotation.x, rotation.y, rotation.z, rotation.w) == pytest.approx((0, half, half, 0), abs=1e-12)


def test_a_map_without_a_datum_gives_no_fixes(tracked_map: VisualMap, monkeypatch) -> None:
    given = ("-p", f"map_path:={tracked_map.folder}", "-p", f"long_side:={LONG_SIDE}", "-p", "publish_fix:=true")
    with ros_context(*given) as context:
        monkeypatch.setattr("rclpy.node.get_default_context", lambda *_: context)
        tracker = PixLocTrackerNode()
        try:
            status = tracker.diagnostics.take_status()
        finally:
            tracker.destroy_node()
    assert status.level == DiagnosticStatus.WARN
    assert f"publish_fix: the map {tracked_map.folder} has no datum" in status.message
