"""Memory of the map server: images of a sequence count together while the tracker does not track."""

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from point_street import RepeatedStreet
from ros_helpers import ros_context, ros_nodes, spin_until
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header, String

from vizloc_ros.localization.localization_options import RetrievalOptions
from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.nodes.visual_map_server import VisualMapServerNode
from vizloc_ros.ros.clouds import global_descriptor_to_msg, places_from_msg
from vizloc_ros.ros.qos import FEATURES, STATE
from vizloc_ros.timing import Stopwatch

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000


@pytest.mark.parametrize("state", ["LOST", "TRACKING"])
def test_the_server_remembers_images_unless_the_tracker_tracks(
    repeated_map: VisualMap, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    street = RepeatedStreet()
    first, other = (
        repeated_map.extractor.describe(street.view(way).keyframe.features).global_descriptor for way in (50.0, 30.0)
    )
    second = (0.4 * first + 0.6 * other) / np.linalg.norm(0.4 * first + 0.6 * other)
    options = RetrievalOptions(top_k=2, remembered_k=2, max_speed=0.1, cluster=False, further_k=0)
    finder = PlaceFinder(repeated_map, options)
    finder.find(first, Stopwatch(), 0)
    expected = {
        "LOST": finder.find(second, Stopwatch(), SECOND // 10).places,
        "TRACKING": PlaceFinder(repeated_map, options).find(second, Stopwatch()).places,
    }
    numbers = {key: [len(place) for place in places] for key, places in expected.items()}
    assert numbers["LOST"] != numbers["TRACKING"]
    retrieval = (
        "retrieval.top_k:=2",
        "retrieval.remembered_k:=2",
        "retrieval.max_speed:=0.1",
        "retrieval.further_k:=0",
    )
    given = (f"map_path:={repeated_map.folder}", *retrieval, "retrieval.cluster:=false")
    received: list[PointCloud2] = []
    with (
        ros_context(*(word for each in given for word in ("-p", each))) as context,
        ros_nodes("camera") as (camera,),
    ):
        monkeypatch.setattr("rclpy.node.get_default_context", lambda *_: context)
        server = VisualMapServerNode()
        try:
            camera.create_subscription(PointCloud2, "candidates", received.append, FEATURES)
            states = camera.create_publisher(String, "tracker/state", STATE)
            descriptors = camera.create_publisher(PointCloud2, "global_descriptor", FEATURES)
            answers = next(each for each in server.publishers if each.topic_name.endswith("candidates"))
            connected = (states, descriptors, answers)
            spin_until(lambda: all(each.get_subscription_count() > 0 for each in connected), camera, server)
            for number, descriptor in enumerate((first, second)):
                states.publish(String(data=state))
                spin_until(lambda: server.tracker.is_tracking == (state == "TRACKING"), camera, server)
                header = Header(stamp=Time(nanosec=number * SECOND // 10), frame_id="camera")
                descriptors.publish(global_descriptor_to_msg(descriptor, repeated_map.info.feature_number, header))
                spin_until(lambda count=number: len(received) > count, camera, server)
        finally:
            server.destroy_node()
    assert [len(place) for place in places_from_msg(received[1])] == numbers[state]
