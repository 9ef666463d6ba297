"""Service ``~/load_map``: the nodes follow the map server to another map, and no pose of the one before comes later."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from moved_records import moved
from node_helpers import COMPOSED, Bench, bench
from pixloc_helpers import LONG_SIDE, with_references
from pycolmap import Rigid3d, Rotation3d
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.nodes.load_map import folder_of_url
from vizloc_ros.ros.messages import header_of, pose_with_covariance_to_msg, stamp_to_ns
from vizloc_ros.ros.node_options import HFNET, NODES, TRACKER, VISUAL_MAP_SERVER
from vizloc_ros.ros.qos import LATCHED, POSE
from vizloc_ros.ros.served_map import SERVED, ServedMap

pytestmark = [pytest.mark.ros, pytest.mark.alone]
OFFSET = np.array([100.0, 0.0, 0.0])  # of the other floor, which looks the same
GIVEN = {TRACKER: {"long_side": LONG_SIDE, "threads": 1}, HFNET: {"tracking_period": 0.2}}
LOAD = f"{VISUAL_MAP_SERVER}/load_map"


@pytest.fixture(scope="module")
def upper_floor(street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Map of the same street elsewhere, with words and features of its own."""
    folder, records = tmp_path_factory.mktemp("floor"), moved(street.records("map"), OFFSET)
    extractor = open_extractor("rootsift", {"words": 16})
    build_map(records, extractor, folder / "plain", dataset="upper floor")
    return Path(with_references(folder / "plain", records, folder / "map"))


class Poses:
    """Poses that came, with the time at which the node has published each [ns]."""

    def __init__(self, made: Bench) -> None:
        self.all: list[tuple[str, int, int, float]] = []  # topic, time, stamp, x
        for topic in ("pose", "localization/pose"):
            made.node.create_subscription(PoseWithCovarianceStamped, topic, self._receiver(topic), POSE)

    def _receiver(self, topic: str) -> Any:
        def receive(msg: PoseWithCovarianceStamped, info: dict[str, int]) -> None:
            self.all.append((topic, info["source_timestamp"], stamp_to_ns(msg.header.stamp), msg.pose.pose.position.x))

        return receive

    def since(self, time_ns: int, topic: str = "pose") -> list[float]:
        return [x for name, at, _, x in self.all if name == topic and at >= time_ns]


def send(made: Bench, record: Record) -> None:
    """Send an image, a tenth of a second before the next one."""
    begun = time.monotonic()
    made.send_camera_info(record)
    made.send_image(record.read_image())
    made.spin_until(lambda: time.monotonic() - begun >= 0.1)


def track(made: Bench, record: Record, poses: Poses, since_ns: int) -> None:
    for _ in range(100):
        if len(poses.since(since_ns)) > 2:
            return
        send(made, record)
    raise AssertionError(f"not tracking; {made.recorder.messages[-6:]}")


def change_map(made: Bench, folder: Path, record: Record) -> Any:
    """Set ``map_path`` and call the service, while images go on."""
    assert made.set_parameters(VISUAL_MAP_SERVER, map_path=str(folder)).successful
    return made.call(Trigger, LOAD, meanwhile=lambda: send(made, record))


@pytest.fixture(scope="module", params=[NODES, COMPOSED], ids=["processes", "one process"])
def running(
    request: pytest.FixtureRequest, tracked_map: VisualMap, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    log = tmp_path_factory.mktemp("log") / "log"
    with bench(tracked_map.folder, log, request.param, tracking=True, **GIVEN) as made:
        yield made


def test_after_the_answer_no_pose_is_of_the_map_before(
    running: Bench, tracked_map: VisualMap, upper_floor: Path, street: SyntheticStreet
) -> None:
    """An elevator, up and down: the floors look alike, and images come all the time."""
    record, poses = street.records("query")[3], Poses(running)
    assert record.world_from_cam is not None
    initial = running.node.create_publisher(PoseWithCovarianceStamped, "initialpose", POSE)
    running.spin_until(lambda: initial.get_subscription_count() > 0)
    track(running, record, poses, 0)
    for folder, x in ((upper_floor, 100.0), (tracked_map.folder, 0.0), (upper_floor, 100.0), (tracked_map.folder, 0.0)):
        answer = change_map(running, folder, record)
        answered_ns = time.time_ns()
        assert answer.success, answer.message
        assert f"map {folder}: " in answer.message
        pose = Rigid3d(Rotation3d(), np.array([x, 0.0, 0.0])) * record.world_from_cam
        initial.publish(pose_with_covariance_to_msg(pose, np.eye(6), header_of(1, "map")))
        track(running, record, poses, answered_ns)
        for topic in ("pose", "localization/pose"):
            found = poses.since(answered_ns, topic)
            assert found or topic != "pose"
            assert np.abs(np.array(found) - pose.translation[0]).max(initial=0) < 2.0, topic


def test_a_bad_map_is_refused_and_the_one_before_is_kept(
    running: Bench, tracked_map: VisualMap, street: SyntheticStreet, tmp_path: Path
) -> None:
    record, poses = street.records("query")[3], Poses(running)
    broken = Path(shutil.copytree(tracked_map.folder, tmp_path / "broken"))
    numbers = broken / "landmark_positions.npy"
    content = numbers.read_bytes()
    numbers.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for folder, reason in ((broken, "landmark_positions.npy"), (tmp_path / "none", "there is no such map")):
        answer = change_map(running, folder, record)
        assert not answer.success
        assert reason in answer.message
        assert answer.message.endswith("the map before is kept")
    track(running, record, poses, time.time_ns())
    assert running.set_parameters(VISUAL_MAP_SERVER, map_path=str(tracked_map.folder)).successful


def test_a_map_is_loaded_by_its_url_as_of_nav2_s_map_server(
    running: Bench, tracked_map: VisualMap, upper_floor: Path, street_map: VisualMap, street: SyntheticStreet
) -> None:
    """Needs nav2_msgs, which has no wheel; but a package of its LoadMap.srv alone can be generated."""
    LoadMap = pytest.importorskip("nav2_msgs.srv", reason="nav2_msgs has no wheel: docs/lifecycle.md").LoadMap
    record, poses = street.records("query")[3], Poses(running)

    def load(url: str) -> int:
        request = LoadMap.Request(map_url=url)
        return int(running.call(LoadMap, f"{LOAD}_url", request, lambda: send(running, record)).result)

    def map_path() -> object:
        return running.parameters(VISUAL_MAP_SERVER)["map_path"]

    codes = LoadMap.Response
    assert load(upper_floor.as_uri()) == codes.RESULT_SUCCESS
    answered_ns = time.time_ns()
    assert map_path() == str(upper_floor)
    track(running, record, poses, answered_ns)
    assert min(poses.since(answered_ns)) > 50
    assert load("package://maps/floor2") == load(f"{upper_floor}/none") == codes.RESULT_MAP_DOES_NOT_EXIST
    assert load(str(upper_floor.parent)) == codes.RESULT_INVALID_MAP_DATA
    assert map_path() == str(upper_floor)
    assert load(str(street_map.folder)) == codes.RESULT_UNDEFINED_FAILURE  # without references for the tracker
    assert load(str(tracked_map.folder)) == codes.RESULT_SUCCESS
    track(running, record, poses, time.time_ns())


def test_a_folder_by_its_url(tmp_path: Path) -> None:
    (tmp_path / "a map").mkdir()
    uri = (tmp_path / "a map").as_uri()
    assert folder_of_url(uri) == folder_of_url(uri.replace("file://", "file://localhost")) == tmp_path / "a map"
    assert folder_of_url(str(tmp_path / "a map")) == tmp_path / "a map"
    others = (f"{uri}/no", "package://maps/one", "file://robot2/maps", "http://[x", "x" * 10_000, "a\0b")
    assert [folder_of_url(other) for other in others] == [None] * len(others)


def test_a_map_that_the_tracker_cannot_use_is_answered_by_its_name(
    running: Bench, tracked_map: VisualMap, street_map: VisualMap, street: SyntheticStreet
) -> None:
    record, poses = street.records("query")[3], Poses(running)
    answer = change_map(running, street_map.folder, record)
    assert not answer.success
    assert f"/{TRACKER}: {street_map.folder}: has no reference features" in answer.message
    running.forget()
    running.expect_pose(record)  # of the localizer
    assert change_map(running, tracked_map.folder, record).success
    track(running, record, poses, time.time_ns())


def test_what_was_wrong_with_the_map_before_is_not_said_of_the_next(
    running: Bench, tracked_map: VisualMap, street_map: VisualMap, street: SyntheticStreet
) -> None:
    """The tracker may still be trying the map before, which it cannot use, when the next one is there."""
    record = street.records("query")[3]
    for _ in range(5):
        assert not change_map(running, street_map.folder, record).success
        answer = change_map(running, tracked_map.folder, record)
        assert answer.success, answer.message


def test_a_second_server_is_not_followed(
    running: Bench, tracked_map: VisualMap, street: SyntheticStreet, tmp_path: Path
) -> None:
    """Its map is not there, so whoever followed it would have none."""
    record, poses, node = street.records("query")[3], Poses(running), running.node
    second = node.create_publisher(String, SERVED, LATCHED)
    running.spin_until(lambda: node.count_publishers(SERVED) == 2 and second.get_subscription_count() == 3)
    running.forget()
    second.publish(String(data=ServedMap(number=1, path=str(tmp_path / "none")).model_dump_json()))
    track(running, record, poses, time.time_ns())
    node.destroy_publisher(second)
    assert not [text for _, _, text in running.recorder.messages if "none" in text]


def test_a_node_that_starts_with_another_map_takes_that_of_the_server(
    tracked_map: VisualMap, upper_floor: Path, street: SyntheticStreet, tmp_path: Path
) -> None:
    """In whichever order they start; hfnet and the tracker alone have another ``map_path``."""
    record = street.records("query")[3]
    given = {node: {**GIVEN[node], "map_path": str(tmp_path / "none")} for node in (HFNET, TRACKER)}
    given[VISUAL_MAP_SERVER] = {"map_path": str(upper_floor)}
    with bench(tracked_map.folder, tmp_path / "log", COMPOSED, tracking=True, **given) as made:
        poses = Poses(made)
        track(made, record, poses, 0)
        assert min(poses.since(0)) > 50


def test_a_server_that_is_not_active_says_so(tracked_map: VisualMap, tmp_path: Path) -> None:
    with bench(tracked_map.folder, tmp_path / "log", (VISUAL_MAP_SERVER,), managed=True) as made:
        answer = made.call(Trigger, LOAD)
        assert (answer.success, "not active" in answer.message) == (False, True)
