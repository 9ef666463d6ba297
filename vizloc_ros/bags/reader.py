"""Reader of rosbag2 bags (sqlite3 or mcap); every problem of a bag is a ``BagError`` that names it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
from pycolmap import Rigid3d
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.errors import ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from vizloc_ros.bags.bag_messages import pose_of_message, stamp_ns_of
from vizloc_ros.errors import BagError

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
POSE_TYPES = ("geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PoseWithCovarianceStamped", "nav_msgs/msg/Odometry")
TYPES = get_typestore(Stores.LATEST)
# Errors of rosbags about files that are cut off or were overwritten: when they are opened, and while they are read.
OPENING_DAMAGE = (ReaderError, apsw.Error, OSError, KeyError, TypeError, ValueError, AssertionError, MemoryError)
READING_DAMAGE = (ReaderError, apsw.Error, SerdeError)


@dataclass(frozen=True)
class BagTopic:
    """Message type of a topic, and number of its messages."""

    type_name: str
    count: int


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


@contextmanager
def open_bag(path: Path) -> Iterator[Reader]:
    """Open a bag, a folder or a single .db3 or .mcap file, for reading.

    Raises:
        BagError: it is missing, no bag, damaged (perhaps found only while it is read), or without messages.
    """
    if not path.exists():
        raise BagError(f"{path}: there is no such bag")
    try:
        reader = Reader(path)
        reader.open()
    except FileNotFoundError as error:
        raise BagError(f"{path}: not a rosbag2: a folder with metadata.yaml, or a .db3 or .mcap file") from error
    except OPENING_DAMAGE as error:
        raise BagError(f"{path}: the bag cannot be read: {error}") from error
    try:
        if not reader.message_count:
            raise BagError(f"{path}: the bag holds no message; was its recording stopped properly?")
        yield reader
    except READING_DAMAGE as error:
        raise BagError(f"{path}: the bag is damaged: {error}") from error
    finally:
        reader.close()


def read_info(path: Path) -> BagInfo:
    """Summary of a bag. Raises ``BagError`` if it cannot be read."""
    with open_bag(path) as reader:
        topics = {name: BagTopic(info.msgtype or "", info.msgcount) for name, info in reader.topics.items()}
        return BagInfo(reader.start_time, reader.end_time - 1, topics)


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
    with open_bag(path) as reader:
        connections = [connection for connection in reader.connections if connection.topic == topic]
        if not connections:
            topics = ", ".join(sorted({connection.topic for connection in reader.connections}))
            raise BagError(f"{path}: the bag has no topic {topic}; there are: {topics or 'none'}")
        unknown = [connection.msgtype for connection in connections if connection.msgtype not in TYPES.types]
        if unknown:
            raise BagError(f"{path}: {topic} has the type {unknown[0]}, which is not a standard message")
        for connection, time_ns, data in reader.messages(connections, start_ns, stop_ns):
            yield time_ns, TYPES.deserialize_cdr(data, connection.msgtype)


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
        poses[stamp_ns_of(message.header)] = pose_of_message(pose)
    return poses
