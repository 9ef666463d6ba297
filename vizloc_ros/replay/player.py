"""Player of bags through rclpy, for machines without ``ros2 bag``: in real time or scaled, with ``/clock``."""

from __future__ import annotations

import math
import struct
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from vizloc_ros.bags.bag_options import FASTEST_RATE, SLOWEST_RATE
from vizloc_ros.bags.opened import TYPES, BagTopic, open_bag
from vizloc_ros.errors import BagError, ConfigError, InputError, RosError
from vizloc_ros.ros.rclpy_errors import RCLError
from vizloc_ros.timing import NANOSECONDS

CLOCK_TOPIC = "/clock"
CLOCK_PERIOD_S = 0.05  # every node in Python needs a millisecond for every tick
# The clock starts before the first message: nodes get a time, and subscribers that are matched as seen from here finish
# matching on their side, which is not visible here (a best-effort one would lose the first message).
LEAD_IN_S = 0.5
LARGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/PointCloud2")
# Reliable offers match reliable and best-effort subscribers; the queues are short, because old images are of no use.
LARGE_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
SMALL_QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
LATCHED_QOS = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Names, without namespace, of topics that are published once and for those who subscribe later, too. A recorder that
# could not match their publisher, or a bag that was converted or filtered, has them as volatile.
LATCHED_NAMES = ("tf_static", "robot_description", "map", "map_metadata", "vector_map", "pointcloud_map")
CLOCK_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


@dataclass(frozen=True)
class Published:
    """Message that was published.

    Attributes:
        topic: name of the topic.
        stamp_ns: stamp of the header, or time in the bag if there is no header [ns].
        monotonic_ns: ``time.monotonic_ns()`` just before the publication.
    """

    topic: str
    stamp_ns: int
    monotonic_ns: int


class PublishedImages:
    """Images that were published.

    Attributes:
        count: their number.
        monotonic_ns: ``time.monotonic_ns()`` of the publication by stamp [ns], of the first with a stamp.
    """

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.count = 0
        self.monotonic_ns: dict[int, int] = {}

    def add(self, message: Published) -> None:
        """Note a message, if it is an image."""
        if message.topic == self._topic:
            self.count += 1
            self.monotonic_ns.setdefault(message.stamp_ns, message.monotonic_ns)


@dataclass
class Playback:
    """Number of published messages by topic, and of those that the middleware refused."""

    published: Counter[str] = field(default_factory=Counter)
    refused: int = 0


class BagPlayer:
    """Publisher of the messages in a bag, byte for byte, and of the bag's time on ``/clock``.

    Messages of a ROS 1 bag are converted. Topics that nodes expect to be latched are, whatever durability they were
    recorded with: ``/tf_static``, maps and ``robot_description``. The constructor publishes their messages up to the
    start, before the first message is played. The clock ticks every 50 ms, starts half a second early and is never
    behind the messages; with ``loop`` it jumps back at each turn. A ``/clock`` in the bag is not played.

    Attributes:
        skipped: topics whose message type is not installed, with the type.
    """

    def __init__(
        self,
        node: Any,
        path: Path,
        *,
        rate: float = 1.0,
        loop: bool = False,
        start_offset_s: float = 0.0,
        delay_s: float = 0.0,
        leave_out: Collection[str] = (),
        on_published: Callable[[Published], None] | None = None,
    ) -> None:
        """Create the publishers.

        Args:
            node: ``rclpy`` node for the publishers; it need not be spun.
            path: the bag.
            rate: speed of the replay, 1 is real time.
            loop: whether to start over at the end until ``stop``.
            start_offset_s: time from the begin of the bag to the first message to play [s].
            delay_s: time that ``play`` waits before it begins, once [s].
            leave_out: topics that are not played.
            on_published: called after each message, in the thread of ``play``.

        Raises:
            BagError: the bag cannot be read, or nothing in it can be published.
            ConfigError: the rate or the delay is out of range.
            InputError: the bag ends before the offset.
        """
        with open_bag(path) as bag:
            begin_ns, end_ns, topics, is_ros1 = bag.start_ns, bag.end_ns, bag.topics, bag.is_ros1
        length_s = (end_ns - begin_ns) / NANOSECONDS
        if not SLOWEST_RATE <= rate <= FASTEST_RATE:
            raise ConfigError(f"the rate is {rate:g}; it must be from {SLOWEST_RATE:g} to {FASTEST_RATE:g}")
        if not 0.0 <= start_offset_s <= length_s:
            raise InputError(f"the start is at {start_offset_s:g} s, but {path} is {length_s:g} s long")
        if not 0.0 <= delay_s < math.inf:
            raise ConfigError(f"the delay is {delay_s:g} s; it must be 0 or more")
        self._node, self._path, self._rate, self._loop, self._delay_s = node, path, rate, loop, delay_s
        self._start_ns, self._end_ns = begin_ns + round(start_offset_s * NANOSECONDS), end_ns
        self._on_published = on_published
        self._stop = Event()
        self._clock_ns = -1
        self._playback = Playback()
        self._clock = node.create_publisher(Clock, CLOCK_TOPIC, CLOCK_QOS)
        self._stamped: set[str] = set()
        self.skipped: dict[str, str] = {}
        self._publishers: dict[str, Any] = {}
        played = {name: kind for name, kind in topics.items() if name not in (CLOCK_TOPIC, *leave_out)}
        self._latched = {name for name, kind in played.items() if _is_latched(name, kind)}
        for name, kind in played.items():
            if is_ros1 and kind.type_name not in TYPES.types:
                self.skipped[name] = kind.type_name
            else:
                self._advertise(name, kind.type_name)
        if not self._publishers:
            raise BagError(f"{path}: no message type of the bag is installed here: {', '.join(self.skipped.values())}")
        for name, stamp_ns, data in self._messages(self._latched, begin_ns, self._start_ns + 1):
            self._publish(name, stamp_ns, data)

    def wait_for_subscribers(self, expected: Mapping[str, int], timeout_s: float = 10.0) -> None:
        """Wait until each topic has the expected number of subscribers.

        Raises:
            RosError: a topic does not have them in time, or is not played.
        """
        deadline = time.monotonic() + timeout_s
        for topic, count in expected.items():
            if topic not in self._publishers:
                raise RosError(f"{topic} is not played from {self._path}; there are: {', '.join(self._publishers)}")
            publisher = self._publishers[topic]
            while publisher.get_subscription_count() < count and not self._stop.is_set():
                if time.monotonic() > deadline:
                    raise RosError(
                        f"{topic} has {publisher.get_subscription_count()} of {count} subscribers "
                        f"after {timeout_s:g} s: are the nodes running, with this topic and ROS_DOMAIN_ID?"
                    )
                self._stop.wait(0.01)

    def play(self) -> Playback:
        """Play until the end, ``stop``, or the shutdown of ROS; return the counts, latched messages included.

        Raises:
            BagError: the bag is damaged.
        """
        begin = time.monotonic() + self._delay_s
        while (left_s := begin - time.monotonic()) > 0 and self._goes_on():
            self._stop.wait(min(left_s, 0.1))  # a shutdown of ROS is to be seen, too
        while self._play_once() and self._loop:
            pass
        return self._playback

    def stop(self) -> None:
        """End ``play`` and ``wait_for_subscribers``, from any thread."""
        self._stop.set()

    def close(self) -> None:
        """Destroy the publishers; later subscribers get no latched messages."""
        self.stop()
        for publisher in (self._clock, *self._publishers.values()):
            self._node.destroy_publisher(publisher)
        self._publishers = {}

    def _play_once(self) -> bool:
        """Play the bag from its start once; return whether the end was reached."""
        messages = self._messages(self._publishers.keys(), self._start_ns, self._end_ns + 1)
        first = next(messages, None)  # opens the bag, which takes time, before the clock starts
        started = time.monotonic() + LEAD_IN_S
        self._clock_ns = -1
        for topic, stamp_ns, data in chain([first] if first else [], messages):
            if topic in self._latched and stamp_ns <= self._start_ns:
                continue
            if not self._run_clock_until(stamp_ns, started):
                return False
            self._publish(topic, stamp_ns, data)
        return self._run_clock_until(self._end_ns, started)

    def _run_clock_until(self, stamp_ns: int, started: float) -> bool:
        """Publish the bag's time until a time [ns]; return False if ``stop`` or the shutdown came first."""
        while self._goes_on():
            now_ns = max(0, self._start_ns + int((time.monotonic() - started) * self._rate * NANOSECONDS))
            due = now_ns >= stamp_ns
            self._publish_clock(stamp_ns if due else now_ns)
            if due:
                return True
            self._stop.wait(min(CLOCK_PERIOD_S, (stamp_ns - now_ns) / NANOSECONDS / self._rate))
        return False

    def _goes_on(self) -> bool:
        return self._node.context.ok() and not self._stop.is_set()

    def _publish_clock(self, now_ns: int) -> None:
        if now_ns <= self._clock_ns:
            return
        self._clock_ns = now_ns
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(now_ns, NANOSECONDS)
        try:
            self._clock.publish(message)
        except RCLError:
            self._playback.refused += 1

    def _publish(self, topic: str, stamp_ns: int, data: bytes) -> None:
        event = Published(topic, _header_stamp_ns(data) if topic in self._stamped else stamp_ns, time.monotonic_ns())
        try:
            self._publishers[topic].publish(data)
        except RCLError:  # the middleware's queue is full, or ROS was shut down
            self._playback.refused += 1
            return
        self._playback.published[topic] += 1
        if self._on_published is not None:
            self._on_published(event)

    def _messages(self, topics: Collection[str], start_ns: int, stop_ns: int) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, time in the bag [ns], CDR bytes) in order of time, from start to before stop [ns]."""
        with open_bag(self._path) as bag:
            yield from bag.messages([topic for topic in topics if topic in self._publishers], start_ns, stop_ns)

    def _advertise(self, topic: str, type_name: str) -> None:
        message_type = _installed_type(type_name)
        if message_type is None:
            self.skipped[topic] = type_name
            return
        if next(iter(message_type.get_fields_and_field_types().values()), "") == "std_msgs/Header":
            self._stamped.add(topic)
        qos = LARGE_QOS if type_name in LARGE_TYPES else SMALL_QOS
        if topic in self._latched:
            qos = LATCHED_QOS
        self._publishers[topic] = self._node.create_publisher(message_type, topic, qos)


def _installed_type(name: str) -> Any:
    """Class of ``package/msg/Type``; None if it is not installed."""
    package, _, type_name = name.rpartition("/")
    try:
        return getattr(import_module(package.replace("/", ".")), type_name)
    except (ImportError, AttributeError, ValueError):
        return None


def _is_latched(name: str, topic: BagTopic) -> bool:
    return topic.latched or name.rpartition("/")[2] in LATCHED_NAMES


def _header_stamp_ns(data: bytes) -> int:
    """Stamp [ns] of a CDR message that begins with a header; its second byte is the byte order."""
    try:
        seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    except (struct.error, IndexError) as error:
        raise BagError(f"a message of {len(data)} bytes is too short for its header: the bag is damaged") from error
    return int(seconds) * NANOSECONDS + int(nanoseconds)
