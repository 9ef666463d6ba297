"""Nodes of a vehicle with two cameras, as processes: an hfnet each, one localizer, one map server."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from pixloc_helpers import LONG_SIDE, with_references
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from ros_domains import own_domain
from ros_helpers import STRICT_WARNINGS, call_service, ros_nodes, spin_until
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet, open_synthetic
from vizloc_ros.datasets.synthetic.lens_covers import covered
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.covariance import max_position_std
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.nodes.tracker_input import LATE
from vizloc_ros.replay.processes import NodeProcesses
from vizloc_ros.replay.recorder import Recorder
from vizloc_ros.ros.extrinsics import tf_message_type
from vizloc_ros.ros.messages import header_of, rectified_camera_to_msg, stamp_to_ns, transform_to_msg
from vizloc_ros.ros.node_options import HFNET, LOCALIZER, TRACKER, VISUAL_MAP_SERVER
from vizloc_ros.ros.qos import POSE, TF_STATIC

pytestmark = pytest.mark.ros
FRONT, REAR = CAMERAS = ("front", "rear")
EXECUTABLES = (f"{FRONT}/{HFNET}", f"{REAR}/{HFNET}", VISUAL_MAP_SERVER, LOCALIZER)
WITHOUT = "no features and candidates in time"


@pytest.fixture(scope="module")
def rig_street() -> SyntheticStreet:
    return open_synthetic("length=10&width=400&height=250&cameras=front,rear")


@pytest.fixture(scope="module")
def rig_map(rig_street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rig") / "map"
    build_map(rig_street.records("map"), open_extractor("rootsift"), folder, dataset=rig_street.name)
    return folder


def instant(street: SyntheticStreet, index: int) -> dict[str, Record]:
    records = street.records("query")[2 * index : 2 * index + 2]
    return {record.mounting.camera: record for record in records}


def black(record: Record) -> np.ndarray:
    return np.zeros_like(record.read_image())


class RigBench:
    """Test bench of the nodes of a rig: it sends images and reads poses and diagnostics."""

    def __init__(self, node: Any, recorder: Recorder, processes: NodeProcesses) -> None:
        self.node, self.recorder, self.processes = node, recorder, processes
        self.stamp_ns = 1_000_000_000_000
        self._images = {name: node.create_publisher(Image, f"{name}/image", POSE) for name in CAMERAS}
        self._infos = {name: node.create_publisher(CameraInfo, f"{name}/camera_info", POSE) for name in CAMERAS}
        self._tf = node.create_publisher(tf_message_type(), "/tf_static", TF_STATIC)
        self.covariances: dict[int, np.ndarray] = {}
        node.create_subscription(PoseWithCovarianceStamped, "localization/pose", self._on_pose, POSE)

    def _on_pose(self, msg: PoseWithCovarianceStamped) -> None:
        self.covariances[stamp_to_ns(msg.header.stamp)] = np.array(msg.pose.covariance).reshape(6, 6)

    def spin_until(self, condition: Any, timeout_s: float = 30.0) -> None:
        def alive_and_done() -> bool:
            self.processes.require_alive()
            return bool(condition())

        spin_until(alive_and_done, self.node, self.recorder, timeout_s=timeout_s)

    def mount(self, records: dict[str, Record], names: tuple[str, ...] = CAMERAS) -> None:
        transforms = []
        for name in names:
            transform = TransformStamped(header=header_of(0, "base_link"), child_frame_id=f"{name}_optical_frame")
            transform.transform = transform_to_msg(records[name].mounting.base_from_cam)
            transforms.append(transform)
        self._tf.publish(tf_message_type()(transforms=transforms))

    def send(self, records: dict[str, Record], apart_ns: int = 0, **pixels: np.ndarray) -> int:
        """Publish the images of some cameras, the rear one ``apart_ns`` later; return the first stamp."""
        self.stamp_ns += 100_000_000
        grays = {name: np.ascontiguousarray(pixels.get(name, records[name].read_image())) for name in records}
        for name, record in records.items():
            stamp_ns = self.stamp_ns + (apart_ns if name == REAR else 0)
            header = header_of(stamp_ns, f"{name}_optical_frame")
            self._infos[name].publish(rectified_camera_to_msg(record.camera, header))
            gray = grays[name]
            msg = Image(header=header, height=gray.shape[0], width=gray.shape[1], encoding="mono8", step=gray.shape[1])
            msg.data.frombytes(gray.tobytes())
            self._images[name].publish(msg)
        return self.stamp_ns

    def pose_of(self, records: dict[str, Record], **arguments: Any) -> int:
        """Send images until a pose comes; return its stamp."""
        stamps: list[int] = []
        for _ in range(6):  # an image may be lost while discovery is still under way
            stamps.append(self.send(records, **arguments))
            try:
                self.spin_until(lambda: set(stamps) & self.recorder.poses.keys(), timeout_s=6.0)
            except AssertionError:
                continue
            return next(stamp for stamp in stamps if stamp in self.recorder.poses)
        raise AssertionError(f"no pose; diagnostics: {self.recorder.messages[-5:]}")

    def call(self, kind: Any, name: str, request: Any) -> Any:
        return call_service(self.node, kind, name, request, partial(self.spin_until, timeout_s=60.0))

    def value(self, key: str, node: str = LOCALIZER) -> str:
        status = self.recorder.statuses.get(node)
        return next((pair.value for pair in status.values if pair.key == key), "") if status else ""

    def expect_message(self, node: str, *words: str) -> None:
        def said() -> bool:
            return any(name == node and all(w in text for w in words) for name, _, text in self.recorder.messages)

        try:
            self.spin_until(said, timeout_s=10.0)
        except AssertionError:
            raise AssertionError(f"{node} did not say {words}: {self.recorder.messages[-6:]}") from None

    def expect_by(self, *cameras: str) -> None:
        self.spin_until(lambda: self.value("localized_by") == ", ".join(cameras))


def error(found: RigBench, stamp: int, records: dict[str, Record]) -> tuple[float, float]:
    """Error of a pose of the base [m, deg]."""
    record = next(iter(records.values()))
    truth = record.world_from_cam * record.mounting.base_from_cam.inverse()
    return pose_error(found.recorder.poses[stamp].map_from_base, truth)


@contextmanager
def rig_bench(
    map_path: Path, log: Path, mounts: dict[str, Record], executables: tuple[str, ...] = EXECUTABLES
) -> Iterator[RigBench]:
    """Context with the running nodes of both cameras, with their tracker if it is to be started."""
    common = {"map_path": str(map_path)}
    of_images = {**common, "max_image_age": 0.0, "withhold_frozen": False}
    parameters: dict[str, dict[str, Any]] = {
        HFNET: {**of_images, "tracking_period": 1.0},
        VISUAL_MAP_SERVER: {**common, "cameras": CAMERAS},
        LOCALIZER: {"cameras": CAMERAS, "camera_wait": 0.3},
        TRACKER: {**of_images, "cameras": CAMERAS, "long_side": LONG_SIDE, "threads": 1},
    }
    with own_domain() as domain, ros_nodes("bench", domain_id=domain) as [node]:
        environment = {"ROS_DOMAIN_ID": str(domain), "PYTHONWARNINGS": STRICT_WARNINGS}
        with NodeProcesses(parameters, {}, executables, log=log, environment=environment) as running:
            recorder = Recorder(context=node.context)
            made = RigBench(node, recorder, running)
            made.mount(mounts, tuple(mounts))
            try:
                yield made
            finally:
                recorder.destroy_node()


@pytest.fixture(scope="module")
def running(rig_map: Path, rig_street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigBench]:
    """The nodes of both cameras, for all tests of this module."""
    with rig_bench(rig_map, tmp_path_factory.mktemp("rig_nodes") / "log", instant(rig_street, 0)) as made:
        yield made


def test_images_of_both_cameras_give_one_pose_of_the_vehicle(running: RigBench, rig_street: SyntheticStreet) -> None:
    records = instant(rig_street, 8)
    for _ in range(20):  # the first images may be of one camera, while discovery is still under way
        stamp = running.pose_of(records)
        with suppress(AssertionError):
            running.spin_until(
                lambda stamp=stamp: stamp in running.covariances and running.value("localized_by") == "front, rear",
                timeout_s=2.0,
            )
            break
    running.expect_by(FRONT, REAR)
    distance, angle = error(running, stamp, records)
    assert distance < 0.05
    assert angle < 0.3
    assert 0 < max_position_std(running.covariances[stamp]) < 0.1


def test_stamps_within_the_tolerance_are_of_one_instant(running: RigBench, rig_street: SyntheticStreet) -> None:
    running.pose_of(instant(rig_street, 9), apart_ns=8_000_000)
    running.expect_by(FRONT, REAR)


def test_a_camera_that_is_covered_or_missing_does_not_stop_the_other(
    running: RigBench, rig_street: SyntheticStreet
) -> None:
    records = instant(rig_street, 10)
    running.recorder.messages.clear()
    stamp = running.pose_of(records, front=black(records[FRONT]))  # hfnet refuses it
    assert error(running, stamp, records)[0] < 0.1
    running.expect_message(LOCALIZER, f"without {FRONT}: {WITHOUT}")
    running.expect_message(f"{FRONT}/{HFNET}", "the image is black")
    running.expect_by(REAR)
    assert running.value("instants_without_front") not in ("", "0")
    stamp = running.pose_of({FRONT: records[FRONT]})  # the other sends nothing
    assert error(running, stamp, records)[0] < 0.1
    running.expect_message(LOCALIZER, f"without {REAR}: {WITHOUT}")
    running.expect_by(FRONT)
    running.pose_of(records)
    running.expect_by(FRONT, REAR)


def test_images_of_different_instants_are_not_mixed(running: RigBench, rig_street: SyntheticStreet) -> None:
    here, there = instant(rig_street, 4), instant(rig_street, 14)
    stamp = running.send({FRONT: here[FRONT], REAR: there[REAR]}, apart_ns=50_000_000)
    later = stamp + 50_000_000
    running.spin_until(lambda: later in running.recorder.poses)  # the first may be dropped: the newest counts
    assert error(running, later, {REAR: there[REAR]})[0] < 0.1
    if stamp in running.recorder.poses:
        assert error(running, stamp, {FRONT: here[FRONT]})[0] < 0.1
    running.expect_by(REAR)


def test_cameras_that_contradict_each_other_give_no_pose(running: RigBench, rig_street: SyntheticStreet) -> None:
    """With one stamp, images from 5 m apart are those of a wrong mount."""
    here, there = instant(rig_street, 4), instant(rig_street, 14)
    running.recorder.messages.clear()
    stamps = [running.send({FRONT: here[FRONT], REAR: there[REAR]}) for _ in range(3)]
    running.expect_message(LOCALIZER, "not localized: ambiguous: ", FRONT, REAR)
    assert not set(stamps) & running.recorder.poses.keys()


def test_all_hfnets_follow_another_map(rig_map: Path, rig_street: SyntheticStreet, tmp_path: Path) -> None:
    """The other map has features of another kind: an hfnet that does not follow is refused by the map server."""
    other = tmp_path / "other"
    extractor = open_extractor("rootsift", {"words": 16, "max_keypoints": 1500})
    build_map(rig_street.records("map"), extractor, other, dataset=rig_street.name)
    records = instant(rig_street, 8)
    with rig_bench(rig_map, tmp_path / "log", records) as made:
        made.pose_of(records)
        parameter = Parameter("map_path", value=str(other)).to_parameter_msg()
        request = SetParametersAtomically.Request(parameters=[parameter])
        assert made.call(
            SetParametersAtomically, f"{VISUAL_MAP_SERVER}/set_parameters_atomically", request
        ).result.successful
        answer = made.call(Trigger, f"{VISUAL_MAP_SERVER}/load_map", Trigger.Request())
        assert answer.success, answer.message
        made.recorder.poses.clear()
        for _ in range(10):
            stamp = made.pose_of(records)
            with suppress(AssertionError):
                made.spin_until(lambda: made.value("localized_by") == "front, rear", timeout_s=2.0)
                break
        assert error(made, stamp, records)[0] < 0.1
        made.expect_by(FRONT, REAR)


def test_a_camera_without_a_transform_is_named_and_left_out(
    rig_map: Path, rig_street: SyntheticStreet, tmp_path: Path
) -> None:
    records = instant(rig_street, 8)
    with rig_bench(rig_map, tmp_path / "log", {REAR: records[REAR]}) as made:
        reason = "without front: no transform base_link -> front_optical_frame on /tf_static"

        def said() -> bool:
            return any(name == LOCALIZER and reason in text for name, _, text in made.recorder.messages)

        for _ in range(10):  # while discovery is under way, an image of the front camera may be lost
            stamp = made.pose_of(records)
            assert error(made, stamp, records)[0] < 0.1
            with suppress(AssertionError):
                made.spin_until(said, timeout_s=2.0)
                break
        assert said(), made.recorder.messages


def tracks(made: RigBench) -> bool:
    return bool(made.recorder.states) and made.recorder.states[-1][1] == "TRACKING"


def begin_to_track(made: RigBench, records: dict[str, Record]) -> None:
    """Send the images of an instant until the tracker tracks."""
    for _ in range(100):
        if tracks(made):
            return
        made.send(records)
        with suppress(AssertionError):
            made.spin_until(lambda: tracks(made), timeout_s=0.2)
    assert tracks(made), made.recorder.messages[-5:]


def track(made: RigBench, instants: list[dict[str, Record]], period_s: float = 0.4, **pixels: Any) -> list[int]:
    """Send the images of instants one after the other, some with other pixels; return the stamps that were tracked."""
    stamps = {}
    for records in instants:
        changed = {name: change(records[name]) for name, change in pixels.items() if name in records}
        stamps[made.send(records, **changed)] = records
        with suppress(AssertionError):
            made.spin_until(lambda: False, timeout_s=period_s)
    found = [stamp for stamp in stamps if stamp in made.recorder.tracked]
    for stamp in found:
        record = next(iter(stamps[stamp].values()))
        truth = record.world_from_cam * record.mounting.base_from_cam.inverse()
        assert pose_error(made.recorder.tracked[stamp].map_from_base, truth)[0] < 0.25
    return found


def mostly_covered(record: Record) -> np.ndarray:
    return covered(record.read_image(), "most", 0, 0.0)


@pytest.fixture(scope="module")
def tracked_rig_map(rig_map: Path, rig_street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_references(rig_map, rig_street.records("map"), tmp_path_factory.mktemp("tracked_rig") / "map")


@pytest.mark.alone
def test_the_tracker_follows_by_both_cameras_and_both_rest_meanwhile(
    tracked_rig_map: Path, rig_street: SyntheticStreet, tmp_path: Path
) -> None:
    with rig_bench(tracked_rig_map, tmp_path / "log", instant(rig_street, 0), (*EXECUTABLES, TRACKER)) as made:
        begin_to_track(made, instant(rig_street, 2))
        assert len(track(made, [instant(rig_street, index) for index in range(2, 16)])) >= 7
        made.spin_until(lambda: made.value("tracked_by", TRACKER) == "front, rear")
        for name in CAMERAS:
            assert made.recorder.count(f"{name}/{HFNET}", "throttled") > 0


@pytest.mark.alone
def test_the_tracker_tracks_through_a_camera_that_is_covered_or_missing(
    tracked_rig_map: Path, rig_street: SyntheticStreet, tmp_path: Path
) -> None:
    with rig_bench(tracked_rig_map, tmp_path / "log", instant(rig_street, 0), (*EXECUTABLES, TRACKER)) as made:
        begin_to_track(made, instant(rig_street, 2))
        track(made, [instant(rig_street, index) for index in range(2, 5)])
        made.recorder.messages.clear()
        assert len(track(made, [instant(rig_street, index) for index in range(5, 9)], front=black)) >= 3
        made.expect_message(TRACKER, f"TRACKING; without {FRONT}: the image is black")
        made.spin_until(lambda: made.value("tracked_by", TRACKER) == REAR)
        assert len(track(made, [instant(rig_street, index) for index in range(9, 12)], front=mostly_covered)) >= 2
        alone = [{FRONT: instant(rig_street, index)[FRONT]} for index in range(12, 16)]
        assert len(track(made, alone)) >= 3
        made.expect_message(TRACKER, f"without {REAR}: {LATE}")
        made.spin_until(lambda: int(made.value("instants_without_rear", TRACKER)) >= 3, timeout_s=10.0)  # once a second
        assert tracks(made)
        assert made.recorder.count(TRACKER, "became_lost") == 0


@pytest.mark.parametrize(
    ("node", "parameters", "words"),
    [
        (TRACKER, {"cameras": ["front", "front"]}, ("parameter", "cameras", "each camera must come once")),
        (LOCALIZER, {"cameras": ["front", "front"]}, ("parameter", "cameras", "each camera must come once")),
        (LOCALIZER, {"cameras": ["/front"]}, ("parameter", "cameras", "'/front'", "namespaces such as front")),
        (LOCALIZER, {"cameras": ["front"], "base_from_cam": [0.0] * 6 + [1.0]}, ("base_from_cam", "/tf_static")),
        (VISUAL_MAP_SERVER, {"cameras": ["a b"]}, ("parameter", "cameras", "'a b'")),
        (LOCALIZER, {"camera_tolerance": -1.0}, ("camera_tolerance",)),
    ],
)
def test_wrong_parameters_are_named(
    node: str, parameters: dict[str, Any], words: tuple[str, ...], rig_map: Path, tmp_path: Path
) -> None:
    given = {node: {**({"map_path": str(rig_map)} if node != LOCALIZER else {}), **parameters}}
    with own_domain() as domain:
        environment = {"ROS_DOMAIN_ID": str(domain)}
        with NodeProcesses(given, {}, (node,), log=tmp_path / "log", environment=environment) as processes:
            assert processes.wait(node, 30.0) == 1
    log = (tmp_path / "log").read_text()
    assert all(word in log for word in words), log
    assert "Traceback" not in log
