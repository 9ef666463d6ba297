import math
from dataclasses import dataclass

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_helpers import ros_context

from vizloc_ros.errors import ConfigError
from vizloc_ros.nodes.parameters import declare, param, parameter_names, parameters_table, warn_of_unknown

pytestmark = pytest.mark.ros


@dataclass(frozen=True)
class Parameters:
    map_path: str = param("", "folder of the map")
    provider: str = param("cpu", "where the network runs", choices=("cpu", "cuda"))
    max_keypoints: int = param(2048, "keypoints kept per image", minimum=1, maximum=10_000)
    max_error_px: float = param(4.0, "inlier threshold", minimum=0.5, dynamic=True)
    min_inliers: int = param(12, "inliers of a pose", minimum=4, maximum=100, dynamic=True)
    base_from_cam: tuple[float, ...] = param((), "pose of the camera, else /tf_static is asked")
    levels: tuple[int, ...] = param((4, 2, 1), "strides, coarse first", choices=(8, 4, 2, 1))
    publish_tf: bool = param(True, "whether to publish /tf")

    def __post_init__(self) -> None:
        if len(self.base_from_cam) not in (0, 7):
            raise ConfigError(f"parameter 'base_from_cam' has {len(self.base_from_cam)} values instead of 7")


@pytest.fixture(scope="module")
def context():
    with ros_context() as context:
        yield context


@pytest.fixture
def make_node(context):
    nodes = []

    def make(**overrides):
        parameters = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(Node("parameters", context=context, parameter_overrides=parameters))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_defaults(make_node):
    node = make_node()
    assert declare(node, Parameters) == Parameters()
    assert list(node.get_parameter("levels").value) == [4, 2, 1]
    assert node.get_parameter("max_error_px").value == 4.0


def test_overrides_of_every_type(make_node):
    overrides = {
        "map_path": "/maps/a",
        "provider": "cuda",
        "max_keypoints": 10_000,
        "max_error_px": 0.5,
        "base_from_cam": [0.1, 0.0, 1.5, 0.5, -0.5, 0.5, -0.5],
        "levels": [4, 1],
        "publish_tf": False,
    }
    parameters = declare(make_node(**overrides), Parameters)
    expected = {name: tuple(value) if isinstance(value, list) else value for name, value in overrides.items()}
    assert parameters == Parameters(**expected)


def test_overrides_of_the_command_line_and_file(tmp_path):
    file = tmp_path / "parameters.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    max_keypoints: 7\n    base_from_cam: [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]\n"
    )
    with ros_context("--params-file", str(file), "-p", "publish_tf:=false") as context:
        node = Node("parameters", context=context)
        parameters = declare(node, Parameters)
        node.destroy_node()
    assert (parameters.max_keypoints, parameters.publish_tf) == (7, False)
    assert parameters.base_from_cam == (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("max_keypoints", 0, "1 to 10000"),
        ("max_keypoints", 10_001, "1 to 10000"),
        ("max_keypoints", 3.0, "must be of type integer"),
        ("max_error_px", 0.4, "at least 0.5"),
        ("max_error_px", "4.0", "must be of type double"),
        ("max_error_px", True, "must be of type double"),
        ("max_error_px", math.nan, "at least 0.5"),
        ("provider", "tpu", "tpu; allowed: cpu, cuda"),
        ("provider", True, "must be of type string"),
        ("levels", [4, 3], "allowed: 8, 4, 2, 1"),
        ("levels", [4.0, 2.0], r"must be of type integer\[\]"),
        ("base_from_cam", [1.0, 2.0], "2 values instead of 7"),
        ("base_from_cam", [math.nan] * 7, "allowed: numbers"),
        ("publish_tf", "yes", "must be of type bool"),
    ],
)
def test_a_wrong_value_is_refused_by_name(make_node, name, value, reason):
    with pytest.raises(ConfigError, match=f"parameter '{name}'.*{reason}"):
        declare(make_node(**{name: value}), Parameters)


@pytest.mark.parametrize("values", [[1, 0, 0, 0, 0, 0, 1], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
def test_whole_numbers_are_taken_for_doubles(make_node, values):
    node = make_node(base_from_cam=values, max_error_px=4)
    parameters = declare(node, Parameters)
    assert parameters.base_from_cam == tuple(map(float, values))
    assert all(isinstance(value, float) for value in parameters.base_from_cam)
    assert node.get_parameter("base_from_cam").type_ == Parameter.Type.DOUBLE_ARRAY
    assert (parameters.max_error_px, node.get_parameter("max_error_px").type_) == (4.0, Parameter.Type.DOUBLE)


def test_every_parameter_has_a_value_for_tools_that_ask_for_all(make_node):
    """One that is not set makes rclpy answer a request for several with nothing."""
    node = make_node()
    declare(node, Parameters)
    for name in parameter_names(Parameters):
        assert node.get_parameter(name).type_ != Parameter.Type.NOT_SET
    assert list(node.get_parameter("base_from_cam").value) == []
    assert node.get_parameter("base_from_cam").type_ == Parameter.Type.DOUBLE_ARRAY
    assert node.describe_parameter("base_from_cam").read_only


def test_an_empty_list_is_one_of_the_declared_type(make_node):
    node = make_node(base_from_cam=[])
    assert declare(node, Parameters).base_from_cam == ()
    assert node.get_parameter("base_from_cam").type_ == Parameter.Type.DOUBLE_ARRAY


def test_unknown_names_are_warned_of_with_the_nearest(make_node, capfd):
    node = make_node(max_keypoint=5, provider="cuda", rate_hz=1.0)
    declare(node, Parameters)
    warn_of_unknown(node, known_elsewhere={"rate_hz"})
    said = capfd.readouterr().err
    assert "there is no parameter 'max_keypoint'" in said
    assert "the nearest name is 'max_keypoints'" in said
    assert "rate_hz" not in said
    assert "'provider'" not in said


class TestWhileRunning:
    def test_dynamic_ones_change_together(self, make_node):
        node, changes = make_node(), []
        declare(node, Parameters, changes.append)
        result = node.set_parameters_atomically(
            [Parameter("max_error_px", value=2.5), Parameter("min_inliers", value=20)]
        )
        assert result.successful
        assert changes == [Parameters(max_error_px=2.5, min_inliers=20)]
        node.set_parameters([Parameter("min_inliers", value=30)])
        assert changes[-1] == Parameters(max_error_px=2.5, min_inliers=30)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("max_keypoints", 5), ("max_error_px", 0.1), ("max_error_px", 3), ("max_error_px", math.nan)],
    )
    def test_what_is_read_only_or_wrong_stays(self, make_node, name, value):
        node, changes = make_node(), []
        declare(node, Parameters, changes.append)
        result = node.set_parameters_atomically([Parameter("min_inliers", value=30), Parameter(name, value=value)])
        assert not result.successful
        assert name in result.reason or "Wrong parameter type" in result.reason
        assert changes == []
        assert node.get_parameter("min_inliers").value == 12

    def test_two_tables_in_one_node(self, make_node):
        @dataclass(frozen=True)
        class More:
            rate_hz: float = param(1.0, "publication rate", minimum=0.1, dynamic=True)

        node, changes, more = make_node(), [], []
        declare(node, Parameters, changes.append)
        declare(node, More, more.append)
        node.set_parameters([Parameter("rate_hz", value=2.0)])
        assert (changes, more) == ([], [More(rate_hz=2.0)])


def test_descriptors_tell_tools_what_is_allowed(make_node):
    node = make_node()
    declare(node, Parameters)
    keypoints, error, provider = node.describe_parameters(["max_keypoints", "max_error_px", "provider"])
    assert keypoints.description == "keypoints kept per image"
    assert keypoints.read_only
    assert (keypoints.integer_range[0].from_value, keypoints.integer_range[0].to_value) == (1, 10_000)
    assert not error.read_only
    assert error.floating_point_range[0].from_value == 0.5
    assert error.floating_point_range[0].to_value > 1e300
    assert provider.additional_constraints == "cpu, cuda"


def test_table():
    lines = parameters_table(Parameters).splitlines()
    assert lines[0] == "| parameter | type | default | allowed | description |"
    assert lines[2] == "| `map_path` | string | `''` |  | folder of the map |"
    assert lines[5] == (
        "| `max_error_px` | double | `4.0` | at least 0.5 | inlier threshold (can be set while running) |"
    )
    assert lines[8] == "| `levels` | integer[] | `[4, 2, 1]` | 8, 4, 2, 1 | strides, coarse first |"
    assert lines[9] == "| `publish_tf` | bool | `true` |  | whether to publish /tf |"
    assert len(lines) == 10
