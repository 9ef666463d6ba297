"""Launch files: what can be told from their source everywhere, what they start where launch_ros is installed."""

import ast
import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LAUNCH_FILES = sorted((REPOSITORY / "launch").glob("*.launch.py"))
by_file = pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)


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


@by_file
def test_every_executable_is_one_of_setup_py(path):
    named = {ast.literal_eval(call.args[0]) for call, _ in calls(path, "ExecutableInPackage")}
    for _, keywords in calls(path, "Node"):
        if isinstance(keywords["executable"], ast.Constant) and "package" not in keywords:
            named.add(keywords["executable"].value)
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NODES":
            named.update(ast.literal_eval(node.value))
    assert named
    assert named <= console_scripts()


@pytest.fixture
def load():
    pytest.importorskip("launch_ros", reason="launch_ros has no wheel; it comes with a ROS 2 installation")
    from launch import LaunchContext
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    def load(name):
        return PythonLaunchDescriptionSource(str(REPOSITORY / "launch" / name)).get_launch_description(LaunchContext())

    return load


@pytest.fixture
def run(load, monkeypatch):
    """Does what a launch file does short of starting processes; returns the actions that would start them."""
    from launch import LaunchContext

    for variable in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "RMW_IMPLEMENTATION"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)

    def run(name, **arguments):
        context = LaunchContext()
        context.launch_configurations.update(arguments)
        return [action for entity in load(name).entities for action in entity.visit(context) or ()]

    return run


def nodes(actions):
    from launch_ros.actions import Node

    return {action.node_executable: action for action in actions if isinstance(action, Node)}


@pytest.mark.parametrize(
    ("arguments", "executables"),
    [
        ({}, {"hfnet", "visual_map_server", "localizer"}),
        ({"composed": "true"}, {"vizloc_node"}),
        ({"rviz": "true"}, {"hfnet", "visual_map_server", "localizer", "rviz2"}),
    ],
)
def test_vizloc_starts_its_nodes(run, arguments, executables):
    assert set(nodes(run("vizloc.launch.py", **arguments))) == executables


@pytest.mark.parametrize(("reach", "profile"), [("localhost", "fastdds_shm.xml"), ("network", "fastdds_network.xml")])
def test_vizloc_sets_the_middleware_profile(run, reach, profile):
    run("vizloc.launch.py", reach=reach)
    assert Path(os.environ["FASTDDS_DEFAULT_PROFILES_FILE"]).name == profile


def test_unknown_values_are_refused(run):
    with pytest.raises(RuntimeError, match="reach"):
        run("vizloc.launch.py", reach="world")


@pytest.mark.parametrize(("name", "required"), [("demo.launch.py", set()), ("replay.launch.py", {"bag"})])
def test_replays_start_a_player_beside_vizloc(load, name, required):
    from launch.actions import ExecuteProcess

    description = load(name)
    arguments = {argument.name: argument for argument in description.get_launch_arguments()}
    assert {name for name, argument in arguments.items() if argument.default_value is None} == required
    assert {"map_path", "image_topic", "composed"} <= set(arguments)
    assert [type(entity) for entity in description.entities].count(ExecuteProcess) == 1
