"""The SROS2 policy of the nodes, by the topics and services that they really open: ``python test/security_policy.py``.

Nodes are started in this process, with every option that opens a topic, and once with raw and once with compressed
images. They run in a namespace, which tells relative names from absolute ones.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

from point_street import PointStreet, write_point_map
from repository import REPOSITORY
from ros_helpers import ros_context, ros_nodes, spin_until

from vizloc_ros.mapping.georeference import Georeference, Wgs84
from vizloc_ros.mapping.map_writer import add_to_map
from vizloc_ros.nodes.hfnet import HfnetNode
from vizloc_ros.nodes.localizer import LocalizerNode
from vizloc_ros.nodes.pixloc_tracker import PixLocTrackerNode
from vizloc_ros.nodes.visual_map_server import VisualMapServerNode
from vizloc_ros.ros.node_options import NODES, TRACKER, VISUAL_MAP_SERVER

POLICY = REPOSITORY / "config" / "vizloc.policy.xml"
_NAMESPACE = "/vehicle"
_OPTIONS = (
    "publish_tf:=true",
    "use_odometry:=true",
    "use_imu:=true",
    "moving_mount:=true",
    "debug_image:=true",
    "publish_fix:=true",
    "use_sim_time:=true",
)
_FACTORIES = (HfnetNode, VisualMapServerNode, LocalizerNode, PixLocTrackerNode)
_KINDS = (("topic", "publish"), ("topic", "subscribe"), ("service", "reply"))
_QUESTIONS = (
    "get_publisher_names_and_types_by_node",
    "get_subscriber_names_and_types_by_node",
    "get_service_names_and_types_by_node",
)
# What a node opens where the package of its type is installed; under SROS2 it would end without the permission.
_WHERE_INSTALLED = (
    (VISUAL_MAP_SERVER, ("service", "reply"), "~/load_map_url"),  # nav2_msgs
    (TRACKER, ("topic", "publish"), "pose/geo"),  # geographic_msgs
)
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!-- What the nodes may do under SROS2: docs/security.md. Written by `python test/security_policy.py`.
     An enclave for each node, and one for vizloc_node, which runs all of them in one process. -->
"""


@dataclass
class Permissions:
    """Names that a node publishes, subscribes to and replies to, relative ones without the namespace."""

    names: dict[tuple[str, str], set[str]] = field(default_factory=lambda: {kind: set() for kind in _KINDS})

    def update(self, other: "Permissions") -> None:
        """Add those of another run."""
        for kind, names in other.names.items():
            self.names[kind] |= names


@contextmanager
def _running(map_path: Path, transport: str) -> Iterator[dict[str, Permissions]]:
    """Give the permissions of the nodes, which run meanwhile."""
    parameters = (*_OPTIONS, f"map_path:={map_path}", f"image_transport:={transport}")
    given = [argument for parameter in parameters for argument in ("-p", parameter)]
    with ros_context(*given, "-r", f"__ns:={_NAMESPACE}") as context, ros_nodes("observer") as (observer,):
        with mock.patch("rclpy.node.get_default_context", return_value=context):
            nodes = [factory() for factory in _FACTORIES]
        try:
            opened = {node.get_name(): _permissions(node, node.get_name()) for node in nodes}
            # What another process sees, when discovery is done, is what SROS2 will check.
            spin_until(lambda: {name: _permissions(observer, name) for name in opened} == opened, observer)
            yield opened
        finally:
            for node in nodes:
                node.destroy_node()


def _permissions(observer: object, node: str) -> Permissions:
    found = Permissions()
    for kind, question in zip(_KINDS, _QUESTIONS, strict=True):
        try:
            names = getattr(observer, question)(node, _NAMESPACE)
        except RuntimeError:  # the node is not discovered yet
            return found
        found.names[kind] = {_relative(name, node) for name, _ in names}
    return found


def _relative(name: str, node: str) -> str:
    own = f"{_NAMESPACE}/{node}/"
    if name.startswith(own):
        return f"~/{name.removeprefix(own)}"
    return name.removeprefix(f"{_NAMESPACE}/")


def permissions_of_the_nodes(folder: Path) -> dict[str, Permissions]:
    """Permissions of every node by its name; a map with a datum is made in the folder."""
    map_path = folder / "map"
    write_point_map(PointStreet(seed=1).views(6), map_path)
    add_to_map(
        map_path,
        [],
        lambda _: None,
        {"georeference": Georeference(datum=Wgs84(latitude=48, longitude=11, altitude=500))},
    )
    needed: dict[str, Permissions] = {name: Permissions() for name in NODES}
    for transport in ("raw", "compressed"):
        with _running(map_path, transport) as opened:
            for name, permissions in opened.items():
                needed[name].update(permissions)
    for name, kind, allowed in _WHERE_INSTALLED:
        needed[name].names[kind].add(allowed)
    return needed


def policy_text(needed: dict[str, Permissions]) -> str:
    """The policy: an enclave for each node, and one with all of them."""
    policy = ElementTree.Element("policy", version="0.2.0")
    enclaves = ElementTree.SubElement(policy, "enclaves")
    for name, nodes in {**{node: [node] for node in needed}, "vizloc_node": list(needed)}.items():
        enclave = ElementTree.SubElement(enclaves, "enclave", path=f"/vizloc/{name}")
        profiles = ElementTree.SubElement(enclave, "profiles")
        for node in nodes:
            profile = ElementTree.SubElement(profiles, "profile", ns="/", node=node)
            for (kind, rule), names in needed[node].names.items():
                group = ElementTree.SubElement(profile, f"{kind}s", {rule: "ALLOW"})
                for allowed in sorted(names):
                    ElementTree.SubElement(group, kind).text = allowed
    ElementTree.indent(policy)
    return _HEAD + ElementTree.tostring(policy, encoding="unicode") + "\n"


if __name__ == "__main__":
    scratch = Path(tempfile.mkdtemp())
    try:
        POLICY.write_text(policy_text(permissions_of_the_nodes(scratch)))
    finally:
        shutil.rmtree(scratch)
