"""Bag that is open for reading: rosbag2 (sqlite3 or mcap) or ROS 1, whose messages become those of ROS 2."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import apsw
from rosbags.convert.converter import is_same_wireformat, migrate_bytes
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection, ConnectionExtRosbag1, ConnectionExtRosbag2, QosDurability
from rosbags.rosbag1 import ReaderError as ReaderError1
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.errors import ReaderError as ReaderError2
from rosbags.rosbag2.reader import zstd  # type: ignore[attr-defined] # another module for each version of Python
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from vizloc_ros.bags.repair import NO_BAG, remedy, why_unreadable
from vizloc_ros.errors import BagError

TYPES = get_typestore(Stores.LATEST)
# Errors of rosbags about files that are cut off or were overwritten: when they are opened, and while they are read.
_OPENING_DAMAGE = (
    *(AnyReaderError, ReaderError1, ReaderError2, apsw.Error, zstd.ZstdError),
    *(OSError, EOFError, LookupError, TypeError, ValueError, AssertionError, MemoryError, RuntimeError),
)
_READING_DAMAGE = (AnyReaderError, ReaderError1, ReaderError2, apsw.Error, zstd.ZstdError, SerdeError)
_READING_DAMAGE_1 = (*_READING_DAMAGE, OSError, EOFError, LookupError, ValueError, AssertionError, RuntimeError)
_RENAMED = {"tf/msg/tfMessage": "tf2_msgs/msg/TFMessage"}  # types of ROS 1 that ROS 2 has under another name


@dataclass(frozen=True)
class BagTopic:
    """Message type of a topic as ROS 2 writes it, number of its messages, and whether it was recorded as latched."""

    type_name: str
    count: int
    latched: bool = field(default=False, compare=False)


class OpenBag:
    """Bag whose messages are read as CDR of ROS 2, whatever is in the file.

    Attributes:
        is_ros1: whether it was recorded with ROS 1.
        start_ns: time of the first message [ns].
        end_ns: time of the last message [ns].
        count: number of messages.
    """

    def __init__(self, path: Path, reader: Reader | AnyReader) -> None:
        self.is_ros1 = isinstance(reader, AnyReader)
        self._path, self._reader = path, reader
        self._converters: dict[str, Callable[[bytes], bytes]] = {}
        self.count: int = reader.message_count
        self.start_ns, self.end_ns = reader.start_time, reader.end_time - 1

    @cached_property
    def topics(self) -> dict[str, BagTopic]:
        """Topics by name. Of several types on one name, the one with the most messages counts."""
        kinds: dict[tuple[str, str], BagTopic] = {}
        for connection in self._reader.connections:
            name = _type_of(connection)
            before = kinds.get((connection.topic, name), BagTopic(name, 0))
            latched = before.latched or _is_latched(connection)
            kinds[connection.topic, name] = BagTopic(name, before.count + connection.msgcount, latched)
        ordered = sorted(kinds.items(), key=lambda item: item[1].count)
        found = {topic: kind for (topic, _), kind in ordered}
        return {topic: found[topic] for topic, _ in kinds}

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, time in the bag [ns], CDR bytes) in order of time, from start to before stop [ns].

        Messages of ROS 1 are converted. Their types must be those of ``TYPES``; others are left out.
        """
        wanted = [
            connection
            for connection in self._reader.connections
            if connection.topic in topics
            and _type_of(connection) == self.topics[connection.topic].type_name
            and (not self.is_ros1 or _type_of(connection) in TYPES.types)
        ]
        if not wanted:  # rosbags reads all connections if none is given
            return
        for connection, time_ns, data in self._reader.messages(wanted, start_ns, stop_ns):
            yield connection.topic, time_ns, self._converted(connection.msgtype, data) if self.is_ros1 else data

    def _converted(self, source: str, data: bytes) -> bytes:
        """CDR bytes of a message of ROS 1."""
        if source not in self._converters:
            self._converters[source] = _converter(self._reader.typestore, source)  # type: ignore[union-attr]
        return self._converters[source](data)


def _converter(types: Typestore, source: str) -> Callable[[bytes], bytes]:
    """Conversion of the messages of a ROS 1 type to CDR of ROS 2."""
    target = _RENAMED.get(source, source)
    if is_same_wireformat(types, TYPES, source, target):
        return lambda data: bytes(TYPES.ros1_to_cdr(data, target))
    cache: dict[str, object] = {}
    return lambda data: bytes(migrate_bytes(types, TYPES, source, target, cache, data, src_is2=False, dst_is2=True))


@contextmanager
def open_bag(path: Path) -> Iterator[OpenBag]:
    """Open a bag: a folder of rosbag2, one .db3 or .mcap file, or one .bag file of ROS 1 or a folder with its splits.

    Raises:
        BagError: it is missing, no bag, damaged (perhaps found only while it is read), or without messages; the text
            has the command that repairs it, where there is one.
    """
    if not path.exists():
        raise BagError(f"{path}: there is no such bag")
    ros1 = ros1_files(path)
    damage = _READING_DAMAGE_1 if ros1 else _READING_DAMAGE
    try:
        if problem := why_unreadable(path):
            raise BagError(f"{path}: {problem}")
        reader: Reader | AnyReader = AnyReader(ros1) if ros1 else Reader(path)
        reader.open()
    except FileNotFoundError as error:
        raise BagError(f"{path}: {NO_BAG}") from error
    except _OPENING_DAMAGE as error:
        raise BagError(f"{path}: the bag cannot be read: {error}{remedy(path)}") from error
    try:
        if not reader.message_count:
            raise BagError(f"{path}: the bag holds no message; was its recording stopped properly?{remedy(path)}")
        yield OpenBag(path, reader)
    except damage as error:
        raise BagError(f"{path}: the bag is damaged: {error}{remedy(path)}") from error
    finally:
        reader.close()


def ros1_files(path: Path) -> list[Path]:
    """Files of a bag of ROS 1: the file itself, or those of a folder without metadata.yaml; none of rosbag2."""
    if path.is_dir():
        return [] if (path / "metadata.yaml").exists() else sorted(path.glob("*.bag"))
    return [path] if path.suffix == ".bag" else []


def _type_of(connection: Connection) -> str:
    return _RENAMED.get(connection.msgtype, connection.msgtype)


def _is_latched(connection: Connection) -> bool:
    if isinstance(connection.ext, ConnectionExtRosbag1):
        return bool(connection.ext.latching)
    profiles = connection.ext.offered_qos_profiles if isinstance(connection.ext, ConnectionExtRosbag2) else []
    return any(profile.durability is QosDurability.TRANSIENT_LOCAL for profile in profiles)
