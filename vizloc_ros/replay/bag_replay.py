"""Replay of a bag through the real nodes, with their poses, timings and reported problems as the result."""

from __future__ import annotations

import os
import signal
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycolmap import Rigid3d
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo

from vizloc_ros.bags.bag_camera import BagCamera
from vizloc_ros.bags.bag_options import DEFAULT_OPTIONS
from vizloc_ros.errors import RosError
from vizloc_ros.geometry.poses import array_of
from vizloc_ros.nodes.hfnet import FEATURES_LISTENERS, GLOBAL_DESCRIPTOR_LISTENERS
from vizloc_ros.nodes.submap_client import REQUEST_LISTENERS
from vizloc_ros.nodes.visual_map_server import CANDIDATES_LISTENERS, SUBMAP_LISTENERS
from vizloc_ros.replay.interruption import Interruption
from vizloc_ros.replay.player import BagPlayer, PublishedImages
from vizloc_ros.replay.processes import NodeProcesses
from vizloc_ros.replay.recorder import Recorder
from vizloc_ros.ros.dds_profile import ensure_profile
from vizloc_ros.ros.image_input import IMAGE_PUBLISHERS
from vizloc_ros.ros.messages import camera_to_msg, header_of
from vizloc_ros.ros.node_options import HFNET, LOCALIZER, LOCALIZING, NODES, TRACKER, VISUAL_MAP_SERVER
from vizloc_ros.ros.qos import POSE
from vizloc_ros.ros.rclpy_errors import RCLError
from vizloc_ros.ros.runner import ros
from vizloc_ros.timing import NANOSECONDS

_START_SECONDS = 60.0
_FINISH_SECONDS = 20.0
_TOPICS_OF_NODES = ("features", "features/camera_info", "global_descriptor", "candidates", "localization/pose", "pose")
# Topics of the nodes, recorded in an earlier run; played, they would be taken for those of the replay.
_NOT_PLAYED = (*_TOPICS_OF_NODES, "submap", "submap/request", "tracker/state", "initialpose", "diagnostics")
_CALIBRATION_TOPIC = "/vizloc_replay/camera_info"
_CALIBRATION_SECONDS = 0.2
# Values in the nodes' diagnostics that count their peers: image publishers, and subscribers of the other nodes.
_CONNECTIONS = (
    (HFNET, IMAGE_PUBLISHERS),
    (HFNET, FEATURES_LISTENERS),
    (HFNET, GLOBAL_DESCRIPTOR_LISTENERS),
    (VISUAL_MAP_SERVER, CANDIDATES_LISTENERS),
)
_TRACKER_CONNECTIONS = (
    (TRACKER, IMAGE_PUBLISHERS),
    (TRACKER, REQUEST_LISTENERS),
    (VISUAL_MAP_SERVER, SUBMAP_LISTENERS),
)


@dataclass(frozen=True)
class Replay:
    """Result of a replay.

    Attributes:
        poses: poses map_from_base by image stamp [ns]; the tracker's if it ran, else the localizer's.
        localized: poses map_from_base of the localizer by image stamp [ns].
        asked: stamps of the images that the localizer was asked for; beside the tracker, few.
        played: stamps of the published images.
        interrupted: whether a signal ended the replay before the bag's end.
        latency_ms: time from the publication of an image to the reception of its pose, by stamp.
        num_images: number of published images, those without a stamp or with a repeated one included.
        skipped: stamps of the dropped images.
        processed: number of images that got a pose or a counted reason for having none.
        duration_s: time from the first to the last published image.
        timings_ms: timings {stage: {"p50", "p99"}} of all nodes, of their last 200 images.
        reasons: number of images without a pose by node and what it said, most frequent first.
        warnings: number of other diagnostics that were not OK, by node and message.
        states: state of the tracker when the next image was published, by stamp; empty if it did not run.
    """

    poses: dict[int, Rigid3d]
    localized: dict[int, Rigid3d]
    asked: set[int]
    played: set[int]
    interrupted: bool
    latency_ms: dict[int, float]
    num_images: int
    skipped: set[int]
    processed: int
    duration_s: float
    timings_ms: dict[str, dict[str, float]]
    reasons: dict[str, int]
    warnings: dict[str, int]
    states: dict[int, str]

    @property
    def dropped(self) -> int:
        """Number of images that a newer one replaced before their turn."""
        return max(0, self.num_images - self.processed)


def private_domain() -> int:
    """ROS domain of the environment, else one of this process's own, so that no other ROS system interferes."""
    given = os.environ.get("ROS_DOMAIN_ID")
    if given and not given.isdecimal():
        raise RosError(f"ROS_DOMAIN_ID is {given!r}; it must be a number, 0 to 101")
    return int(given or 1 + os.getpid() % 100)


def replay_bag(
    camera: BagCamera,
    map_path: Path,
    *,
    rate: float = 1.0,
    provider: str = "cpu",
    tracker: Mapping[str, Any] | None = None,
    composed: bool = False,
    tracking: bool = True,
    domain_id: int | None = None,
    log: Path | None = None,
) -> Replay:
    """Start the nodes as processes, play a bag to them, and collect what they publish until all images are processed.

    Topics that the bag lacks come from the choices that its camera was opened with: a calibration is published as
    camera_info, and a pose of the camera that is not on the bag's ``/tf_static`` is a parameter of the nodes.

    Ctrl-C or SIGTERM ends the playback: the result is that of the images that were played until then.

    Args:
        camera: camera of the bag.
        map_path: folder of the map.
        rate: speed of the replay, 1 is real time.
        provider: device of the networks.
        tracker: more parameters of the tracker's node.
        composed: whether all nodes run in one process.
        tracking: whether to run the tracker, which needs a map with reference features.
        domain_id: ROS domain of the replay; ``private_domain()`` by default.
        log: file for the nodes' output.

    Raises:
        BagError: the pose of the camera on the vehicle is not known, or the bag cannot be played.
        RosError: a node ended or did not start.
    """
    ensure_profile("localhost")
    topics = camera.topics
    info_topic = topics.camera_info or _CALIBRATION_TOPIC
    domain_id = private_domain() if domain_id is None else domain_id
    nodes = NODES if tracking else LOCALIZING
    parameters = _parameters(map_path, camera, provider, tracker or {}, tracking=tracking)
    processes = NodeProcesses(
        parameters,
        {"image/compressed" if topics.is_compressed else "image": topics.image, "camera_info": info_topic},
        ("vizloc_node",) if composed else nodes,
        tracking,
        use_sim_time=True,
        log=log,
        environment={"ROS_DOMAIN_ID": str(domain_id)},
    )
    published = PublishedImages(topics.image)
    with ros([], domain_id), Interruption() as interruption, processes, spinning_recorder() as recorder:
        leave_out = {f"/{topic}" for topic in _NOT_PLAYED} - {topics.image, topics.camera_info}
        player = BagPlayer(recorder, camera.bag, rate=rate, leave_out=leave_out, on_published=published.add)
        if not topics.camera_info:
            _publish_calibration(recorder, camera)
        wait_until(lambda: is_ready(recorder, nodes), _START_SECONDS, processes, "the nodes did not start")
        _require_alone(recorder, domain_id)
        expected = {topics.image: 1 + tracking, topics.camera_info: 1 + tracking}
        player.wait_for_subscribers({topic: count for topic, count in expected.items() if topic})
        recorder.forget_problems()  # before the first image, the nodes warn that there is none
        interruption.ends(player.stop)
        player.play()
        interruption.over()
        if interruption.number and not published.count:
            signal.raise_signal(interruption.number)  # there is nothing to report
        _wait_until_finished(recorder, published.count, processes, tracking)
        player.close()
    return _result(recorder, published, tracking, bool(interruption.number))


def _publish_calibration(recorder: Recorder, camera: BagCamera) -> None:
    """Publish the calibration of the camera again and again, for nodes that start at any time."""
    publisher = recorder.create_publisher(CameraInfo, _CALIBRATION_TOPIC, POSE)
    message = camera_to_msg(camera.first_calibration, header_of(0, camera.frame))
    clock = Clock(clock_type=ClockType.STEADY_TIME)

    def publish() -> None:
        with suppress(RCLError, InvalidHandle):  # at the end of the replay
            publisher.publish(message)

    recorder.create_timer(_CALIBRATION_SECONDS, publish, clock=clock)


def _parameters(
    map_path: Path, camera: BagCamera, provider: str, tracker: Mapping[str, Any], *, tracking: bool
) -> dict[str, Mapping[str, Any]]:
    """Parameters of the nodes by name, where they differ from the defaults."""
    base_frame = camera.options.base_frame
    extrinsics: dict[str, Any] = {"base_frame": base_frame} if base_frame != DEFAULT_OPTIONS.base_frame else {}
    base_from_cam = camera.frame_from_cam(base_frame)
    if not camera.is_transform_heard:
        extrinsics["base_from_cam"] = array_of(base_from_cam).tolist()
    map_parameters = {"map_path": str(map_path.absolute())}
    transport = "compressed" if camera.topics.is_compressed else "raw"
    image_parameters = {**map_parameters, "image_transport": transport, "provider": provider}
    return {
        HFNET: {**image_parameters, **extrinsics},
        VISUAL_MAP_SERVER: map_parameters,
        LOCALIZER: {**extrinsics, **({"path_length": 0} if tracking else {})},
        TRACKER: {**image_parameters, **extrinsics, **tracker},
    }


def _result(recorder: Recorder, published: PublishedImages, tracking: bool, interrupted: bool) -> Replay:
    """Result of a finished replay."""
    found = recorder.tracked if tracking else recorder.poses
    sent = published.monotonic_ns
    times = sorted(sent.values())
    return Replay(
        poses={stamp: pose.map_from_base for stamp, pose in sorted(found.items())},
        localized={stamp: pose.map_from_base for stamp, pose in sorted(recorder.poses.items())},
        asked=sent.keys() & (recorder.extracted | recorder.poses.keys()),
        played=set(sent),
        interrupted=interrupted,
        latency_ms={stamp: (pose.monotonic_ns - sent[stamp]) * 1e-6 for stamp, pose in found.items() if stamp in sent},
        num_images=published.count,
        skipped=set() if tracking else _skipped(recorder, sent.keys()),
        # The newest diagnostics may be older than the newest pose.
        processed=max(_num_processed(recorder, tracking), len(found)),
        duration_s=(times[-1] - times[0]) / NANOSECONDS if times else 0.0,
        timings_ms=recorder.timings(),
        reasons=recorder.reasons.images,
        warnings=recorder.reasons.warnings,
        states=states_of_images(recorder.states, sent) if tracking else {},
    )


def states_of_images(changes: Sequence[tuple[int, str]], published: Mapping[int, int]) -> dict[int, str]:
    """State of the tracker by the stamp of each image: the one when the next image was published, or the last one.

    Args:
        changes: (``time.monotonic_ns()``, state) at every change, see ``Recorder``.
        published: ``time.monotonic_ns()`` of the publication by stamp [ns].
    """
    times, stamps = [at for at, _ in changes], sorted(published, key=lambda stamp: published[stamp])
    ends = [published[stamp] for stamp in stamps[1:]]
    counts = [*(bisect_right(times, end) for end in ends), len(times)]
    return {stamp: changes[count - 1][1] for stamp, count in zip(stamps, counts, strict=False) if count}


@contextmanager
def spinning_recorder() -> Iterator[Recorder]:
    """Context with a recorder whose callbacks run in a thread of their own."""
    recorder = Recorder()
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)

    def spin() -> None:
        with suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, name="recorder", daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        executor.shutdown()
        thread.join()
        recorder.destroy_node()


def is_connected(recorder: Recorder, nodes: Sequence[str] = LOCALIZING) -> bool:
    """Return whether all nodes report and have found each other and the camera: from then on no message is lost.

    An hfnet of one of several cameras has the namespace of that before its name.
    """
    connections = (*_CONNECTIONS, *(_TRACKER_CONNECTIONS if TRACKER in nodes else ()))
    counts = [(name, key) for node, key in connections for name in nodes if name.rpartition("/")[2] == node]
    return all(node in recorder.statuses for node in nodes) and all(recorder.count(*c) for c in counts)


def is_ready(recorder: Recorder, nodes: Sequence[str]) -> bool:
    """Return whether the nodes are connected and have loaded the map."""
    return is_connected(recorder, nodes) and all(recorder.statuses[node].level != b"\x02" for node in nodes)


def _require_alone(recorder: Recorder, domain_id: int) -> None:
    """Raise ``RosError`` if other nodes publish the same topics: their images and features would be mixed in."""
    for topic in _TOPICS_OF_NODES:
        if (count := recorder.count_publishers(topic)) > 1:
            raise RosError(
                f"{count} nodes publish {topic} on ROS domain {domain_id}: stop the other vizloc nodes, or give this "
                "replay a domain of its own with ROS_DOMAIN_ID"
            )


def _skipped(recorder: Recorder, published: Collection[int]) -> set[int]:
    """Stamps of the dropped images: all without a pose; if some failed, those without features.

    The diagnostics have no stamps, so an image that failed cannot be distinguished from one dropped after ``hfnet``.
    """
    missing = set(published) - recorder.poses.keys()
    failed = max(_num_processed(recorder, tracking=False) - len(recorder.poses), 0)
    return missing - recorder.extracted if failed else missing


def _num_processed(recorder: Recorder, tracking: bool) -> int:
    """Number of images that got a pose or a counted reason for having none."""
    if tracking:
        return recorder.count(TRACKER, "processed") + recorder.count(TRACKER, "rejected")
    rejected = sum(recorder.count(node, "rejected") for node in NODES)
    return recorder.count(LOCALIZER, "processed") + rejected


def _wait_until_finished(recorder: Recorder, published: int, processes: NodeProcesses, tracking: bool) -> None:
    """Wait until every image is processed, or dropped by one of the nodes, or the counts no longer change."""
    dropping = (TRACKER,) if tracking else NODES
    deadline = time.monotonic() + _FINISH_SECONDS
    last_count, last_change = -1, time.monotonic()
    while time.monotonic() < deadline:
        processes.require_alive()
        count = _num_processed(recorder, tracking) + sum(recorder.count(node, "dropped") for node in dropping)
        if count >= published:
            return
        if count != last_count:
            last_count, last_change = count, time.monotonic()
        if time.monotonic() - last_change > _FINISH_SECONDS / 4:
            return
        time.sleep(0.05)


def wait_until(condition: Callable[[], bool], seconds: float, processes: NodeProcesses, problem: str) -> None:
    """Wait for a condition. Raises ``RosError`` with the problem after some seconds, or if a node has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        processes.require_alive()
        if time.monotonic() > deadline:
            raise RosError(f"{problem} within {seconds:g} s: see their log")
        time.sleep(0.05)
