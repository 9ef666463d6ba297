"""Parameters that the launch file gives to the nodes: files are read as ROS reads them, and later ones are stronger."""

from pathlib import Path

import pytest
import yaml
from repository import REPOSITORY

from vizloc_ros.errors import ConfigError
from vizloc_ros.launching.node_values import NodeValues, node_values
from vizloc_ros.launching.parameter_files import Value, read_sections, values_for, write_parameters
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.ros.node_options import LOCALIZING, NODES

PACKAGE = REPOSITORY / "config" / "vizloc.yaml"

SCALARS = """
/**:
  ros__parameters:
    double: 1e3
    tiny: -5e-1
    integer: 0x10
    octal: 010
    truth: yes
    lie: off
    word: Nothing
    quoted: "1.5"
    tagged: !!str 7
    empty: ''
    infinite: .inf
    umlaut: "Straße 'eins'"
    numbers: [1.0, 2.5e-1, -3.0]
    words:
      - one
      - "2"
    nested:
      deep:
        depth: 3
      "/image": 4
"""
ORDER = """
/**:
  ros__parameters: {a: 1, b: 1, c: 1, d: 1}
localizer:
  ros__parameters: {a: 2, b: 2}
/**/localizer:
  ros__parameters: {b: 3, c: 3}
/*:
  ros__parameters: {c: 4}
/robot:
  localizer:
    ros__parameters: {d: 5}
  "*":
    ros__parameters: {a: 6}
/**:
  ros__parameters: {a: 7, d: 7}
/other/localizer:
  ros__parameters: {a: 8}
"""


def file(tmp_path: Path, text: str, name: str = "given.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def values_of_ros(path: Path, namespace: str, node: str) -> dict[str, object]:
    """Parameters that rclpy reads from a parameter file."""
    helpers = pytest.importorskip("ros_helpers", reason="ROS 2 (rclpy) is not installed")
    with helpers.ros_context("--params-file", str(path)) as context:
        made = helpers.Node(
            node, namespace=namespace, context=context, automatically_declare_parameters_from_overrides=True
        )
        try:
            found = {name: given.value for name, given in made.get_parameters_by_prefix("").items()}
        finally:
            made.destroy_node()
    own = ("use_sim_time", "start_type_description_service")
    return {name: value if isinstance(value, str) else repr(value) for name, value in found.items() if name not in own}


@pytest.mark.ros
@pytest.mark.parametrize("namespace", ["/", "/robot", "/deep/robot"])
@pytest.mark.parametrize("text", [SCALARS, ORDER, PACKAGE.read_text()], ids=["scalars", "order", "package"])
@pytest.mark.parametrize("node", ["localizer", "hfnet"])
def test_a_file_is_read_as_ros_reads_it(tmp_path: Path, text: str, namespace: str, node: str) -> None:
    given, full_name = file(tmp_path, text), f"{namespace.rstrip('/')}/{node}"
    values = values_for(full_name, read_sections(given))
    write_parameters(tmp_path / "made.yaml", {full_name: values, "/another": values})
    of_ros = values_of_ros(given, namespace, node)
    assert values_of_ros(tmp_path / "made.yaml", namespace, node) == of_ros
    assert of_ros.keys() == values.keys()
    assert len(values) >= 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("localizer: [1", "the parameters cannot be read"),
        ("- localizer", r"line 1: expected the name of a node"),
        ("ros__parameters: {a: 1}", r"line 1: there is no name of a node"),
        ("localizer:\n  a: 1", r"line 2: expected the name of a node"),
        ("localizer:\n  ros__parameters: 1", r"line 2: there are no parameters"),
        ("localizer:\n  ros__parameters:\n    a:", r"line 3: parameter 'a' has no value; the empty text is ''"),
    ],
)
def test_a_wrong_file_is_named_with_the_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"given\.yaml.*{problem}"):
        read_sections(file(tmp_path, text))


def test_a_file_that_is_not_there_and_one_that_is_empty(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"given\.yaml: the parameters cannot be read"):
        read_sections(tmp_path / "given.yaml")
    assert read_sections(file(tmp_path, "# nothing\n")) == []


def given(tmp_path: Path, text: str = "", nodes: tuple[str, ...] = NODES, **arguments: str | bool) -> NodeValues:
    path = file(tmp_path, text) if text else None
    return node_values(nodes, "", PACKAGE, path, {name: Value.of(value) for name, value in arguments.items()})


def test_a_file_of_the_user_needs_only_what_differs(tmp_path: Path) -> None:
    values = given(tmp_path, "localizer: {ros__parameters: {pose.min_inliers: 20}}")
    assert values.text("localizer", "pose.min_inliers") == "20"
    assert values.text("localizer", "path_length") == "0"
    assert values.text("pixloc_tracker", "path_length") == "1000"
    assert values.notes == []


def test_the_user_is_stronger_than_the_package_whatever_the_sections(tmp_path: Path) -> None:
    text = "/**: {ros__parameters: {provider: cuda, threads: 3}}\n/**/hfnet: {ros__parameters: {threads: 4}}"
    values = given(tmp_path, text)
    assert [values.text(node, "provider") for node in ("hfnet", "pixloc_tracker")] == ["cuda", "cuda"]
    assert [values.text(node, "threads") for node in ("hfnet", "pixloc_tracker")] == ["4", "3"]


def test_arguments_are_the_strongest_where_they_are_given(tmp_path: Path) -> None:
    text = "localizer: {ros__parameters: {base_frame: a}}\n/**: {ros__parameters: {base_frame: b, use_sim_time: true}}"
    values = given(tmp_path, text, base_frame="007")
    assert {values.text(node, "base_frame") for node in NODES} == {"007"}
    assert values.use_sim_time
    assert not given(tmp_path, text, use_sim_time=False).use_sim_time
    assert not given(tmp_path).use_sim_time


ALL = "/**: {ros__parameters: {publish_tf: true}}\n"


@pytest.mark.parametrize(
    ("text", "localizer", "tracker", "alone", "note"),
    [
        (ALL, "false", "true", "true", "for pixloc_tracker only"),
        ("localizer: {ros__parameters: {publish_tf: true}}", "true", "false", "true", ""),
        ("/**/pixloc_tracker: {ros__parameters: {publish_tf: yes}}", "false", "yes", "false", ""),
        (f"{ALL}/**/localizer: {{ros__parameters: {{publish_tf: true}}}}", "true", "true", "true", "two nodes publish"),
        (f"{ALL}/**/pixloc_tracker: {{ros__parameters: {{publish_tf: false}}}}", "true", "false", "true", ""),
    ],
)
def test_one_node_publishes_the_transform(
    tmp_path: Path, text: str, localizer: str, tracker: str, alone: str, note: str
) -> None:
    values = given(tmp_path, text)
    assert (values.text("localizer", "publish_tf"), values.text("pixloc_tracker", "publish_tf")) == (localizer, tracker)
    assert len(values.notes) == bool(note)
    assert note in " ".join(values.notes)
    assert given(tmp_path, text, LOCALIZING).text("localizer", "publish_tf") == alone


@pytest.mark.parametrize(
    ("text", "localizer", "tracker", "notes"),
    [
        ("", "0", "1000", 0),
        ("/**: {ros__parameters: {path_length: 500}}", "0", "500", 1),
        ("localizer: {ros__parameters: {path_length: 500}}", "0", "1000", 1),
        ("pixloc_tracker: {ros__parameters: {path_length: 0}}", "0", "0", 0),
        (
            "pixloc_tracker: {ros__parameters: {path_length: 0}}\nlocalizer: {ros__parameters: {path_length: 500}}",
            "500",
            "0",
            0,
        ),
    ],
)
def test_never_two_nodes_publish_a_path(tmp_path: Path, text: str, localizer: str, tracker: str, notes: int) -> None:
    values = given(tmp_path, text)
    assert [values.text(node, "path_length") for node in ("localizer", "pixloc_tracker")] == [localizer, tracker]
    assert len(values.notes) == notes


def test_without_the_tracker_the_localizer_publishes_the_path(tmp_path: Path) -> None:
    assert given(tmp_path, nodes=LOCALIZING).text("localizer", "path_length") == ""  # the node's own default
    named = "localizer: {ros__parameters: {path_length: 7}}"
    assert given(tmp_path, named, LOCALIZING).text("localizer", "path_length") == "7"


def test_different_base_frames_are_named(tmp_path: Path) -> None:
    values = given(tmp_path, "pixloc_tracker: {ros__parameters: {base_frame: rear_axle}}")
    assert "base_frame is base_link for localizer but rear_axle for pixloc_tracker" in values.notes[0]
    assert given(tmp_path, "/**: {ros__parameters: {base_frame: rear_axle}}").notes == []
    assert given(tmp_path, "pixloc_tracker: {ros__parameters: {base_frame: x}}", base_frame="y").notes == []


def test_the_frame_of_the_map(tmp_path: Path, point_map: VisualMap) -> None:
    assert given(tmp_path, map_path=str(point_map.folder)).map_frame == point_map.info.frame
    assert given(tmp_path, map_path=str(point_map.folder), map_frame="world").map_frame == "world"
    in_file = "/**: {ros__parameters: {map_frame: site}}"
    assert given(tmp_path, in_file, map_path=str(point_map.folder)).map_frame == "site"
    assert given(tmp_path, map_path=str(tmp_path / "nowhere")).map_frame == "map"


def test_a_section_with_the_former_name_of_a_node_is_named(tmp_path: Path) -> None:
    notes = given(tmp_path, "/**/map_server: {ros__parameters: {map_frame: site}}").notes
    assert "section /**/map_server of params_file has no effect: the node is now called visual_map_server" in notes
    assert given(tmp_path, "/**/visual_map_server: {ros__parameters: {map_frame: site}}").notes == []


def test_several_cameras_are_told_to_the_nodes_of_all(tmp_path: Path) -> None:
    nodes = ("front/hfnet", "rear/hfnet", "visual_map_server", "localizer", "pixloc_tracker")
    text = "/**/hfnet: {ros__parameters: {threads: 2}}\n/rear/hfnet: {ros__parameters: {threads: 3}}"
    values = node_values(nodes, "", PACKAGE, file(tmp_path, text), {}, ("front", "rear"))
    assert [values.text(node, "threads") for node in nodes[:2]] == ["2", "3"]
    assert values.notes == []
    path = tmp_path / "written.yaml"
    write_parameters(path, {f"/{node}": values.by_node[node] for node in nodes})
    written = yaml.safe_load(path.read_text())
    for node in nodes[2:]:
        assert written[f"/{node}"]["ros__parameters"]["cameras"] == ["front", "rear"]
    assert "cameras" not in written["/front/hfnet"]["ros__parameters"]


@pytest.mark.parametrize(
    ("given", "used"), [("[rear]", ["rear"]), ("[rear, front]", ["rear", "front"]), ("[left]", ["front", "rear"])]
)
def test_the_tracker_may_be_given_some_of_the_cameras(given: str, used: list[str], tmp_path: Path) -> None:
    nodes = ("front/hfnet", "rear/hfnet", "visual_map_server", "localizer", "pixloc_tracker")
    text = f"pixloc_tracker: {{ros__parameters: {{cameras: {given}}}}}"
    values = node_values(nodes, "", PACKAGE, file(tmp_path, text), {}, ("front", "rear"))
    assert values.by_node["pixloc_tracker"]["cameras"].texts == used
    assert values.by_node["localizer"]["cameras"].texts == ["front", "rear"]


def test_sections_and_cameras_that_the_launch_does_not_know_are_named(tmp_path: Path) -> None:
    nodes = ("front/hfnet", "visual_map_server", "localizer")
    text = "hfnet: {ros__parameters: {threads: 2}}"
    [note] = node_values(nodes, "", PACKAGE, file(tmp_path, text), {}, ("front",)).notes
    assert "section hfnet of params_file has no effect" in note
    with pytest.raises(ConfigError, match="cameras in section localizer of params_file: give cameras:=front,rear"):
        given(tmp_path, "localizer: {ros__parameters: {cameras: [front]}}")
