"""RViz's configuration has displays, tools, panels and views that RViz has, and displays of the topics' types.

The classes are those of ros2/rviz, branch jazzy (591594e): ``rviz_default_plugins/plugins_description.xml``, and for
``rviz_common`` the classes that ``panel_factory.cpp`` and ``display_factory.cpp`` add. Branch rolling (f7112b1) has the
same.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from repository import REPOSITORY

# Displays, with the message type of their topic.
DISPLAYS = {
    "rviz_common/Group": "",
    "rviz_default_plugins/AccelStamped": "geometry_msgs/AccelStamped",
    "rviz_default_plugins/Axes": "",
    "rviz_default_plugins/Camera": "sensor_msgs/Image",
    "rviz_default_plugins/CameraInfo": "sensor_msgs/CameraInfo",
    "rviz_default_plugins/DepthCloud": "sensor_msgs/Image",
    "rviz_default_plugins/Effort": "sensor_msgs/JointState",
    "rviz_default_plugins/FluidPressure": "sensor_msgs/FluidPressure",
    "rviz_default_plugins/Grid": "",
    "rviz_default_plugins/GridCells": "nav_msgs/GridCells",
    "rviz_default_plugins/Illuminance": "sensor_msgs/Illuminance",
    "rviz_default_plugins/Image": "sensor_msgs/Image",
    "rviz_default_plugins/InteractiveMarkers": "visualization_msgs/InteractiveMarkerUpdate",
    "rviz_default_plugins/LaserScan": "sensor_msgs/LaserScan",
    "rviz_default_plugins/Map": "nav_msgs/OccupancyGrid",
    "rviz_default_plugins/Marker": "visualization_msgs/Marker",
    "rviz_default_plugins/MarkerArray": "visualization_msgs/MarkerArray",
    "rviz_default_plugins/Odometry": "nav_msgs/Odometry",
    "rviz_default_plugins/Path": "nav_msgs/Path",
    "rviz_default_plugins/PointCloud": "sensor_msgs/PointCloud",
    "rviz_default_plugins/PointCloud2": "sensor_msgs/PointCloud2",
    "rviz_default_plugins/PointStamped": "geometry_msgs/PointStamped",
    "rviz_default_plugins/Polygon": "geometry_msgs/PolygonStamped",
    "rviz_default_plugins/Pose": "geometry_msgs/PoseStamped",
    "rviz_default_plugins/PoseArray": "geometry_msgs/PoseArray",
    "rviz_default_plugins/PoseWithCovariance": "geometry_msgs/PoseWithCovarianceStamped",
    "rviz_default_plugins/Range": "sensor_msgs/Range",
    "rviz_default_plugins/RelativeHumidity": "sensor_msgs/RelativeHumidity",
    "rviz_default_plugins/RobotModel": "",
    "rviz_default_plugins/TF": "",
    "rviz_default_plugins/Temperature": "sensor_msgs/Temperature",
    "rviz_default_plugins/TwistStamped": "geometry_msgs/TwistStamped",
    "rviz_default_plugins/Wrench": "geometry_msgs/WrenchStamped",
}
TOOLS = {
    f"rviz_default_plugins/{name}"
    for name in (
        "FocusCamera",
        "Interact",
        "Measure",
        "MoveCamera",
        "PublishPoint",
        "Select",
        "SetGoal",
        "SetInitialPose",
    )
}
VIEWS = {f"rviz_default_plugins/{name}" for name in ("FPS", "Orbit", "ThirdPersonFollower", "TopDownOrtho", "XYOrbit")}
PANELS = {
    f"rviz_common/{name}"
    for name in ("Displays", "Help", "Selection", "Time", "Tool Properties", "Transformation", "Views")
}
QOS = {
    "History Policy": {"Keep Last", "Keep All", "System Default"},
    "Reliability Policy": {"Reliable", "Best Effort", "System Default"},
    "Durability Policy": {"Volatile", "Transient Local", "System Default"},
}
NOT_SHOWN = {  # inputs of nodes and of other software, or numbers without a place
    *("features", "features/camera_info", "global_descriptor", "submap", "submap/request", "tracker/state"),
    *("localization/fault", "map/served", "map/followed", "pose/fix", "pose/geo", "odometry", "/diagnostics"),
    *("/tf", "/tf_static"),  # TF has no topic to choose
}
PAGE = (REPOSITORY / "docs" / "topics_and_parameters.md").read_text()


@pytest.fixture(scope="module")
def manager() -> Any:
    return config()["Visualization Manager"]


def config() -> Any:
    return yaml.safe_load((REPOSITORY / "config" / "vizloc.rviz").read_text())


def documented() -> dict[str, str]:
    """Types of the topics in the documentation, of those that are published."""
    rows = re.findall(r"^\| `([\w/~]+)` \(out\) \| (\w+/\w+) \|", PAGE, re.MULTILINE)
    return {topic.replace("~", "pixloc_tracker"): kind for topic, kind in rows}


def classes(found: Any) -> Iterator[str]:
    for entry in found:
        yield entry["Class"]


def test_all_classes_are_those_of_rviz(manager: Any) -> None:
    assert set(classes(manager["Displays"])) <= DISPLAYS.keys()
    assert set(classes(manager["Tools"])) <= TOOLS
    assert set(classes(config()["Panels"])) <= PANELS
    assert manager["Views"]["Current"]["Class"] in VIEWS


def test_displays_are_of_the_types_of_their_topics(manager: Any) -> None:
    types = documented() | {"image": "sensor_msgs/Image"}
    shown = [display for display in manager["Displays"] if "Topic" in display]
    assert {display["Topic"]["Value"]: DISPLAYS[display["Class"]] for display in shown} == {
        display["Topic"]["Value"]: types[display["Topic"]["Value"]] for display in shown
    }


def test_every_topic_with_a_place_has_a_display(manager: Any) -> None:
    shown = {display["Topic"]["Value"] for display in manager["Displays"] if "Topic" in display}
    assert shown == (documented().keys() - NOT_SHOWN) | {"image"}
    assert documented().keys() >= NOT_SHOWN


def test_qualities_of_service_have_the_words_of_rviz(manager: Any) -> None:
    for entry in (*manager["Displays"], *manager["Tools"]):
        for policy, words in QOS.items():
            assert entry.get("Topic", {}).get(policy, next(iter(words))) in words, entry
