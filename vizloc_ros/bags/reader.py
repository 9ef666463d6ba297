"""Reads rosbag2 bags (sqlite3 or mcap); whatever is wrong with one is a ``BagError`` that names it."""

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
# What rosbags raises about files that are cut off or were overwritten: as soon as they are opened, and while read.
OPENING_DAMAGE = (ReaderError, apsw.Error, OSError, KeyError, TypeError, ValueError, AssertionError, MemoryError)
READING_DAMAGE = (ReaderError, apsw.Error, SerdeError)


@dataclass(frozen=True)
class BagTopic:
    """Type and number of messages of a topic."""

    type_name: str
    count: int


@dataclass(frozen=True)
class BagInfo:
    """What is in a bag: first and last time [ns], and the topics by name."""

    start_ns: int
    end_ns: int
    topics: dict[str, BagTopic]

    @property
    def num_images(self) -> int:
        """The images, raw and compressed, on all topics."""
        return sum(topic.count for topic in self.topics.values() if topic.type_name in IMAGE_TYPES)


@contextmanager
def open_bag(path: Path) -> Iterator[Reader]:
    """Opens a bag, a folder or a single .db3 or .mcap file, for reading.

    Raises:
        BagError: it is missing, no bag, damaged (then maybe only while it is read), or holds no message.
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
    """What is in a bag. Raises ``BagError``."""
    with open_bag(path) as reader:
        topics = {name: BagTopic(info.msgtype or "", info.msgcount) for name, info in reader.topics.items()}
        return BagInfo(reader.start_time, reader.end_time - 1, topics)


def read_messages(path: Path, topic: str) -> Iterator[tuple[int, Any]]:
    """Yields (time in the bag [ns], message) of a topic of standard messages.

    Raises:
        BagError: the bag cannot be read or lacks the topic; it lists the topics there are.
    """
    with open_bag(path) as reader:
        connections = [connection for connection in reader.connections if connection.topic == topic]
        if not connections:
            there = ", ".join(sorted({connection.topic for connection in reader.connections}))
            raise BagError(f"{path}: the bag has no topic {topic}; there are: {there or 'none'}")
        unknown = [connection.msgtype for connection in connections if connection.msgtype not in TYPES.types]
        if unknown:
            raise BagError(f"{path}: {topic} has the type {unknown[0]}, which is not a standard message")
        for connection, stamp_ns, data in reader.messages(connections):
            yield stamp_ns, TYPES.deserialize_cdr(data, connection.msgtype)


def read_poses(path: Path, topic: str = "/ground_truth/pose") -> dict[int, Rigid3d]:
    """Poses parent_from_child by the stamp of their header [ns], in the order of the bag.

    Takes PoseStamped, PoseWithCovarianceStamped and Odometry. A written bag's ground truth is map_from_cam.

    Raises:
        BagError: the bag cannot be read, lacks the topic, or the topic carries no poses.
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
