"""Launch files: what can be told from their source everywhere, what they start where launch_ros is installed."""

import ast
import os
from pathlib import Path

import pytest
from launch_helpers import require_launch
from repository import REPOSITORY
from rosbags.rosbag2 import Writer

from vizloc_ros.bags.bag_messages import TYPES, header
from vizloc_ros.errors import ConfigError
from vizloc_ros.mapping.visual_map import VisualMap

LAUNCH_FILES = sorted((REPOSITORY / "launch").glob("*.launch.py"))
by_file = pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
NODES = {"hfnet", "visual_map_server", "localizer", "pixloc_tracker"}


def calls(path, function):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function:
            yield node, {keyword.arg: keyword.value for keyword in node.keywords}


def console_scripts():
    entry_points = next(keywords["entry_points"] for _, keywords in calls(REPOSITORY / "setup.py", "setup"))
    return {line.split(" = ")[0] for line in ast.literal_eval(entry_points)["console_scripts"]}


def test_the_launch_files_are_there():
    assert [path.name for path in LAUNCH_FILES] == ["demo.launch.py", "replay.launch.py", "vizloc.launch.py"]


@by_file
def test_every_argument_is_described(path):
    arguments = list(calls(path, "DeclareLaunchArgument"))
    assert arguments
    for call, keywords in arguments:
        assert ast.literal_eval(keywords["description"]).strip(), ast.unparse(call)


def test_every_executable_is_one_of_setup_py():
    paths = [*LAUNCH_FILES, *(REPOSITORY / "vizloc_ros" / "launching").glob("*.py")]
    named = {ast.literal_eval(call.args[0]) for path in paths for call, _ in calls(path, "ExecutableInPackage")}
    named |= {
        keywords["executable"].value
        for path in paths
        for function in ("Node", "node")
        for _, keywords in calls(path, function)
        if isinstance(keywords.get("executable"), ast.Constant)
    }
    assert named == {"vizloc", "vizloc_node"}
    assert named | NODES <= console_scripts()


@pytest.fixture
def load():
    require_launch()
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    def load(name):
        return PythonLaunchDescriptionSource(str(REPOSITORY / "launch" / name)).get_launch_description(LaunchContext())

    return load


@pytest.fixture
def run(load, monkeypatch, tmp_path):
    """Does what a launch file does short of starting processes; returns the actions that would start them."""
    import launch.logging
    from launch import LaunchContext

    for variable in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "RMW_IMPLEMENTATION"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))
    launch.logging.launch_config.reset()

    def visit(entity, context):
        for made in entity.visit(context) or ():
            yield made
            yield from visit(made, context) if not is_process(made) else ()

    def run(name, **arguments):
        context = LaunchContext()
        context.launch_configurations.update({"map_path": "map", **arguments})
        return [made for entity in load(name).entities for made in visit(entity, context)]

    return run


def is_process(action):
    from launch.actions import ExecuteProcess, TimerAction

    return isinstance(action, ExecuteProcess | TimerAction)


def nodes(actions):
    from launch_ros.actions import Node

    return {Path(action.node_executable).name: action for action in actions if isinstance(action, Node)}


def words(action):
    """The texts in the command of a process."""
    return [getattr(part, "text", "") for substitutions in action.cmd for part in substitutions]


@pytest.fixture
def rviz(tmp_path, monkeypatch):
    """A file at the place of RViz."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "rviz2").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "rviz2"


@pytest.mark.parametrize(
    ("arguments", "executables"),
    [
        ({}, NODES),
        ({"tracking": "false"}, NODES - {"pixloc_tracker"}),
        ({"composed": "true"}, {"vizloc_node"}),
        ({"rviz": "true"}, {*NODES, "rviz2"}),
    ],
)
def test_vizloc_starts_its_nodes(run, rviz, arguments, executables):
    assert set(nodes(run("vizloc.launch.py", **arguments))) == executables


def test_several_cameras_have_an_hfnet_each(run):
    from launch_ros.actions import Node

    actions = run("vizloc.launch.py", cameras="front, rear", namespace="car")
    started = [Path(one.node_executable).name for one in actions if isinstance(one, Node)]
    assert sorted(started) == sorted(["hfnet", *NODES])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cameras": "front,front"}, ("cameras", "each camera must come once")),
        ({"cameras": "front,"}, ("cameras", "''", "namespaces such as front")),
        ({"cameras": "front,rear", "composed": "true"}, ("composed:=true is for one camera",)),
        (
            {"cameras": "front,rear", "image_topic": "/camera/image"},
            ("/camera/image is one topic", "image_topic:=image"),
        ),
    ],
)
def test_cameras_that_cannot_be_are_refused(run, arguments, words):
    from launch import LaunchContext
    from launch.actions import TimerAction

    [timer] = [one for one in run("vizloc.launch.py", **arguments) if isinstance(one, TimerAction)]
    with pytest.raises(ConfigError) as error:
        timer.actions[0].execute(LaunchContext())
    assert all(word in str(error.value) for word in words)


def test_topics_of_cameras_are_in_their_namespaces():
    from vizloc_ros.launching.rig_nodes import remappings_of

    given = [("image", "image_raw"), ("odom", "/odom"), ("/tf", "tf")]
    names = ("front", "rear")
    of_hfnet = dict(remappings_of("front/hfnet", names, given, "/car"))
    assert (of_hfnet["image"], of_hfnet["odom"], of_hfnet["/tf"]) == ("image_raw", "/odom", "/car/tf")
    assert of_hfnet["map/served"] == "/car/map/served"
    assert of_hfnet["tracker/state"] == "/car/tracker/state"
    of_tracker = dict(remappings_of("pixloc_tracker", names, given, "/car"))
    assert of_tracker == {
        "odom": "/odom",
        "/tf": "tf",
        "front/image": "front/image_raw",
        "rear/image": "rear/image_raw",
    }
    assert dict(remappings_of("visual_map_server", names, given, "/car"))["image"] == "front/image_raw"
    assert remappings_of("hfnet", (), given, "/car") == given


def test_all_in_one_process_has_no_tracker_without_tracking(run):
    assert "--without-tracker" in words(
        nodes(run("vizloc.launch.py", composed="true", tracking="false"))["vizloc_node"]
    )
    assert "--without-tracker" not in words(nodes(run("vizloc.launch.py", composed="true"))["vizloc_node"])


@pytest.mark.parametrize("profile", ["localhost", "network"])
def test_vizloc_sets_the_middleware_profile(run, profile):
    run("vizloc.launch.py", dds_profile=profile)
    set_by_vizloc = [os.environ.get(f"FAST{name}_DEFAULT_PROFILES_FILE") for name in ("DDS", "RTPS")]
    assert [Path(path).name for path in set_by_vizloc if path] == [f"fastdds_{profile}.xml"]


@pytest.mark.parametrize("argument", ["dds_profile", "use_sim_time", "respawn"])
def test_unknown_values_are_refused(run, argument):
    with pytest.raises(RuntimeError, match=argument):
        run("vizloc.launch.py", **{argument: "world"})


def test_rviz_shows_the_frame_of_the_map(run, rviz, point_map: VisualMap, tmp_path):
    shown = words(nodes(run("vizloc.launch.py", rviz="true", map_path=str(point_map.folder)))["rviz2"])
    assert shown[shown.index("-f") + 1] == point_map.info.frame
    params_file = tmp_path / "site.yaml"
    params_file.write_text("visual_map_server: {ros__parameters: {map_frame: site}}")
    shown = words(nodes(run("vizloc.launch.py", rviz="true", params_file=str(params_file)))["rviz2"])
    assert shown[shown.index("-f") + 1] == "site"
    shown = words(nodes(run("vizloc.launch.py", rviz="true", params_file=str(params_file), map_frame="world"))["rviz2"])
    assert shown[shown.index("-f") + 1] == "world"


@pytest.mark.parametrize(("name", "required"), [("demo.launch.py", set()), ("replay.launch.py", {"bag"})])
def test_replays_take_the_arguments_of_vizloc_too(load, name, required):
    arguments = {argument.name: argument for argument in load(name).get_launch_arguments()}
    assert {name for name, argument in arguments.items() if argument.default_value is None} == required
    assert {"map_path", "image_topic", "composed", "delay"} <= set(arguments)


def test_demo_shows_rviz_where_it_is(load, monkeypatch, rviz):
    def default():
        return next(a for a in load("demo.launch.py").get_launch_arguments() if a.name == "rviz").default_value[0].text

    assert default() == "true"
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    assert default() == "false"


@pytest.mark.parametrize(
    ("installed", "command"),
    [
        ({"ros2bag", "rosbag2_py"}, ["ros2", "bag", "play", "BAG", "--rate", "2", "--delay", "3", "--clock"]),
        ({"ros2bag"}, ["", "bag", "play", "BAG", "--rate", "2", "--delay", "3", "--wait", "/i"]),
        (set(), ["", "bag", "play", "BAG", "--rate", "2", "--delay", "3", "--wait", "/i"]),
    ],
)
def test_the_player_is_that_of_ros_where_it_is_complete(load, monkeypatch, tmp_path, installed, command):
    from vizloc_ros.launching import bag_player_launch as player

    (tmp_path / "ros2").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(player, "find_spec", lambda name: name in installed or None)
    assert words(player.play_action("BAG", "2", "3", ["/i"], with_ros2_bag=True)) == command


def test_without_a_delay_none_is_given():
    require_launch()
    from vizloc_ros.launching.bag_player_launch import play_action

    assert "--delay" not in words(play_action("BAG", "1.0", "0.0", [], with_ros2_bag=False))


def test_the_player_waits_for_whoever_takes_the_images_if_their_topic_is_known(tmp_path):
    require_launch()
    from vizloc_ros.launching.bag_player_launch import image_topics_in, play_action

    with Writer(tmp_path / "bag", version=8) as writer:
        for topic in ("/front/image", "/rear/image", "/rear/image/compressed"):
            connection = writer.add_connection(topic, "std_msgs/msg/Header", typestore=TYPES)
            writer.write(connection, 1, TYPES.serialize_cdr(header(1, "camera"), "std_msgs/msg/Header"))
    bag = str(tmp_path / "bag")
    assert image_topics_in(bag, "/front/image") == ["/front/image"]
    assert image_topics_in(bag, "/left/image") == image_topics_in("nowhere", "/front/image") == []
    both = image_topics_in(bag, "/rear/image")
    assert both == ["/rear/image", "/rear/image/compressed"]
    assert "--wait" not in words(play_action(bag, "1.0", "0.0", both, with_ros2_bag=False))
