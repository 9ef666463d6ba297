"""Launch files run: which nodes come up with which parameters, what is refused, restarts, replays, and no orphans."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from launch_helpers import VIZLOC_LAUNCH, Launched, launched, require_launch, require_ros2
from pixloc_helpers import LONG_SIDE
from repository import REPOSITORY

from vizloc_ros.bags.writer import write_bag
from vizloc_ros.mapping.visual_map import VisualMap

helpers = pytest.importorskip("ros_helpers", reason="ROS 2 (rclpy) is not installed")
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rcl_interfaces.srv import GetParameters, ListParameters  # noqa: E402
from rclpy.parameter import parameter_value_to_python  # noqa: E402

from vizloc_ros.options import leaves  # noqa: E402
from vizloc_ros.replay.recorder import Recorder  # noqa: E402
from vizloc_ros.ros.node_options import LOCALIZING, NODE_OPTIONS, NODES  # noqa: E402

pytestmark = pytest.mark.ros
ON_THIS_HOST = {"dds_profile": "localhost"}
RESTARTED = r"\[localizer-3\]: process started with pid .*\n(?s:.*)\[localizer-3\]: process started with pid"


@pytest.fixture(autouse=True)
def _with_launch() -> None:
    require_launch()


def params_file(tmp_path: Path, **sections: dict[str, Any]) -> Path:
    """A parameter file; ``all`` is the section ``/**``."""
    path = tmp_path / "params.yaml"
    named = {"/**" if name == "all" else name: {"ros__parameters": values} for name, values in sections.items()}
    path.write_text(yaml.safe_dump(named, sort_keys=False))
    return path


def parameters(node: Any, name: str) -> dict[str, Any]:
    """The parameters of a running node, given by its full name."""
    names = helpers.call_service(node, ListParameters, f"{name}/list_parameters", ListParameters.Request()).result.names
    values = helpers.call_service(
        node, GetParameters, f"{name}/get_parameters", GetParameters.Request(names=names)
    ).values
    return {name: parameter_value_to_python(value) for name, value in zip(names, values, strict=True)}


@pytest.mark.parametrize("composed", ["false", "true"])
def test_nodes_get_their_parameters_in_a_namespace_and_end_with_ctrl_c(
    tmp_path: Path, tracked_map: VisualMap, composed: str
) -> None:
    given = params_file(
        tmp_path,
        **{"/robot/localizer": {"pose.min_inliers": 20, "base_frame": "weaker"}},
        all={"publish_tf": True, "path_length": 500, "use_sim_time": True, "base_frame": "rear_axle"},
        **{"/**/pixloc_tracker": {"tracker.verification.max_position_std": 0.5, "long_side": LONG_SIDE}},
    )
    arguments = {"map_path": tracked_map.folder, "params_file": given, "map_frame": "007", "namespace": "robot"}
    with launched(VIZLOC_LAUNCH, tmp_path, composed=composed, **arguments, **ON_THIS_HOST) as running:
        with helpers.ros_nodes("probe") as [probe]:
            localizer, tracker = (parameters(probe, f"/robot/{name}") for name in ("localizer", "pixloc_tracker"))
            visual_map_server = parameters(probe, "/robot/visual_map_server")
            assert len(probe.get_publishers_info_by_topic("/tf")) == 1
        assert len(running.living()) == (2 if composed == "true" else 5)
        assert running.interrupt() == 0
    assert {node["use_sim_time"] for node in (localizer, tracker, visual_map_server)} == {True}
    assert (localizer["publish_tf"], localizer["path_length"], localizer["pose.min_inliers"]) == (False, 0, 20)
    assert (tracker["publish_tf"], tracker["path_length"]) == (True, 500)
    assert tracker["tracker.verification.max_position_std"] == 0.5
    assert localizer["base_frame"] == tracker["base_frame"] == "rear_axle"
    assert (visual_map_server["map_frame"], visual_map_server["map_path"]) == ("007", str(tracked_map.folder))
    assert "publish_tf of section /** is for pixloc_tracker only" in running.text
    assert "localizer publishes no path" in running.text
    assert "process has died" not in running.text


def test_without_tracker_and_file_the_localizer_publishes_its_path(tmp_path: Path, point_map: VisualMap) -> None:
    arguments = {"map_path": point_map.folder, "tracking": "false", "use_sim_time": "false"}
    with launched(VIZLOC_LAUNCH, tmp_path, **arguments, **ON_THIS_HOST) as running:
        with helpers.ros_nodes("probe") as [probe]:
            localizer = parameters(probe, "/localizer")
        assert running.pids("pixloc_tracker") == []
        assert running.interrupt() == 0
    assert (localizer["path_length"], localizer["publish_tf"], localizer["use_sim_time"]) == (1000, False, False)


def test_with_a_lifecycle_manager_the_nodes_wait_for_their_transitions(tmp_path: Path, point_map: VisualMap) -> None:
    arguments = {"map_path": point_map.folder, "tracking": "false", "use_lifecycle_manager": "true"}
    with launched(VIZLOC_LAUNCH, tmp_path, composed="true", **arguments, **ON_THIS_HOST) as running:
        with helpers.ros_nodes("probe") as [probe]:
            for name in LOCALIZING:
                state = helpers.call_service(probe, GetState, f"/{name}/get_state", GetState.Request())
                assert state.current_state.label == "unconfigured"
            for label in ("configure", "activate"):
                request = ChangeState.Request(transition=Transition(label=label))
                assert helpers.call_service(probe, ChangeState, "/visual_map_server/change_state", request).success
        assert running.interrupt() == 0


def dotted(tree: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The names of parameters in the nested mappings that `ros2 param dump` prints."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_param_dump_lists_every_parameter(tmp_path: Path, tracked_map: VisualMap) -> None:
    ros2 = require_ros2("ros2param")
    with launched(VIZLOC_LAUNCH, tmp_path, map_path=tracked_map.folder, **ON_THIS_HOST) as running:
        with helpers.ros_nodes("probe") as [probe]:
            for name in NODES:
                parameters(probe, f"/{name}")  # it is up
        for name in NODES:
            command = [ros2, "param", "dump", "--no-daemon", "--spin-time", "1", f"/{name}"]
            for _ in range(10):  # it gives up when discovery takes longer than that
                dumped = subprocess.run(command, capture_output=True, text=True, timeout=60)
                if dumped.returncode == 0 and dumped.stdout:
                    break
            shown = yaml.safe_load(dumped.stdout)[f"/{name}"]["ros__parameters"]
            assert {option for option, _ in leaves(NODE_OPTIONS[name])} <= set(dotted(shown))
        assert running.interrupt() == 0


def test_two_robots_in_one_launch_file(tmp_path: Path, point_map: VisualMap) -> None:
    file = tmp_path / "robots.launch.py"
    file.write_text(f"""
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace

def robot(name, **arguments):
    common = {{"composed": "true", "tracking": "false", "dds_profile": "localhost"}}
    arguments["map_path"] = {str(point_map.folder)!r}
    source = PythonLaunchDescriptionSource({str(VIZLOC_LAUNCH)!r})
    include = IncludeLaunchDescription(source, launch_arguments=(common | arguments).items())
    return GroupAction([PushRosNamespace(name), include])

def generate_launch_description():
    return LaunchDescription([robot("one", map_frame="first"), robot("two", map_frame="second", namespace="front")])
""")
    with launched(file, tmp_path) as running:
        with helpers.ros_nodes("probe") as [probe]:
            frames = [parameters(probe, f"{name}/visual_map_server")["map_frame"] for name in ("/one", "/two/front")]
        assert running.interrupt() == 0
    assert frames == ["first", "second"]


def refused(file: Path, tmp_path: Path, **arguments: object) -> str:
    """Output of a launch that must end with 1 before it has started anything."""
    with launched(file, tmp_path / "refused", **arguments) as running:
        assert running.end() == 1
    assert "process started" not in running.text
    return running.text


@pytest.mark.parametrize("name", ["vizloc", "replay", "demo"])
def test_rviz_that_is_not_installed_is_refused_at_once(tmp_path: Path, name: str) -> None:
    from vizloc_ros.launching.rviz import rviz_executable

    if rviz_executable():
        pytest.skip("RViz is installed")
    arguments = {} if name == "vizloc" else {"bag": tmp_path}
    said = refused(REPOSITORY / "launch" / f"{name}.launch.py", tmp_path, rviz="true", **arguments)
    assert "RViz is not installed (no package rviz2): sudo apt-get install" in said


def test_a_refusal_leaves_nothing_behind_of_the_launch_file_around_it(tmp_path: Path) -> None:
    file = tmp_path / "around.launch.py"
    file.write_text(f"""
from launch import LaunchDescription
from launch.actions import ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

def generate_launch_description():
    source = PythonLaunchDescriptionSource({str(VIZLOC_LAUNCH)!r})
    include = IncludeLaunchDescription(source, launch_arguments={{"params_file": "nowhere.yaml"}}.items())
    return LaunchDescription([ExecuteProcess(cmd=["sleep", "300"]), include])
""")
    with launched(file, tmp_path) as running:
        assert running.end() == 1
    assert "nowhere.yaml: the parameters cannot be read" in running.text


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"bag": "nowhere"}, "there is no bag nowhere"),
        ({"bag": ".", "delay": "-1"}, "delay:=-1: give the seconds before the first message"),
        ({"bag": "."}, "map_path is not given: name the folder that `vizloc map build` wrote"),
        ({"bag": ".", "params_file": "nowhere.yaml"}, "nowhere.yaml: the parameters cannot be read"),
    ],
)
def test_a_replay_that_cannot_be_is_refused_at_once(tmp_path: Path, arguments: dict[str, str], reason: str) -> None:
    assert reason in refused(REPOSITORY / "launch" / "replay.launch.py", tmp_path, **arguments)


def test_a_node_that_is_killed_starts_again_until_ctrl_c(tmp_path: Path, point_map: VisualMap) -> None:
    with launched(VIZLOC_LAUNCH, tmp_path, map_path=point_map.folder, tracking="false", **ON_THIS_HOST) as running:
        with helpers.ros_nodes("probe") as [probe]:
            parameters(probe, "/localizer")
        os.kill(running.pids("localizer")[0], signal.SIGKILL)
        running.wait_for(r"localizer.*ended with exit code -9 and starts again in 2 s", RESTARTED)
        os.kill(running.pids("localizer")[1], signal.SIGKILL)
        running.wait_for(r"(?s)starts again in 2 s.*starts again in 2 s")
        assert running.interrupt() == 0  # also between the end and the start of a node
        assert len(running.pids("localizer")) == 2


def test_a_node_starts_no_second_time_without_respawn(tmp_path: Path, point_map: VisualMap) -> None:
    given = params_file(tmp_path, localizer={"pose.min_inliers": 1}, all={"map_path": str(point_map.folder)})
    with launched(
        VIZLOC_LAUNCH, tmp_path, params_file=given, respawn="false", tracking="false", **ON_THIS_HOST
    ) as running:
        running.wait_for(r"localizer-3\]: process has died", "parameter: pose.min_inliers")
        assert running.interrupt() == 0
    assert len(running.pids("localizer")) == 1


@pytest.mark.e2e
def test_a_refused_parameter_does_not_restart_forever(tmp_path: Path, point_map: VisualMap) -> None:
    given = params_file(tmp_path, localizer={"pose.min_inliers": 1}, all={"map_path": str(point_map.folder)})
    with launched(VIZLOC_LAUNCH, tmp_path, params_file=given, tracking="false", **ON_THIS_HOST) as running:
        running.wait_for("localizer.*ended again with exit code 1 and is given up after 3 restarts", timeout_s=120.0)
        with helpers.ros_nodes("probe") as [probe]:
            parameters(probe, "/visual_map_server")  # the others go on
        assert running.interrupt() == 0
    assert len(running.pids("localizer")) == 4


def replay(tmp_path: Path, name: str, **arguments: object) -> tuple[Launched, Recorder]:
    """Runs a replay to its end; returns it, and what its nodes published."""
    with helpers.ros_context() as context:
        recorder = Recorder(context=context)
        with launched(REPOSITORY / "launch" / name, tmp_path, **arguments, **ON_THIS_HOST) as running:
            helpers.spin_until(lambda: running.process.poll() is not None, recorder, timeout_s=120.0)
            assert running.end() == 0, running.text
        recorder.destroy_node()
    return running, recorder


@pytest.mark.parametrize("name", ["replay.launch.py", "demo.launch.py"])
def test_a_replay_plays_all_images_to_ready_nodes_and_ends_with_the_bag(
    tmp_path: Path, street: Any, street_build: Any, name: str
) -> None:
    records = street.records("query")[2:8]
    write_bag(records, tmp_path / "bag")
    arguments = {"bag": tmp_path / "bag", "map_path": street_build[0], "tracking": "false"}
    if name.startswith("replay"):
        topics = {"image_topic": "/camera/image", "camera_info_topic": "/camera/camera_info"}
        arguments |= {**topics, "rate": "0.2"}
    else:
        arguments |= {"delay": "1.0"}
    running, recorder = replay(tmp_path, name, **arguments)
    missing = [index for index, record in enumerate(records) if record.timestamp_ns not in recorder.poses]
    assert len(missing) <= (0 if name.startswith("replay") else 3), (missing, recorder.messages)
    assert running.text.index("the nodes are ready") < running.text.index("[player-")
    assert "the bag has ended" in running.text
    assert "process has died" not in running.text
    assert set(recorder.statuses) == set(LOCALIZING)


def test_a_bag_that_cannot_be_played_ends_the_replay(tmp_path: Path, point_map: VisualMap) -> None:
    (tmp_path / "bag").mkdir()
    arguments = {"bag": tmp_path / "bag", "map_path": point_map.folder, "tracking": "false"}
    with launched(REPOSITORY / "launch" / "replay.launch.py", tmp_path, **arguments, **ON_THIS_HOST) as running:
        assert running.end(120.0) == 1
    assert "the bag was not played to its end (exit code 1)" in running.text


def test_a_node_that_is_refused_ends_the_replay_before_the_bag(tmp_path: Path, point_map: VisualMap) -> None:
    given = params_file(tmp_path, localizer={"pose.min_inliers": 1}, all={"map_path": str(point_map.folder)})
    arguments = {"bag": tmp_path, "params_file": given, "tracking": "false"}
    with launched(REPOSITORY / "launch" / "replay.launch.py", tmp_path, **arguments, **ON_THIS_HOST) as running:
        assert running.end() == 1
    assert "has ended, so the bag is not played" in running.text
    assert running.pids("player") == []


def test_a_rig_has_an_hfnet_in_the_namespace_of_each_camera(tmp_path: Path, point_map: VisualMap) -> None:
    given = params_file(
        tmp_path, **{"/**/hfnet": {"silence_timeout": 9.0}, "/car/rear/hfnet": {"silence_timeout": 8.0}}
    )
    arguments = {"map_path": point_map.folder, "tracking": "false", "params_file": given, "namespace": "car"}
    with launched(VIZLOC_LAUNCH, tmp_path, cameras="front,rear", **arguments, **ON_THIS_HOST) as running:
        with helpers.ros_nodes("probe") as [probe]:
            front, rear = (parameters(probe, f"/car/{name}/hfnet") for name in ("front", "rear"))
            server, localizer = (parameters(probe, f"/car/{name}") for name in ("visual_map_server", "localizer"))

            def is_followed_by_both() -> bool:
                names = {
                    (one.node_namespace, one.node_name)
                    for one in probe.get_publishers_info_by_topic("/car/map/followed")
                }
                return {("/car/front", "hfnet"), ("/car/rear", "hfnet"), ("/car", "localizer")} <= names

            helpers.spin_until(is_followed_by_both, probe)
            for camera in ("front", "rear"):
                for topic in ("features", "features/camera_info", "candidates", "global_descriptor"):
                    assert len(probe.get_publishers_info_by_topic(f"/car/{camera}/{topic}")) == 1, topic
                    assert len(probe.get_subscriptions_info_by_topic(f"/car/{camera}/{topic}")) == 1, topic
                assert len(probe.get_subscriptions_info_by_topic(f"/car/{camera}/image")) == 1
        assert running.interrupt() == 0
    assert (front["silence_timeout"], rear["silence_timeout"]) == (9.0, 8.0)
    assert server["cameras"] == localizer["cameras"] == ["front", "rear"]
    assert "process has died" not in running.text
