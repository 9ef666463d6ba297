"""Map server and localizer as processes, asked with features that are there already."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from measure import memory_mb
from pycolmap import Rigid3d
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, PointCloud2

from vizloc_ros.errors import RosError
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.nodes.visual_map_server import CANDIDATES_LISTENERS
from vizloc_ros.replay.bag_replay import private_domain
from vizloc_ros.replay.processes import NodeProcesses
from vizloc_ros.replay.recorder import Recorder
from vizloc_ros.ros.clouds import features_to_msg, global_descriptor_to_msg
from vizloc_ros.ros.dds_profile import ensure_profile
from vizloc_ros.ros.messages import header_of, rectified_camera_to_msg
from vizloc_ros.ros.node_options import LOCALIZER, VISUAL_MAP_SERVER
from vizloc_ros.ros.qos import FEATURES
from vizloc_ros.ros.runner import ros
from vizloc_ros.timing import NANOSECONDS

_START_SECONDS, _ANSWER_SECONDS, _DIAGNOSTICS_SECONDS = 900.0, 5.0, 2.5
_IDENTITY = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]


@dataclass(frozen=True)
class Answers:
    """Answers of the nodes.

    Attributes:
        poses: poses map_from_cam by the index of the query.
        latency_ms: time from the publication of the features to the reception of the pose, of each of them.
        start_s: time from the start of the processes until the map was loaded and the nodes connected.
        timings_ms: timings {stage: {"p50", "p99"}} that the nodes report, of their last 200 images.
        memory_mb: memory of each node at the start and in the end, as ``measure.memory_mb``.
    """

    poses: dict[int, Rigid3d]
    latency_ms: list[float]
    start_s: float
    timings_ms: dict[str, dict[str, float]]
    memory_mb: dict[str, tuple[dict[str, float], dict[str, float]]]


def ask_nodes(map_path: Path, feature_number: int, queries: Sequence[tuple[Features, PinholeCamera]]) -> Answers:
    """Start the two nodes, give them one query after another, and wait for each answer.

    Raises ``RosError`` if a node ends or does not start.
    """
    ensure_profile("localhost")
    domain = private_domain()
    parameters: dict[str, dict[str, object]] = {
        VISUAL_MAP_SERVER: {"map_path": str(map_path.absolute())},
        LOCALIZER: {"base_from_cam": _IDENTITY},
    }
    processes = NodeProcesses(
        parameters,
        executables=(VISUAL_MAP_SERVER, LOCALIZER),
        log=map_path.with_name("two_nodes.log"),
        environment={"ROS_DOMAIN_ID": str(domain)},
    )
    start = time.monotonic()
    with ros([], domain), processes as running:
        asking = _Asking(running)
        try:
            asking.wait(asking.is_ready, _START_SECONDS)
            started, at_start = time.monotonic() - start, _memory(running)
            latency = [asking.ask(i, *query, feature_number) for i, query in enumerate(queries)]
            asking.wait(lambda: False, _DIAGNOSTICS_SECONDS, required=False)  # until the last are reported
            at_end = _memory(running)
            poses = {stamp // NANOSECONDS - 1: pose.map_from_base for stamp, pose in asking.recorder.poses.items()}
            return Answers(
                poses,
                [x for x in latency if x is not None],
                started,
                asking.recorder.timings(),
                {name: (at_start[name], at_end[name]) for name in at_start},
            )
        finally:
            asking.close()


class _Asking:
    """Node that publishes features, and waits."""

    def __init__(self, processes: NodeProcesses) -> None:
        self._processes = processes
        self.recorder = Recorder()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.recorder)
        self._info = self.recorder.create_publisher(CameraInfo, "features/camera_info", FEATURES)
        self._features = self.recorder.create_publisher(PointCloud2, "features", FEATURES)
        self._descriptor = self.recorder.create_publisher(PointCloud2, "global_descriptor", FEATURES)

    def is_ready(self) -> bool:
        """Return whether the map is loaded and everybody connected."""
        statuses = self.recorder.statuses
        return (
            LOCALIZER in statuses
            and VISUAL_MAP_SERVER in statuses
            and self.recorder.value(VISUAL_MAP_SERVER, "keyframes") is not None
            and self.recorder.count(VISUAL_MAP_SERVER, CANDIDATES_LISTENERS) > 0
            and all(p.get_subscription_count() for p in (self._info, self._features, self._descriptor))
        )

    def ask(self, index: int, features: Features, camera: PinholeCamera, feature_number: int) -> float | None:
        """Publish one query, and wait for its pose; return the time [ms], or None without one."""
        stamp = (index + 1) * NANOSECONDS
        header = header_of(stamp, "camera")
        info, points = rectified_camera_to_msg(camera, header), features_to_msg(features, header)
        descriptor = global_descriptor_to_msg(features.global_descriptor, feature_number, header)
        start = time.monotonic_ns()
        for publisher, message in ((self._descriptor, descriptor), (self._info, info), (self._features, points)):
            publisher.publish(message)
        self.wait(lambda: stamp in self.recorder.poses, _ANSWER_SECONDS, required=False)
        pose = self.recorder.poses.get(stamp)
        return None if pose is None else 1e-6 * (pose.monotonic_ns - start)

    def wait(self, condition: Callable[[], bool], seconds: float, *, required: bool = True) -> None:
        """Spin until a condition holds. After the time, raise ``RosError`` if it is required."""
        deadline = time.monotonic() + seconds
        while not condition():
            self._processes.require_alive()
            if time.monotonic() > deadline:
                if required:
                    raise RosError(f"the nodes are not ready after {seconds:g} s: see their log")
                return
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        """End the node."""
        self._executor.shutdown()
        self.recorder.destroy_node()


def _memory(processes: NodeProcesses) -> dict[str, dict[str, float]]:
    return {name: memory_mb(pid) for name, pid in processes.process_ids.items()}
