"""Examples in config for what runs beside the nodes: their topics, frames, parameters and names are those of the nodes.

The policy of SROS2 says what each node publishes and hears: it is written from running nodes.
"""

import configparser
import json
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from repository import REPOSITORY

from vizloc_ros.launching.node_values import node_values
from vizloc_ros.ros.node_options import NODE_OPTIONS, NODES, TRACKER, TrackerNodeOptions

CONFIG = REPOSITORY / "config"
PAGE = (REPOSITORY / "docs" / "vehicle.md").read_text()
STANDARD = {"/diagnostics"}


def parameters(file: str, node: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIG / file).read_text())[node]["ros__parameters"]  # type: ignore[no-any-return]


def topics(node: str, rule: str) -> set[str]:
    """Topics that a node publishes, or subscribes to."""
    policy = ElementTree.parse(CONFIG / "vizloc.policy.xml")
    enclave = policy.find(f".//enclave[@path='/vizloc/{node}']")
    assert enclave is not None
    return {topic.text or "" for topic in enclave.iterfind(f".//topics[@{rule}]/topic")}


def test_the_page_names_every_example() -> None:
    assert set(re.findall(r"\(\.\./config/(\S+)\)", PAGE)) == {
        "vehicle.yaml",
        "ekf.yaml",
        "nav2.yaml",
        "vizloc.service",
        "diagnostic_aggregator.yaml",
        "foxglove.json",
    }


def test_the_nodes_take_the_parameters_of_the_vehicle() -> None:
    values = node_values(NODES, "/", CONFIG / "vizloc.yaml", CONFIG / "vehicle.yaml", {})
    assert values.notes == []
    section = parameters("vehicle.yaml", f"/**/{TRACKER}")
    options = TrackerNodeOptions(map_path="map", **section)
    assert section.items() <= dict(options).items()
    assert options.use_odometry
    assert options.publish_tf


def test_the_filter_fuses_each_quantity_once_in_the_nodes_frames() -> None:
    given = parameters("ekf.yaml", "ekf_filter_node")
    assert given["pose0"] in topics(TRACKER, "publish")
    assert given["odom0"] in topics(TRACKER, "subscribe")
    assert given["world_frame"] == given["map_frame"] == "map"
    options = TrackerNodeOptions(map_path="map")
    assert given["base_link_frame"] == options.base_frame
    assert given["publish_tf"]
    assert not options.publish_tf
    of_pose, of_wheels = given["pose0_config"], given["odom0_config"]
    assert of_pose == [True] * 6 + [False] * 9
    assert len(of_wheels) == 15
    assert not any(both for both in zip(of_pose, of_wheels, strict=True) if all(both))


def test_the_lifecycle_manager_has_all_nodes_and_the_map_server_first() -> None:
    """The others follow the map that it announces."""
    names = parameters("nav2.yaml", "lifecycle_manager_localization")["node_names"]
    assert set(names) == {*NODES, "map_server"}
    assert names.index("visual_map_server") < names.index("hfnet")
    assert "amcl" not in (CONFIG / "nav2.yaml").read_text().replace("No amcl", "")


def test_the_unit_stops_the_launch_as_ctrl_c_does_and_gives_arguments_that_there_are() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((CONFIG / "vizloc.service").read_text())
    service = unit["Service"]
    assert (service["KillSignal"], service["KillMode"]) == ("SIGINT", "mixed")
    command = shlex.split(service["ExecStart"])[-1]
    launch = (REPOSITORY / "launch" / "vizloc.launch.py").read_text()
    arguments = re.findall(r"(\w+):=", command)
    assert "map_path" in arguments
    assert all(f'"{argument}"' in launch for argument in arguments)


def test_the_aggregator_groups_all_nodes_by_their_names() -> None:
    group = parameters("diagnostic_aggregator.yaml", "analyzers")["localization"]
    assert set(group["startswith"]) == set(NODE_OPTIONS)
    assert not any(a.startswith(b) for a, b in pairwise(sorted(NODES)))


def shown(value: Any) -> Iterator[str]:
    """Topics in a part of Foxglove's layout: keys and values that begin with a slash, without the path to a field."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from shown(key)
            yield from shown(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from shown(inner)
    elif isinstance(value, str) and value.startswith("/"):
        yield value


def panels(layout: Any) -> Iterator[str]:
    if isinstance(layout, str):
        yield layout
    else:
        yield from panels(layout["first"])
        yield from panels(layout["second"])


def test_foxglove_shows_topics_that_the_nodes_have_in_panels_that_are_laid_out() -> None:
    content = json.loads((CONFIG / "foxglove.json").read_text())
    assert sorted(panels(content["layout"])) == sorted(content["configById"])
    there_are = {f"/{topic}" for node in NODES for rule in ("publish", "subscribe") for topic in topics(node, rule)}
    named = {text.partition(".")[0] for text in shown(content["configById"])}
    assert named <= there_are | STANDARD
    assert {"/pose", "/map/points", "/tracker/state", "/initialpose", "/diagnostics"} <= named


@pytest.mark.parametrize("argument", sorted(set(re.findall(r"(\w+):=\S", PAGE)) - {"__node"}))
def test_the_page_gives_arguments_that_there_are(argument: str) -> None:
    launch_files = (REPOSITORY / "launch" / f"{name}.launch.py" for name in ("vizloc", "replay"))
    assert any(f'"{argument}"' in file.read_text() for file in launch_files)
