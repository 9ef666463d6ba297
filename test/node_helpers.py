"""Helpers of tests of running nodes: the processes, a publisher of images, and a recorder of the output."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, ListParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from repository import REPOSITORY
from ros_domains import own_domain
from ros_helpers import STRICT_WARNINGS, call_service, ros_nodes, spin_until
from sensor_msgs.msg import CameraInfo, Image

from vizloc_ros.datasets.record import Record
from vizloc_ros.replay.bag_replay import is_connected
from vizloc_ros.replay.processes import NodeProcesses
from vizloc_ros.replay.recorder import Recorder
from vizloc_ros.ros.messages import header_of, rectified_camera_to_msg
from vizloc_ros.ros.node_options import LOCALIZING, NODES, TRACKER
from vizloc_ros.ros.qos import POSE

IDENTITY = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
FRAME = "camera"
COMPOSED = ("vizloc_node",)  # all nodes in one process
RVIZ_OF_TRACKER = {"pose", "pixloc_tracker/debug/image"}


class Bench:
    """Test bench of running nodes: it sends images and reads poses and diagnostics."""

    def __init__(self, node: Any, recorder: Recorder, processes: NodeProcesses, nodes: Sequence[str]) -> None:
        self.node, self.recorder, self.processes, self.nodes = node, recorder, processes, nodes
        self._image = node.create_publisher(Image, "image", POSE)
        self._camera_info = node.create_publisher(CameraInfo, "camera_info", POSE)
        self.stamp_ns = 1_000_000_000_000

    def spin_until(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
        def alive_and_done() -> bool:
            self.processes.require_alive()
            return condition()

        spin_until(alive_and_done, self.node, self.recorder, timeout_s=timeout_s)

    def wait_until_ready(self) -> None:
        """Wait until the processes run and have discovered each other and this one."""
        self.spin_until(
            lambda: (
                self._camera_info.get_subscription_count() > 0
                and self._image.get_subscription_count() > 0
                and is_connected(self.recorder, self.nodes)
            )
        )

    def send_camera_info(self, record: Record, **changes: Any) -> None:
        msg = rectified_camera_to_msg(record.camera, header_of(self.stamp_ns, FRAME))
        for field, value in changes.items():
            setattr(msg, field, value)
        self._camera_info.publish(msg)

    def send_image(self, pixels: Any, stamp_ns: int | None = None, **changes: Any) -> int:
        """Publish an (H, W) image, 0.1 s after the one before unless a stamp is given; return its stamp."""
        if stamp_ns is None:
            self.stamp_ns += 100_000_000
        else:
            self.stamp_ns = stamp_ns
        pixels = np.ascontiguousarray(pixels)
        msg = Image(
            header=header_of(self.stamp_ns, FRAME),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding="mono8",
            step=pixels.shape[1] * pixels.itemsize,
        )
        msg.data.frombytes(pixels.tobytes())
        for field, value in changes.items():
            setattr(msg, field, value)
        self._image.publish(msg)
        return self.stamp_ns

    def expect_pose(self, record: Record, **message: Any) -> int:
        """Send the calibration and an image of a record until its pose arrives; return its stamp.

        ``message`` has the pixels and fields of another message with the same image, as for ``send_image``.
        """
        self.send_camera_info(record)
        stamps: list[int] = []

        def has_pose() -> bool:
            return any(stamp in self.recorder.poses for stamp in stamps)

        for _ in range(5):  # an image may be lost while discovery is still under way
            stamps.append(self.send_image(**(message or {"pixels": record.read_image()})))
            try:
                self.spin_until(has_pose, timeout_s=6.0)
            except AssertionError:
                continue
            return stamps[-1]
        raise AssertionError(f"no pose; diagnostics: {self.recorder.messages[-5:]}")

    def expect_complaint(self, node: str, *words: str, level: bytes = DiagnosticStatus.ERROR) -> str:
        """Wait until a node's diagnostics contain all of the words at that level; return the message."""
        wanted = int.from_bytes(level, "little")

        def said() -> str | None:
            return next(
                (
                    message
                    for name, at, message in self.recorder.messages
                    if name == node and at == wanted and all(word in message for word in words)
                ),
                None,
            )

        try:
            self.spin_until(lambda: said() is not None, timeout_s=15.0)
        except AssertionError:
            raise AssertionError(f"{node} did not say {words}; it said {self.recorder.messages[-6:]}") from None
        return said() or ""

    def parameters(self, node: str) -> dict[str, Any]:
        """Parameters of a node as tools get them: its list of names, with the values of one request for all."""
        listed = self.call(ListParameters, f"{node}/list_parameters", ListParameters.Request()).result.names
        values = self.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=listed)).values
        return {name: parameter_value_to_python(value) for name, value in zip(listed, values, strict=True)}

    def call(self, kind: Any, name: str, request: Any = None, meanwhile: Callable[[], None] | None = None) -> Any:
        """Call a service and return its answer; ``meanwhile`` is called again and again until it comes."""
        return call_service(self.node, kind, name, request, partial(self.spin_until, timeout_s=90.0), meanwhile)

    def change_state(self, node: str, transition: str) -> bool:
        """Send a node a transition of its lifecycle; return whether it succeeded."""
        request = ChangeState.Request(transition=Transition(label=transition))
        return bool(self.call(ChangeState, f"{node}/change_state", request).success)

    def state_of(self, node: str) -> str:
        """State of a node's lifecycle."""
        return str(self.call(GetState, f"{node}/get_state").current_state.label)

    def set_parameters(self, node: str, **values: Any) -> Any:
        """Set parameters all at once, "__" in their names for "."; return the result."""
        parameters = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=[one.to_parameter_msg() for one in parameters])
        return self.call(SetParametersAtomically, f"{node}/set_parameters_atomically", request).result

    def forget(self) -> None:
        """Forget all messages and poses so far."""
        self.recorder.messages.clear()
        self.recorder.poses.clear()


@contextmanager
def bench(
    map_path: Path,
    log: Path,
    executables: tuple[str, ...] = LOCALIZING,
    before: Callable[[Any], None] = lambda node: None,
    tracking: bool = False,
    remappings: Mapping[str, str] | None = None,
    managed: bool = False,
    **parameters: dict[str, Any],
) -> Iterator[Bench]:
    """Context with running nodes, a map, and the camera at the base; more ``parameters`` by name of the node.

    ``managed`` nodes wait for their transitions.

    ``executables`` may be ``COMPOSED``, which starts in half the time, for what does not depend on processes; it has
    the tracker if ``tracking``. ``before`` is called with the bench's node before the others start.
    """
    common = {"map_path": str(map_path)}
    # The images' stamps are made up, and one image may be sent again.
    of_images = {**common, "max_image_age": 0.0, "withhold_frozen": False}
    defaults: dict[str, dict[str, Any]] = {
        "hfnet": of_images,
        "visual_map_server": common,
        "localizer": {"base_from_cam": IDENTITY},
        TRACKER: {**of_images, "base_from_cam": IDENTITY},
    }
    start = {"autostart": not managed}
    given = {node: {**start, **defaults[node], **parameters.get(node, {})} for node in NODES}
    tracking = tracking or TRACKER in executables
    with own_domain() as domain, ros_nodes("bench", domain_id=domain) as [node]:
        environment = {"ROS_DOMAIN_ID": str(domain), "PYTHONWARNINGS": STRICT_WARNINGS}
        processes = NodeProcesses(given, remappings or {}, executables, tracking, log=log, environment=environment)
        before(node)
        with processes as running:
            recorder = Recorder(context=node.context)
            try:
                made = Bench(node, recorder, running, NODES if tracking else LOCALIZING)
                if not managed:
                    made.wait_until_ready()
                yield made
            finally:
                recorder.destroy_node()


def rviz_topics() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield type, and topic with its quality of service, of every RViz display that has a topic."""
    types = {
        "PointCloud2": "sensor_msgs/msg/PointCloud2",
        "PoseArray": "geometry_msgs/msg/PoseArray",
        "PoseWithCovariance": "geometry_msgs/msg/PoseWithCovarianceStamped",
        "Path": "nav_msgs/msg/Path",
        "Image": "sensor_msgs/msg/Image",
    }
    config = yaml.safe_load((REPOSITORY / "config" / "vizloc.rviz").read_text())
    for display in config["Visualization Manager"]["Displays"]:
        if "Topic" in display:
            yield types[display["Class"].rpartition("/")[2]], display["Topic"]


def expect_shown(node: Node, names: Collection[str]) -> None:
    """Check that the topics are published as RViz subscribes to them."""
    for kind, topic in rviz_topics():
        if topic["Value"] not in names:
            continue
        publishers = node.get_publishers_info_by_topic(f"/{topic['Value']}")
        assert publishers, topic["Value"]
        for publisher in publishers:
            assert publisher.topic_type == kind
            offered = publisher.qos_profile
            assert topic["Reliability Policy"] == "Best Effort" or offered.reliability is ReliabilityPolicy.RELIABLE
            assert topic["Durability Policy"] == "Volatile" or offered.durability is DurabilityPolicy.TRANSIENT_LOCAL
