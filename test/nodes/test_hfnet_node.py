"""Feature node with HF-Net: its output, its device, and weights that are not the map's."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_helpers import Bench, bench
from repository import REPOSITORY
from ros_helpers import ros_nodes, spin_until
from sensor_msgs.msg import CameraInfo, PointCloud2
from std_msgs.msg import String

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.features.device import Device, available
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.hfnet.runtime import HfNetExtractor
from vizloc_ros.features.hfnet.weights import DEFAULT_WEIGHTS
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.map_format import ExtractorInfo, read_info, write_info
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.nodes.hfnet import HfnetNode
from vizloc_ros.replay.recorder import Recorder
from vizloc_ros.ros.clouds import features_from_msg, global_descriptor_from_msg
from vizloc_ros.ros.messages import stamp_to_ns
from vizloc_ros.ros.qos import FEATURES, STATE

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Function that writes files of small networks with random weights."""
    reason = "PyTorch and onnx are needed to export a network to test with: pip install 'vizloc_ros[train]'"
    pytest.importorskip("torch", reason=reason)
    pytest.importorskip("onnx", reason=reason)
    from hfnet_helpers import exported, small_network

    def export(seed: int = 0, size: tuple[int, int] | None = None) -> Path:
        return exported(tmp_path_factory.mktemp("weights"), small_network(seed), size=size)

    return export


@pytest.fixture(scope="module")
def weights(export: Callable[..., Path]) -> Path:
    return export()


@pytest.fixture(scope="module")
def extractor(weights: Path) -> HfNetExtractor:
    return HfNetExtractor.open({"weights": str(weights), "max_keypoints": 300}, None, Device(threads=1))


@pytest.fixture
def record(street: SyntheticStreet) -> Record:
    return street.records("query")[3]


@pytest.fixture
def map_path(extractor: HfNetExtractor, record: Record, point_map: VisualMap, tmp_path: Path) -> Path:
    """Files of a map that the node reads: random weights match too few points for a complete map."""
    features = ExtractorInfo(name=extractor.name, settings=extractor.settings, feature_id=extractor.feature_id)
    write_info(tmp_path, point_map.info.model_copy(update={"extractor": features, "cameras": [record.camera]}))
    return tmp_path


class Running:
    """Running node, a camera for it, and its output by stamp."""

    def __init__(self, node: HfnetNode, camera: Any, recorder: Recorder) -> None:
        self._nodes = (node, camera, recorder)
        self.recorder = recorder
        self.camera = Bench(camera, recorder, None, ())
        self.messages: dict[str, dict[int, Any]] = {}
        for topic, kind in {
            "features": PointCloud2,
            "global_descriptor": PointCloud2,
            "features/camera_info": CameraInfo,
        }.items():
            came = self.messages[topic] = {}
            camera.create_subscription(
                kind, topic, lambda msg, came=came: came.update({stamp_to_ns(msg.header.stamp): msg}), FEATURES
            )

    @property
    def status(self) -> DiagnosticStatus | None:
        return self.recorder.statuses.get("hfnet")

    @property
    def values(self) -> dict[str, str]:
        return {pair.key: pair.value for pair in self.status.values} if self.status else {}

    def spin_until(self, condition: Callable[[], bool]) -> None:
        spin_until(condition, *self._nodes)

    def send(self, record: Record) -> int:
        """Send a calibration and an image once the node has subscribed; return the stamp."""
        self.spin_until(lambda: self.values.get("image_publishers") == self.values.get("features_listeners") == "1")
        self.camera.send_camera_info(record)
        self.spin_until(lambda: True)
        return self.camera.send_image(record.read_image())


Start = Callable[..., AbstractContextManager[Running]]


@pytest.fixture
def start(map_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Context that runs the node in this process with the map and more parameters."""

    @contextmanager
    def start(**parameters: object) -> Iterator[Running]:
        given = {"map_path": map_path, "withhold_frozen": False, **parameters}  # one image is sent several times
        arguments = [word for name, value in given.items() for word in ("-p", f"hfnet:{name}:={value}")]
        with ros_nodes("camera", arguments=tuple(arguments)) as [camera]:
            monkeypatch.setattr("rclpy.node.get_default_context", lambda *_: camera.context)
            node, recorder = HfnetNode(), Recorder(context=camera.context)
            try:
                yield Running(node, camera, recorder)
            finally:
                recorder.destroy_node()
                node.destroy_node()

    return start


def test_the_features_are_those_of_the_network(
    start: Start, extractor: HfNetExtractor, record: Record, map_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed: list[tuple[int, int]] = []
    warm_up = HfNetExtractor.warm_up
    monkeypatch.setattr(
        HfNetExtractor, "warm_up", lambda self, size: (warmed.append(size), warm_up(self, size))
    )  # and still does it
    with start() as running:
        assert warmed == [record.camera.size]
        stamp = running.send(record)
        running.spin_until(lambda: all(stamp in came for came in running.messages.values()))
        running.spin_until(lambda: running.values.get("processed") == "1")
        values = running.values
    assert values["provider"] == "cpu"
    assert values["features"] == extractor.feature_id
    assert values["rejected"] == values["dropped"] == "0"
    expected = extractor.extract(record.read_image())
    features = features_from_msg(running.messages["features"][stamp], record.camera.size)
    assert len(features) > 100
    np.testing.assert_array_equal(features.keypoints, expected.keypoints)
    np.testing.assert_array_equal(features.descriptors, expected.descriptors)
    described = global_descriptor_from_msg(running.messages["global_descriptor"][stamp])
    np.testing.assert_array_equal(described.descriptor, expected.global_descriptor)
    assert described.feature_id == read_info(map_path).feature_number


def test_no_image_is_used_while_the_tracker_says_that_the_camera_is_frozen(start: Start, record: Record) -> None:
    with start() as running:
        state = running.camera.node.create_publisher(String, "tracker/state", STATE)
        running.spin_until(lambda: state.get_subscription_count() == 2)  # and the recorder
        first = running.send(record)
        running.spin_until(lambda: first in running.messages["features"])

        def send_frozen() -> bool:
            state.publish(String(data="FROZEN"))
            running.camera.send_image(record.read_image())
            return running.values["throttled"] != "0"

        running.spin_until(send_frozen)
        extracted = len(running.messages["features"])
        state.publish(String(data="LOST"))
        running.spin_until(
            lambda: (
                bool(running.camera.send_image(record.read_image())) and len(running.messages["features"]) > extracted
            )
        )


def test_another_export_of_the_weights_may_be_used(
    start: Start, export: Callable[..., Path], extractor: HfNetExtractor, record: Record
) -> None:
    """An export of fixed size, a little larger than the image here."""
    with start(weights=export(size=(416, 256)), threads=2) as running:
        stamp = running.send(record)
        running.spin_until(lambda: stamp in running.messages["features"])
        running.spin_until(lambda: running.values.get("features") == extractor.feature_id)
    features = features_from_msg(running.messages["features"][stamp], record.camera.size)
    assert (features.keypoints.max(axis=0) > [384, 232]).all(), "they are those of the whole image"
    assert (features.keypoints.max(axis=0) < [400, 250]).all(), "and not of what is beside it"


def test_an_export_that_images_do_not_fill_is_an_error_and_the_node_goes_on(
    start: Start, export: Callable[..., Path], record: Record
) -> None:
    with start(weights=export(size=(400, 400))) as running:
        for rejected in ("1", "2"):
            running.send(record)
            running.spin_until(lambda rejected=rejected: running.values.get("rejected") == rejected)
            assert running.status is not None
            assert running.status.level == DiagnosticStatus.ERROR
            assert "exported for images of 400x400" in running.status.message
            assert "export them with --size 400x248" in running.status.message
        assert not any(running.messages.values())


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_is_an_error_and_nothing_is_published(
    start: Start, record: Record, provider: str
) -> None:
    if provider in available():
        pytest.skip(f"this onnxruntime has {provider}")
    with start(provider=provider) as running:
        refused = f"run on '{provider}', but this onnxruntime has"
        running.spin_until(lambda: running.status is not None)
        assert running.status is not None
        assert running.status.level == DiagnosticStatus.ERROR
        assert refused in running.status.message
        running.send(record)
        running.spin_until(lambda: running.values.get("rejected") == "1")
        assert running.status.level == DiagnosticStatus.ERROR
        assert refused in running.status.message
        assert not any(running.messages.values())
    assert "provider" not in running.values


def test_weights_that_are_not_the_map_s_are_named(start: Start, export: Callable[..., Path], record: Record) -> None:
    with start(weights=export(seed=1)) as running:
        running.send(record)
        running.spin_until(lambda: running.values.get("rejected") == "1")
        assert running.status is not None
        assert running.status.level == DiagnosticStatus.ERROR
        assert "its features are hfnet-" in running.status.message
        assert "the extractor here makes hfnet-" in running.status.message
        assert not any(running.messages.values())


def test_weights_that_come_later_are_loaded(start: Start, weights: Path, record: Record, tmp_path: Path) -> None:
    late = tmp_path / "late.onnx"
    with start(weights=late) as running:
        running.spin_until(lambda: running.status is not None)
        assert running.status is not None
        assert f"{late}: the weights cannot be read" in running.status.message
        late.write_bytes(weights.read_bytes())
        running.spin_until(lambda: "features" in running.values)
        stamp = running.send(record)
        running.spin_until(lambda: stamp in running.messages["features"])


@pytest.mark.e2e
def test_poses_with_the_package_s_weights(street: SyntheticStreet, record: Record, tmp_path: Path) -> None:
    """Defaults of the map and of all nodes, as processes."""
    if not DEFAULT_WEIGHTS.is_file():
        pytest.skip(f"no weights at {DEFAULT_WEIGHTS.relative_to(REPOSITORY)}")
    records = street.records("map")[:16]
    build_map(records, open_extractor("hfnet", device=Device(threads=1)), tmp_path / "map", dataset=street.name)
    with bench(tmp_path / "map", tmp_path / "log") as running:
        stamp = running.expect_pose(record)
    translation, rotation = pose_error(running.recorder.poses[stamp].map_from_base, record.world_from_cam)
    assert translation < 0.1
    assert rotation < 0.5
