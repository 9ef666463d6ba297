"""ROS parameters declared from a tree of options."""

import math
import sys
from typing import ClassVar, Literal

import pytest
from pydantic import Field, model_validator
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_helpers import ros_context

from vizloc_ros.errors import ConfigError
from vizloc_ros.mapping.builder import BuildOptions
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.options import Options, subgroup
from vizloc_ros.pixloc.tracking import TrackerOptions
from vizloc_ros.ros.node_options import NODE_OPTIONS
from vizloc_ros.ros.parameters import declare_options, option_parameters

pytestmark = pytest.mark.ros


class Matching(Options):
    max_error_px: float = Field(4.0, ge=0.5, description="inlier threshold")
    min_inliers: int = Field(12, ge=4, le=100, description="inliers of a pose")


class Detection(Options):
    max_keypoints: int = Field(2048, ge=1, le=10_000, description="keypoints per image")
    matching: Matching = Matching()


class Tree(Options):
    map_path: str = Field("", description="folder of the map")
    provider: Literal["cpu", "cuda"] = Field("cpu", description="device of the network")
    scale: float = Field(1.0, gt=0, lt=8, description="scale of the image")
    base_from_cam: tuple[float, ...] = Field((), description="camera extrinsics")
    levels: tuple[int, ...] = Field((4, 2, 1), description="strides, coarse first")
    publish_tf: bool = Field(True, description="publish /tf")
    detection: Detection = Detection()

    @model_validator(mode="after")
    def _seven_values(self) -> "Tree":
        if len(self.base_from_cam) not in (0, 7):
            raise ValueError(f"base_from_cam has {len(self.base_from_cam)} values instead of 7")
        return self


@pytest.fixture(scope="module")
def context():
    with ros_context() as context:
        yield context


@pytest.fixture
def make_node(context):
    nodes = []

    def make(overrides=None, **more):
        parameters = [Parameter(name, value=value) for name, value in {**(overrides or {}), **more}.items()]
        nodes.append(Node("parameters", context=context, parameter_overrides=parameters))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_names_are_the_paths_through_the_tree():
    assert [parameter.name for parameter in option_parameters(Tree)] == [
        *("map_path", "provider", "scale", "base_from_cam", "levels", "publish_tf"),
        *("detection.max_keypoints", "detection.matching.max_error_px", "detection.matching.min_inliers"),
    ]


def test_defaults(make_node):
    node = make_node()
    assert declare_options(node, Tree) == Tree()
    assert list(node.get_parameter("levels").value) == [4, 2, 1]
    assert node.get_parameter("detection.matching.max_error_px").value == 4.0


@pytest.mark.parametrize("model", [*NODE_OPTIONS.values(), OptionTree, BuildOptions])
def test_a_group_has_its_own_defaults_wherever_it_stands(model):
    """Else the others of the group would change when one of them is set."""
    for field in model.model_fields.values():
        if (group := subgroup(field)) is not None:
            assert field.default == group()
            test_a_group_has_its_own_defaults_wherever_it_stands(group)


def test_overrides_of_every_type(make_node):
    overrides = {
        "map_path": "/maps/a",
        "provider": "cuda",
        "scale": 0.5,
        "base_from_cam": [0.1, 0.0, 1.5, 0.5, -0.5, 0.5, -0.5],
        "levels": [4, 1],
        "publish_tf": False,
        "detection.max_keypoints": 10_000,
        "detection.matching.min_inliers": 4,
    }
    options = declare_options(make_node(overrides), Tree)
    assert options.map_path == "/maps/a"
    assert (options.provider, options.scale, options.publish_tf) == ("cuda", 0.5, False)
    assert options.base_from_cam == (0.1, 0.0, 1.5, 0.5, -0.5, 0.5, -0.5)
    assert options.levels == (4, 1)
    assert options.detection.max_keypoints == 10_000
    assert options.detection.matching.min_inliers == 4
    assert options.detection.matching.max_error_px == 4.0


def test_overrides_of_the_command_line_and_file(tmp_path):
    file = tmp_path / "parameters.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    detection:\n      max_keypoints: 7\n      matching: {min_inliers: 9}\n"
        "    base_from_cam: [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]\n"
    )
    with ros_context("--params-file", str(file), "-p", "detection.matching.max_error_px:=2.0") as context:
        node = Node("parameters", context=context)
        options = declare_options(node, Tree)
        node.destroy_node()
    assert options.detection.max_keypoints == 7
    assert options.detection.matching == Matching(max_error_px=2.0, min_inliers=9)
    assert options.base_from_cam == (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("detection.max_keypoints", 0, "greater than or equal to 1"),
        ("detection.max_keypoints", 10_001, "less than or equal to 10000"),
        ("detection.max_keypoints", 3.0, "must be of type integer"),
        ("detection.max_keypoints", True, "must be of type integer"),
        ("detection.matching.max_error_px", 0.4, r"greater than or equal to 0\.5"),
        ("detection.matching.max_error_px", "4.0", "must be of type double"),
        ("detection.matching.max_error_px", True, "must be of type double"),
        ("detection.matching.max_error_px", math.nan, r"greater than or equal to 0\.5"),
        ("scale", 0.0, "greater than 0"),
        ("provider", "tpu", "'cpu' or 'cuda'"),
        ("provider", True, "must be of type string"),
        ("levels", [4.0, 2.0], r"must be of type integer\[\]"),
        ("publish_tf", "yes", "must be of type bool"),
        ("publish_tf", [True], "must be of type bool"),
    ],
)
def test_a_wrong_value_is_refused_by_name(make_node, name, value, reason):
    with pytest.raises(ConfigError, match=f"parameter:? {name}.*{reason}"):
        declare_options(make_node({name: value}), Tree)


def test_conditions_between_options_are_checked(make_node):
    with pytest.raises(ConfigError, match="base_from_cam has 2 values instead of 7"):
        declare_options(make_node(base_from_cam=[1.0, 2.0]), Tree)


@pytest.mark.parametrize("values", [[1, 0, 0, 0, 0, 0, 1], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
def test_whole_numbers_are_taken_for_doubles(make_node, values):
    node = make_node({"base_from_cam": values, "scale": 4})
    options = declare_options(node, Tree)
    assert options.base_from_cam == tuple(map(float, values))
    assert all(isinstance(value, float) for value in options.base_from_cam)
    assert node.get_parameter("base_from_cam").type_ == Parameter.Type.DOUBLE_ARRAY
    assert (options.scale, node.get_parameter("scale").type_) == (4.0, Parameter.Type.DOUBLE)


def test_every_parameter_has_a_value_for_tools_that_ask_for_all(make_node):
    """With one unset parameter, rclpy answers a request for several with nothing."""
    node = make_node()
    declare_options(node, Tree)
    for parameter in option_parameters(Tree):
        assert node.get_parameter(parameter.name).type_ == parameter.type
        assert node.describe_parameter(parameter.name).read_only
    assert list(node.get_parameter("base_from_cam").value) == []


def test_an_empty_list_is_one_of_the_declared_type(make_node):
    node = make_node(base_from_cam=[])
    assert declare_options(node, Tree).base_from_cam == ()
    assert node.get_parameter("base_from_cam").type_ == Parameter.Type.DOUBLE_ARRAY


def test_unknown_names_are_warned_of_with_the_nearest(make_node, capfd):
    node = make_node({"detection.max_keypoint": 5, "provider": "cuda", "rate_hz": 1.0, "zzz": 1})
    declare_options(node, Tree, names_of_others={"rate_hz"})
    said = capfd.readouterr().err
    assert "there is no parameter detection.max_keypoint:" in said
    assert "the nearest name is detection.max_keypoints" in said
    assert "there is no parameter zzz: it has no effect; `ros2 param list` shows those of" in said
    assert "rate_hz" not in said
    assert "provider" not in said


@pytest.mark.parametrize(
    ("node", "old", "new"),
    [
        ("visual_map_server", "top_k", "retrieval.top_k"),
        ("visual_map_server", "submap_landmarks", "submap.max_landmarks"),
        ("localizer", "covariance_scale", "pose.covariance_scale"),
        ("pixloc_tracker", "covariance_scale", "tracker.covariance_scale"),
        ("pixloc_tracker", "min_inlier_share", "tracker.verification.min_inlier_ratio"),
    ],
)
def test_old_names_are_refused_with_the_new_one(make_node, node, old, new):
    given = {old: 1} | ({} if node == "localizer" else {"map_path": "/maps/a"})
    with pytest.raises(ConfigError, match=f"parameter {old} is now called {new}$"):
        declare_options(make_node(given), NODE_OPTIONS[node])


@pytest.mark.parametrize(
    ("section", "refused"),
    [
        ("map_server:\n  ros__parameters: {retrieval: {top_k: 5}}\n", True),
        ("/**:\n  map_server:\n    ros__parameters: {map_path: /maps/a}\n", True),
        ("/robot/map_server:\n  ros__parameters: {top_k: 5}\n", True),
        ("map_server:\n  ros__parameters: {yaml_filename: /grid.yaml, use_sim_time: true}\n", False),
        ("visual_map_server:\n  ros__parameters: {verify_map: false}\n", False),
        ("localizer:\n  ros__parameters: {map_server: {map_path: /maps/a}}\n", False),
        ("map_server: [", False),
    ],
    ids=["plain", "nested", "namespace", "of nav2", "new name", "parameter of that name", "no yaml"],
)
def test_a_section_for_a_former_name_is_refused(context, monkeypatch, tmp_path, section, refused):
    file = tmp_path / "parameters.yaml"
    file.write_text(section)
    monkeypatch.setattr(sys, "argv", ["node", "--ros-args", "--params-file", str(file), "-p", "verify_map:=false"])
    overrides = [Parameter("map_path", value="/maps/a")]
    for name, model in NODE_OPTIONS.items():
        node = Node(name, context=context, parameter_overrides=overrides)
        try:
            if refused and name == "visual_map_server":
                with pytest.raises(ConfigError, match=rf"{file}: section map_server: .* called {name}"):
                    declare_options(node, model)
            else:
                declare_options(node, model)
        finally:
            node.destroy_node()


@pytest.mark.parametrize("name", ["base_frame", "map_frame"])
@pytest.mark.parametrize("value", ["", "/", " ", "base link"])
def test_a_frame_must_have_a_name(make_node, name, value):
    """Only the map's may be empty: then it is the one in the map."""
    model = NODE_OPTIONS["localizer" if name == "base_frame" else "visual_map_server"]
    node = make_node({name: value, "map_path": "/map"})
    if name == "map_frame" and not value:
        assert declare_options(node, model).map_frame == ""
        return
    with pytest.raises(ConfigError, match=rf"parameter: {name}: is '{value}': it must be the name of a frame"):
        declare_options(node, model)


def test_what_is_read_only_stays(make_node):
    node = make_node()
    declare_options(node, Tree)
    result = node.set_parameters([Parameter("detection.max_keypoints", value=5)])[0]
    assert not result.successful
    assert node.get_parameter("detection.max_keypoints").value == 2048


class Settable(Tree):
    settable: ClassVar[tuple[str, ...]] = ("scale", "detection.matching")


def test_what_is_settable_is_set_as_a_whole_or_not_at_all(make_node):
    node, changes = make_node(scale=0.5), []
    declare_options(node, Settable, on_change=changes.append)

    def request(**values):
        given = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        return node.set_parameters_atomically(given)

    assert request(scale=2.0, detection__matching__min_inliers=9).successful
    assert request(detection__matching__max_error_px=1.0).successful
    assert [(new.scale, new.detection.matching.min_inliers) for new in changes] == [(2.0, 9), (2.0, 9)]
    assert changes[-1].detection == Detection(matching=Matching(max_error_px=1.0, min_inliers=9))
    for wrong, named in (
        ({"detection__matching__min_inliers": 3}, "detection.matching.min_inliers"),
        ({"detection__matching__min_inliers": 5.0}, "parameter detection.matching.min_inliers: is 5.0; it must be"),
        ({"detection__matching__max_error_px": 0.1}, "detection.matching.max_error_px"),
        ({"detection__max_keypoints": 5}, "read-only parameter: detection.max_keypoints"),
        ({"provider": "cuda"}, "read-only parameter: provider"),
    ):
        refused = request(scale=4.0, **wrong)
        assert not refused.successful
        assert named in refused.reason
    assert len(changes) == 2
    assert node.get_parameter("scale").value == 2.0


def test_descriptors_show_tools_the_allowed_values(make_node):
    node = make_node()
    declare_options(node, Tree)
    names = ["detection.max_keypoints", "detection.matching.max_error_px", "provider", "scale"]
    keypoints, error, provider, scale = node.describe_parameters(names)
    assert keypoints.description == "keypoints per image"
    assert (keypoints.integer_range[0].from_value, keypoints.integer_range[0].to_value) == (1, 10_000)
    assert error.floating_point_range[0].from_value == 0.5
    assert error.floating_point_range[0].to_value > 1e300
    assert provider.additional_constraints == "cpu, cuda"
    assert 0 < scale.floating_point_range[0].from_value < 1e-300
    assert 7.99 < scale.floating_point_range[0].to_value < 8
    assert scale.additional_constraints == "above 0, below 8"


def test_every_option_of_the_tracker_can_be_set_on_a_robot():
    of_node = {parameter.name for parameter in option_parameters(NODE_OPTIONS["pixloc_tracker"])}
    of_core = {f"tracker.{parameter.name}" for parameter in option_parameters(TrackerOptions)}
    assert len(of_core) >= 40  # the tree was walked
    assert of_core <= of_node
