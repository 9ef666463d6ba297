"""Reader of the messages of bags; every problem of a bag is a ``BagError`` that names it."""

import os
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycolmap import Rigid3d

from vizloc_ros.bags.bag_messages import pose_of_message, stamp_ns_of
from vizloc_ros.bags.opened import TYPES, BagTopic, OpenBag, open_bag
from vizloc_ros.errors import BagError, RosError

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
TF_TYPE, FIX_TYPE, IMU_TYPE = "tf2_msgs/msg/TFMessage", "sensor_msgs/msg/NavSatFix", "sensor_msgs/msg/Imu"
POSE_TYPES = ("geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PoseWithCovarianceStamped", "nav_msgs/msg/Odometry")


@dataclass(frozen=True)
class BagInfo:
    """Summary of a bag: first and last time [ns], and the topics by name."""

    start_ns: int
    end_ns: int
    topics: dict[str, BagTopic]

    @property
    def num_images(self) -> int:
        """Number of images, raw and compressed, on all topics."""
        return sum(topic.count for topic in self.topics.values() if topic.type_name in IMAGE_TYPES)

    def topics_of(self, *types: str) -> list[str]:
        """Names of the topics with messages of these types."""
        return [name for name, topic in self.topics.items() if topic.type_name in types and topic.count]


def read_info(path: Path) -> BagInfo:
    """Summary of a bag. Raises ``BagError`` if it cannot be read."""
    with open_bag(path) as bag:
        return BagInfo(bag.start_ns, bag.end_ns, bag.topics)


def read_messages(
    path: Path, topic: str, start_ns: int | None = None, stop_ns: int | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield (time in the bag [ns], message) of a topic of standard messages, in order of time.

    Args:
        path: the bag.
        topic: name of the topic.
        start_ns: first time in the bag to read [ns]; the bag's first by default.
        stop_ns: time in the bag to stop before [ns]; after the bag's last by default.

    Raises:
        BagError: the bag cannot be read, or lacks the topic; the message lists its topics.
    """
    with open_bag(path) as bag:
        yield from _messages(bag, path, topic, start_ns, stop_ns)


def _messages(
    bag: OpenBag, path: Path, topic: str, start_ns: int | None, stop_ns: int | None
) -> Iterator[tuple[int, Any]]:
    if topic not in bag.topics:
        raise BagError(f"{path}: the bag has no topic {topic}; there are: {', '.join(sorted(bag.topics)) or 'none'}")
    type_name = bag.topics[topic].type_name
    if type_name not in TYPES.types:
        raise BagError(f"{path}: {topic} has the type {type_name}, which is not a standard message")
    for _, time_ns, data in bag.messages([topic], start_ns, stop_ns):
        yield time_ns, TYPES.deserialize_cdr(data, type_name)


class MessageSource:
    """Messages of a topic one by one, from a bag that stays open: to open one may take seconds. Thread-safe."""

    def __init__(self, path: Path, topic: str) -> None:
        self._path, self._topic = path, topic
        self._lock = threading.Lock()
        self._reading: Generator[list[Any], int, None] | None = None
        self._process = 0

    def at(self, time_ns: int) -> list[Any]:
        """Return the messages at a time in the bag [ns]. Raises ``BagError`` as ``read_messages``."""
        with self._lock:
            if self._reading is None or self._process != os.getpid():  # no file is shared with a forked process
                self._reading, self._process = self._answers(), os.getpid()
                next(self._reading)
            try:
                return self._reading.send(time_ns)
            except BagError:
                self._reading = None
                raise

    def _answers(self) -> Generator[list[Any], int, None]:
        found: list[Any] = []
        with open_bag(self._path) as bag:
            while True:
                time_ns = yield found
                found = [message for _, message in _messages(bag, self._path, self._topic, time_ns, time_ns + 1)]


def read_poses(path: Path, topic: str = "/ground_truth/pose") -> dict[int, Rigid3d]:
    """Poses parent_from_child of a topic by the stamp of their header [ns], in the order of the bag.

    The topic has PoseStamped, PoseWithCovarianceStamped or Odometry. The ground truth of a bag written by this package
    is the pose of the camera in the map.

    Raises:
        BagError: the bag cannot be read, lacks the topic, or the topic has no poses.
    """
    poses: dict[int, Rigid3d] = {}
    for _, message in read_messages(path, topic):
        if message.__msgtype__ not in POSE_TYPES:
            raise BagError(
                f"{path}: {topic} has the type {message.__msgtype__}; expected one of {', '.join(POSE_TYPES)}"
            )
        pose = message.pose if message.__msgtype__ == POSE_TYPES[0] else message.pose.pose
        try:
            poses[stamp_ns_of(message.header)] = pose_of_message(pose)
        except RosError as error:
            raise BagError(f"{path}: {topic}: {error}") from error
    return poses
