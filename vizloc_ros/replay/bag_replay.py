"""Replay of a bag through the real nodes, with their poses, timings and reported problems as the result."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycolmap import Rigid3d
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from vizloc_ros.errors import RosError
from vizloc_ros.nodes.hfnet import FEATURES_LISTENERS, GLOBAL_DESCRIPTOR_LISTENERS
from vizloc_ros.nodes.submap_client import REQUEST_LISTENERS
from vizloc_ros.nodes.visual_map_server import CANDIDATES_LISTENERS, SUBMAP_LISTENERS
from vizloc_ros.replay.bag_records import image_topics
from vizloc_ros.replay.player import BagPlayer, Published
from vizloc_ros.replay.processes import NodeProcesses
from vizloc_ros.replay.recorder import Recorder
from vizloc_ros.ros.dds_profile import ensure_profile
from vizloc_ros.ros.image_input import IMAGE_PUBLISHERS
from vizloc_ros.ros.node_options import HFNET, LOCALIZER, LOCALIZING, NODES, TRACKER, VISUAL_MAP_SERVER
from vizloc_ros.ros.runner import ros
from vizloc_ros.timing import NANOSECONDS

_START_SECONDS = 60.0
_FINISH_SECONDS = 20.0
_TOPICS_OF_NODES = ("features", "features/camera_info", "global_descriptor", "candidates", "localization/pose", "pose")
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
        latency_ms: time from the publication of an image to the reception of its pose, by stamp.
        num_images: number of published images.
        skipped: stamps of the dropped images.
        processed: number of images that got a pose or a counted reason for having none.
        duration_s: time from the first to the last published image.
        timings_ms: timings {stage: {"p50", "p99"}} of all nodes, of their last 200 images.
        reasons: number of diagnostics that were not OK, by node and message.
    """

    poses: dict[int, Rigid3d]
    localized: dict[int, Rigid3d]
    latency_ms: dict[int, float]
    num_images: int
    skipped: set[int]
    processed: int
    duration_s: float
    timings_ms: dict[str, dict[str, float]]
    reasons: dict[str, int]

    @property
    def dropped(self) -> int:
        """Number of images that a newer one replaced before their turn."""
        return self.num_images - self.processed


def private_domain() -> int:
    """ROS domain of the environment, else one of this process's own, so that no other ROS system interferes."""
    given = os.environ.get("ROS_DOMAIN_ID")
    if given and not given.isdecimal():
        raise RosError(f"ROS_DOMAIN_ID is {given!r}; it must be a number, 0 to 101")
    return int(given or 1 + os.getpid() % 100)


def replay_bag(
    bag: Path,
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

    Args:
        bag: rosbag2 with one camera.
        map_path: folder of the map.
        rate: speed of the replay, 1 is real time.
        provider: device of the networks.
        tracker: more parameters of the tracker's node.
        composed: whether all nodes run in one process.
        tracking: whether to run the tracker, which needs a map with reference features.
        domain_id: ROS domain of the replay; ``private_domain()`` by default.
        log: file for the nodes' output.

    Raises:
        BagError: the bag has not exactly one image topic with a camera_info.
        RosError: a node ended or did not start.
    """
    ensure_profile("localhost")
    image_topic, info_topic = image_topics(bag)
    domain_id = private_domain() if domain_id is None else domain_id
    nodes = NODES if tracking else LOCALIZING
    parameters = _parameters(map_path, image_topic, provider, tracker or {}, tracking=tracking)
    raw_topic = image_topic.removesuffix("/compressed")
    processes = NodeProcesses(
        parameters,
        {"image": raw_topic, "image/compressed": f"{raw_topic}/compressed", "camera_info": info_topic},
        ("vizloc_node",) if composed else nodes,
        tracking,
        use_sim_time=True,
        log=log,
        environment={"ROS_DOMAIN_ID": str(domain_id)},
    )
    published: dict[int, int] = {}  # time.monotonic_ns() of the images by stamp [ns]

    def on_published(message: Published) -> None:
        if message.topic == image_topic:
            published[message.stamp_ns] = message.monotonic_ns

    with ros([], domain_id), processes, _spinning_recorder() as recorder:
        player = BagPlayer(recorder, bag, rate=rate, on_published=on_published)
        _wait_until(lambda: _is_ready(recorder, nodes), _START_SECONDS, processes, "the nodes did not start")
        _require_alone(recorder, domain_id)
        player.wait_for_subscribers({image_topic: 1 + tracking, info_topic: 1 + tracking})
        recorder.messages.clear()  # before the first image, the nodes warn that there is none
        player.play()
        _wait_until_finished(recorder, len(published), processes, tracking)
        player.close()
    return _result(recorder, published, tracking)


def _parameters(
    map_path: Path, image_topic: str, provider: str, tracker: Mapping[str, Any], *, tracking: bool
) -> dict[str, Mapping[str, Any]]:
    """Parameters of the nodes by name, where they differ from the defaults."""
    map_parameters = {"map_path": str(map_path.absolute())}
    transport = "compressed" if image_topic.endswith("/compressed") else "raw"
    image_parameters = {**map_parameters, "image_transport": transport, "provider": provider}
    return {
        HFNET: image_parameters,
        VISUAL_MAP_SERVER: map_parameters,
        LOCALIZER: {"path_length": 0} if tracking else {},
        TRACKER: {**image_parameters, **tracker},
    }


def _result(recorder: Recorder, published: Mapping[int, int], tracking: bool) -> Replay:
    """Result of a finished replay; ``published`` has the ``time.monotonic_ns()`` of the images by stamp [ns]."""
    found = recorder.tracked if tracking else recorder.poses
    times = sorted(published.values())
    return Replay(
        poses={stamp: pose.map_from_base for stamp, pose in sorted(found.items())},
        localized={stamp: pose.map_from_base for stamp, pose in sorted(recorder.poses.items())},
        latency_ms={
            stamp: (pose.monotonic_ns - published[stamp]) * 1e-6 for stamp, pose in found.items() if stamp in published
        },
        num_images=len(published),
        skipped=set() if tracking else _skipped(recorder, published.keys()),
        # The newest diagnostics may be older than the newest pose.
        processed=max(_num_processed(recorder, tracking), len(found)),
        duration_s=(times[-1] - times[0]) / NANOSECONDS if times else 0.0,
        timings_ms=recorder.timings(),
        reasons=dict(Counter(f"{node}: {message}" for node, _, message in recorder.messages)),
    )


@contextmanager
def _spinning_recorder() -> Iterator[Recorder]:
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
    """Return whether all nodes report and have found each other and the camera: from then on no message is lost."""
    connections = (*_CONNECTIONS, *(_TRACKER_CONNECTIONS if TRACKER in nodes else ()))
    return all(node in recorder.statuses for node in nodes) and all(recorder.count(*c) for c in connections)


def _is_ready(recorder: Recorder, nodes: Sequence[str]) -> bool:
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


def _wait_until(condition: Callable[[], bool], seconds: float, processes: NodeProcesses, problem: str) -> None:
    """Wait for a condition. Raises ``RosError`` with the problem after some seconds, or if a node has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        processes.require_alive()
        if time.monotonic() > deadline:
            raise RosError(f"{problem} within {seconds:g} s: see their log")
        time.sleep(0.05)
