"""Replays a bag through the real nodes and keeps what they publish."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycolmap import Rigid3d
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from vizloc_ros.errors import RosError
from vizloc_ros.replay.bag_records import image_topics
from vizloc_ros.replay.player import BagPlayer, Published
from vizloc_ros.replay.processes import NodeProcesses
from vizloc_ros.replay.recorder import Recorder
from vizloc_ros.ros.dds_profile import ensure_profile
from vizloc_ros.ros.node_options import LOCALIZING, NODES, TRACKER
from vizloc_ros.ros.runner import ros

_START_SECONDS = 60.0
_FINISH_SECONDS = 20.0
_TOPICS_BETWEEN_NODES = ("features", "features/camera_info", "global_descriptor", "candidates")


@dataclass(frozen=True)
class Replay:
    """What came of a replay.

    Attributes:
        poses: map_from_base by image stamp [ns]; the tracker's if it ran, else the localizer's.
        localized: those of the localizer.
        latency_ms: from publication of the image to reception of its pose, by stamp.
        num_images: images published.
        skipped: stamps of those that were dropped.
        processed: images that got a pose or a counted reason why not.
        duration_s: time from the first to the last image published.
        timings_ms: {stage: {"p50", "p99"}} of all nodes, of their last 200 images.
        reasons: what the nodes' diagnostics said that was not OK, with how often.
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
        """Images that a newer one replaced before their turn."""
        return self.num_images - self.processed


def private_domain() -> int:
    """The ROS domain of the environment, or one of this process's own, so that no other ROS system interferes."""
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
    """Starts hfnet, map_server, localizer and pixloc_tracker as processes, plays a bag to them, and waits for the end.

    Args:
        bag: a rosbag2 with one camera.
        map_path: the map.
        rate: seconds of the bag in a second.
        provider: what the networks run on.
        tracker: more parameters of the tracker's node.
        composed: all nodes in one process.
        tracking: with the tracker, which needs a map with references.
        domain_id: ROS domain to do it in; ``private_domain()`` by default.
        log: file for what the nodes print.

    Raises:
        BagError: the bag has not exactly one image topic with a camera_info.
        RosError: a node ended or did not start.
    """
    ensure_profile("localhost")
    image, camera_info = image_topics(bag)
    domain_id = private_domain() if domain_id is None else domain_id
    transport = "compressed" if image.endswith("/compressed") else "raw"
    base_topic = image.removesuffix("/compressed")
    nodes = NODES if tracking else LOCALIZING
    of_images = {"map_path": str(map_path.absolute()), "image_transport": transport, "provider": provider}
    processes = NodeProcesses(
        {
            "hfnet": of_images,
            "map_server": {"map_path": str(map_path.absolute())},
            "localizer": {"path_length": 0} if tracking else {},
            TRACKER: {**of_images, **(tracker or {})},
        },
        {"image": base_topic, "image/compressed": f"{base_topic}/compressed", "camera_info": camera_info},
        ("vizloc_node",) if composed else nodes,
        tracking,
        use_sim_time=True,
        log=log,
        environment={"ROS_DOMAIN_ID": str(domain_id)},
    )
    published: dict[int, int] = {}

    def on_published(message: Published) -> None:
        if message.topic == image:
            published[message.stamp_ns] = message.monotonic_ns

    with ros([], domain_id), processes, _spinning_recorder() as recorder:
        player = BagPlayer(recorder, bag, rate=rate, on_published=on_published)
        _wait_until(lambda: _is_ready(recorder, nodes), _START_SECONDS, processes, "the nodes did not start")
        _require_alone(recorder, domain_id)
        player.wait_for_subscribers({image: 1 + tracking, camera_info: 1 + tracking})
        recorder.messages.clear()  # that no image came before the first one is no news
        player.play()
        _wait_until_finished(recorder, len(published), processes, tracking)
        player.close()
    found = recorder.tracked if tracking else recorder.poses
    latency = {
        stamp: (pose.monotonic_ns - published[stamp]) * 1e-6 for stamp, pose in found.items() if stamp in published
    }
    times = sorted(published.values())
    reasons: dict[str, int] = {}
    for node, _, message in recorder.messages:
        reasons[f"{node}: {message}"] = reasons.get(f"{node}: {message}", 0) + 1
    return Replay(
        {stamp: pose.map_from_base for stamp, pose in sorted(found.items())},
        {stamp: pose.map_from_base for stamp, pose in sorted(recorder.poses.items())},
        latency,
        len(published),
        set() if tracking else _skipped(recorder, published.keys()),
        max(_judged(recorder, tracking), len(found)),  # the newest diagnostics may be older than the newest pose
        (times[-1] - times[0]) * 1e-9 if times else 0.0,
        recorder.timings(),
        reasons,
    )


@contextmanager
def _spinning_recorder() -> Iterator[Recorder]:
    """A recorder whose callbacks run in a thread of their own."""
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
    """All nodes report, and have found each other and the camera: from then on nothing is lost between them."""
    connections = [
        ("hfnet", "image_publishers"),
        ("hfnet", "features_listeners"),
        ("hfnet", "global_descriptor_listeners"),
        ("map_server", "candidates_listeners"),
    ]
    if TRACKER in nodes:
        connections += [
            (TRACKER, "image_publishers"),
            (TRACKER, "request_listeners"),
            ("map_server", "submap_listeners"),
        ]
    return all(node in recorder.statuses for node in nodes) and all(recorder.count(*c) for c in connections)


def _is_ready(recorder: Recorder, nodes: Sequence[str]) -> bool:
    """Connected, and the map is loaded."""
    return is_connected(recorder, nodes) and all(recorder.statuses[node].level != b"\x02" for node in nodes)


def _require_alone(recorder: Recorder, domain_id: int) -> None:
    """Raises ``RosError`` if somebody else publishes the same topics: their images and features would be mixed in."""
    for topic in (*_TOPICS_BETWEEN_NODES, "localization/pose", "pose"):
        if (count := recorder.count_publishers(topic)) > 1:
            raise RosError(
                f"{count} nodes publish {topic} on ROS domain {domain_id}: stop the other vizloc nodes, or give this "
                "replay a domain of its own with ROS_DOMAIN_ID"
            )


def _skipped(recorder: Recorder, published: Collection[int]) -> set[int]:
    """Stamps of the images that were dropped, as far as can be told: all without a pose, if none failed."""
    missing = set(published) - recorder.poses.keys()
    failed = max(_judged(recorder, tracking=False) - len(recorder.poses), 0)
    return missing - recorder.extracted if failed else missing


def _judged(recorder: Recorder, tracking: bool) -> int:
    """Images that got a pose or a counted reason."""
    if tracking:
        return recorder.count(TRACKER, "processed") + recorder.count(TRACKER, "rejected")
    rejected = sum(recorder.count(node, "rejected") for node in NODES)
    return recorder.count("localizer", "processed") + rejected


def _wait_until_finished(recorder: Recorder, published: int, processes: NodeProcesses, tracking: bool) -> None:
    """Until every image is accounted for: judged, or dropped by one of the nodes, or nothing moves any more."""
    dropping = (TRACKER,) if tracking else NODES
    deadline = time.monotonic() + _FINISH_SECONDS
    before, quiet_since = -1, time.monotonic()
    while time.monotonic() < deadline:
        processes.require_alive()
        done = _judged(recorder, tracking) + sum(recorder.count(node, "dropped") for node in dropping)
        if done >= published:
            return
        if done != before:
            before, quiet_since = done, time.monotonic()
        if time.monotonic() - quiet_since > _FINISH_SECONDS / 4:
            return
        time.sleep(0.05)


def _wait_until(condition: Callable[[], bool], seconds: float, processes: NodeProcesses, problem: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        processes.require_alive()
        if time.monotonic() > deadline:
            raise RosError(f"{problem} within {seconds:g} s: see their log")
        time.sleep(0.05)
