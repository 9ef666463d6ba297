"""Map server whose map changes: in place, which it names and waits for it to be whole, or for another one."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from ros_helpers import ros_context, ros_nodes, spin_until
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header, String

from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.mapping.map_format import read_info, write_info
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.nodes.visual_map_server import VisualMapServerNode
from vizloc_ros.ros.clouds import global_descriptor_to_msg
from vizloc_ros.ros.qos import FEATURES, LATCHED
from vizloc_ros.ros.served_map import SERVED, ServedMap

pytestmark = pytest.mark.ros
CUT = "observation_landmarks.npy"


class Server:
    """A server of a map, and who asks it."""

    def __init__(self, node: VisualMapServerNode, asking: Any, visual_map: VisualMap) -> None:
        self.node, self.asking, self._map = node, asking, visual_map
        self.candidates: list[PointCloud2] = []
        self.levels: list[tuple[int, str]] = []
        asking.create_subscription(PointCloud2, "candidates", self.candidates.append, FEATURES)
        asking.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._descriptors = asking.create_publisher(PointCloud2, "global_descriptor", FEATURES)
        self.number = 0
        self.spin_until(lambda: self._descriptors.get_subscription_count() > 0)

    @property
    def stamps(self) -> list[int]:
        """Stamps of the candidates [s]."""
        return [message.header.stamp.sec for message in self.candidates]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.levels += [(int.from_bytes(status.level, "little"), status.message) for status in message.status]

    def ask(self) -> None:
        self.number += 1
        header = Header(stamp=Time(sec=self.number), frame_id="camera")
        descriptor = np.asarray(self._map.global_descriptors[4])
        self._descriptors.publish(global_descriptor_to_msg(descriptor, self._map.info.feature_number, header))

    def spin_until(self, condition: Callable[[], object]) -> None:
        spin_until(condition, self.asking, self.node)

    def ask_until(self, condition: Callable[[], object]) -> None:
        for _ in range(50):
            self.ask()
            try:
                spin_until(condition, self.asking, self.node, timeout_s=1.0)
            except AssertionError:
                continue
            return
        pytest.fail("asked 50 times")


@contextmanager
def serving(folder: Path, visual_map: VisualMap, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with ros_context("-p", f"map_path:={folder}") as context, ros_nodes("camera") as (camera,):
        monkeypatch.setattr("rclpy.node.get_default_context", lambda *_: context)
        node = VisualMapServerNode()
        try:
            yield Server(node, camera, visual_map)
        finally:
            node.destroy_node()


def test_a_map_that_is_cut_off_in_place_is_named_and_not_used_until_it_is_whole(
    point_map: VisualMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(point_map.folder, tmp_path / "map"))
    with serving(folder, point_map, monkeypatch) as server:
        server.ask_until(lambda: server.candidates)
        size = (folder / CUT).stat().st_size
        os.truncate(folder / CUT, 200)
        server.candidates.clear()
        server.ask_until(lambda: any(level == 2 and f"{CUT}: has 200 bytes" in text for level, text in server.levels))
        os.truncate(folder / CUT, size)  # of the right size, but not whole
        server.ask()
        server.levels.clear()
        server.spin_until(lambda: len(server.levels) > 2)
        assert all(level == 2 for level, _ in server.levels)
        assert server.candidates == []
        with (folder / CUT).open("r+b") as file:  # as cp does
            file.write((point_map.folder / CUT).read_bytes())
        server.ask_until(lambda: server.candidates)
        server.levels.clear()
        server.spin_until(lambda: any(level == 0 for level, _ in server.levels))


def test_another_map_that_is_copied_over_it_is_not_taken(
    point_map: VisualMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other nodes have the one before."""
    folder = Path(shutil.copytree(point_map.folder, tmp_path / "map"))
    with serving(folder, point_map, monkeypatch) as server:
        server.ask_until(lambda: server.candidates)
        os.truncate(folder / CUT, 200)
        server.ask_until(lambda: any(level == 2 for level, _ in server.levels))
        (folder / CUT).write_bytes((point_map.folder / CUT).read_bytes())
        write_info(folder, read_info(folder).model_copy(update={"dataset": "another"}))
        server.candidates.clear()
        server.levels.clear()
        server.ask()
        server.spin_until(lambda: len(server.levels) > 3)
        assert server.candidates == []
        assert all(level == 2 for level, _ in server.levels)


def test_candidates_at_work_when_the_map_changes_are_not_sent(
    point_map: VisualMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the announcement can name the last image that the map before has answered."""
    other = Path(shutil.copytree(point_map.folder, tmp_path / "other"))
    write_info(other, read_info(other).model_copy(update={"dataset": "other"}))
    find, meanwhile = PlaceFinder.find, [other]

    def find_slowly(self: PlaceFinder, *arguments: Any, **named: Any) -> Any:
        found = find(self, *arguments, **named)
        if server.number == 2 and meanwhile:
            server.node.change_map(meanwhile.pop())
        return found

    with serving(point_map.folder, point_map, monkeypatch) as server:
        monkeypatch.setattr(PlaceFinder, "find", find_slowly)
        served: list[ServedMap] = []
        server.asking.create_subscription(
            String, SERVED, lambda msg: served.append(ServedMap.model_validate_json(msg.data)), LATCHED
        )
        for number in (1, 2, 3):
            server.ask()
            if number == 2:
                server.spin_until(lambda: not meanwhile and served[-1].path == str(other))
            else:
                server.spin_until(lambda number=number: server.candidates and server.stamps[-1] == number)
        assert server.stamps == [1, 3]
        assert [(one.path, one.since_ns) for one in served] == [(str(point_map.folder), -1), (str(other), 10**9)]
        assert served[0].number != served[1].number
