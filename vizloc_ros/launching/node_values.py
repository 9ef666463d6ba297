"""Parameters that the launch file gives to each node: the package's, the user's over them, then its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vizloc_ros.errors import ConfigError, MapError
from vizloc_ros.launching.parameter_files import Section, Value, Values, read_sections, values_for
from vizloc_ros.ros.node_options import HFNET, RENAMED_NODES, TRACKER

LOCALIZER, MAP_SERVER = "localizer", "visual_map_server"
_DEFAULT_BASE = "base_link"
_CAMERAS = "cameras"


@dataclass(frozen=True)
class NodeValues:
    """Parameters by node, and notes for the user about them.

    Attributes:
        by_node: by the nodes' names, without namespace.
        notes: settings of the user's file that were not taken as they are, and why.
    """

    by_node: dict[str, Values]
    notes: list[str]

    def text(self, node: str, name: str) -> str:
        """Parameter of a node as text; empty if nothing is said of it."""
        value = self.by_node[node].get(name)
        return value.text if value else ""

    @property
    def use_sim_time(self) -> bool:
        """Return true if the nodes take the time from /clock."""
        return _is_true(self.by_node[MAP_SERVER].get("use_sim_time"))

    @property
    def map_frame(self) -> str:
        """Frame of the map: the parameter, or what the map says, or ``map`` where it cannot be read."""
        from vizloc_ros.mapping.map_format import read_info  # only RViz asks for it

        try:
            return self.text(MAP_SERVER, "map_frame") or read_info(Path(self.text(MAP_SERVER, "map_path"))).frame
        except MapError:
            return "map"


def node_values(
    nodes: Sequence[str],
    namespace: str,
    package_file: Path,
    user_file: Path | None,
    arguments: Mapping[str, Value],
    cameras: Sequence[str] = (),
) -> NodeValues:
    """Parameters of nodes that are started together.

    Args:
        nodes: their names, those of hfnet with the namespace of their camera if there are several.
        namespace: that of all of them, absolute.
        package_file: the parameters of the package.
        user_file: those that differ; None for none.
        arguments: what was given at the start, for all nodes.
        cameras: names of several cameras.

    Raises:
        ConfigError: a file that cannot be used, or that names cameras which the launch does not know.
    """
    package, user = read_sections(package_file), read_sections(user_file) if user_file else []
    by_node: dict[str, Values] = {}
    for node in nodes:
        full_name = f"{namespace.rstrip('/')}/{node}"
        by_node[node] = values_for(full_name, package)
        if node == LOCALIZER and TRACKER not in nodes:
            by_node[node].pop("path_length", None)  # it is the package's only because the tracker publishes path
        by_node[node] |= {**values_for(full_name, user), **arguments}
    _name_cameras(by_node, cameras)
    notes = _settle(by_node[LOCALIZER], by_node[TRACKER]) if {LOCALIZER, TRACKER} <= by_node.keys() else []
    notes = [*_former_names(user), *(_of_no_camera(user, namespace) if cameras else []), *notes]
    return NodeValues(by_node, notes)


def _name_cameras(by_node: dict[str, Values], cameras: Sequence[str]) -> None:
    """Give the cameras to the nodes that work with all of them; the tracker may have been given some of them."""
    for node in {MAP_SERVER, LOCALIZER, TRACKER} & by_node.keys():
        own = by_node[node].get(_CAMERAS)
        if node == TRACKER and own is not None and own.texts and set(own.texts) <= set(cameras):
            continue
        if cameras:
            by_node[node][_CAMERAS] = Value.of(cameras)
        elif _CAMERAS in by_node[node]:
            section = by_node[node][_CAMERAS].section
            raise ConfigError(
                f"{_CAMERAS} in section {section} of params_file: give {_CAMERAS}:=front,rear at the launch instead, "
                "so that each gets its hfnet"
            )


def _of_no_camera(sections: Sequence[Section], namespace: str) -> list[str]:
    """Notes for the user about sections for an hfnet outside the namespaces of the cameras."""
    outside = [section for section in sections if section.name.lstrip("/") == f"{namespace}/{HFNET}".lstrip("/")]
    return [
        f"section {section.name} of params_file has no effect: with several cameras, the sections are /**/{HFNET} for "
        f"all and /CAMERA/{HFNET} for one"
        for section in outside
    ]


def _former_names(sections: Sequence[Section]) -> list[str]:
    """Notes for the user about sections for nodes that have another name now."""
    former = {section.name: RENAMED_NODES.get(section.name.rpartition("/")[2]) for section in sections}
    return [
        f"section {name} of params_file has no effect: the node is now called {new}"
        for name, new in former.items()
        if new is not None
    ]


def _settle(localizer: Values, tracker: Values) -> list[str]:
    """Keep localizer and tracker from publishing the same; return notes for the user."""
    notes = []
    if _text(tracker, "path_length") != "0" and _text(localizer, "path_length") != "0":
        localizer["path_length"] = Value.of(0)
        notes.append(
            f"{LOCALIZER} publishes no path, because {TRACKER} does: for the localizer's path set path_length of "
            f"{TRACKER} to 0"
        )
    if _is_true(localizer.get("publish_tf")) and _is_true(tracker.get("publish_tf")):
        if localizer["publish_tf"].is_for(LOCALIZER):
            notes.append(f"publish_tf is true for {LOCALIZER} and for {TRACKER}: two nodes publish the same transform")
        else:
            localizer["publish_tf"] = Value.of(False)
            notes.append(
                f"publish_tf of section {tracker['publish_tf'].section} is for {TRACKER} only, so that one node "
                f"publishes the transform: for the localizer's, name {LOCALIZER} in params_file"
            )
    frames = [_text(values, "base_frame") or _DEFAULT_BASE for values in (localizer, tracker)]
    if frames[0] != frames[1]:
        notes.append(
            f"base_frame is {frames[0]} for {LOCALIZER} but {frames[1]} for {TRACKER}, which starts from the "
            "localizer's poses: give both the same, such as with base_frame:="
        )
    return notes


def _is_true(value: Value | None) -> bool:
    return value is not None and value.is_true


def _text(values: Values, name: str) -> str:
    return values[name].text if name in values else ""
