"""Players of bags: a played bag arrives completely, at its rate, and what is latched reaches late subscribers."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from noise_drive import PERIOD_NS, START_NS, make_records
from rosbags.rosbag2 import Writer

from vizloc_ros.bags.bag_messages import TYPES, header
from vizloc_ros.bags.writer import qos, write_bag
from vizloc_ros.errors import BagError, ConfigError, RosError
from vizloc_ros.geometry.camera import PinholeCamera

pytestmark = pytest.mark.e2e

SUBSCRIBER = """
import json, sys, time
import rclpy
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

expected, stamps, sums, clock = int(sys.argv[1]), [], [], []
def on_image(message):
    stamps.append(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)
    sums.append(sum(message.data))
def on_clock(message):
    clock.append(message.clock.sec * 10**9 + message.clock.nanosec)
rclpy.init()
node = rclpy.create_node("subscriber")
node.create_subscription(Clock, "/clock", on_clock, 1000)
node.create_subscription(Image, "/camera/image", on_image, qos_profile_sensor_data)
deadline = time.monotonic() + 40
while len(stamps) < expected and time.monotonic() < deadline:
    rclpy.spin_once(node, timeout_sec=0.2)
rclpy.try_shutdown()
print(json.dumps({"stamps": stamps, "sums": sums, "clock": clock}))
"""


@contextmanager
def player_of(bag: Path, **options: Any) -> Iterator[Any]:
    """Player in a context of its own."""
    helpers = pytest.importorskip("ros_helpers", reason="ROS 2 (rclpy) is not installed")
    from vizloc_ros.replay.player import BagPlayer

    with helpers.ros_nodes("bag_player") as (node,):
        player = BagPlayer(node, bag, **options)
        try:
            yield player
        finally:
            player.close()


@pytest.mark.ros
@pytest.mark.alone
def test_a_camera_at_10_hz_arrives_completely_in_another_process(tmp_path: Path) -> None:
    camera = PinholeCamera(640, 400, 500.0, 500.0, 319.5, 199.5)
    records = make_records(30, camera)
    write_bag(records, tmp_path / "bag")
    published: list[Any] = []
    with player_of(tmp_path / "bag", on_published=published.append) as player:
        command = [sys.executable, "-c", SUBSCRIBER, str(len(records))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as subscriber:
            player.wait_for_subscribers({"/camera/image": 1}, timeout_s=20.0)
            started = time.monotonic()
            playback = player.play()
            elapsed = time.monotonic() - started
            output, _ = subscriber.communicate(timeout=60)
    received = json.loads(output)
    assert received["stamps"] == [record.timestamp_ns for record in records]
    assert received["sums"] == [int(record.read_image().sum()) for record in records]
    assert playback.published["/camera/image"] == len(records)
    assert playback.refused == 0
    assert 3.39 < elapsed < 7  # half a second of lead-in; upwards there is room for a busy machine
    clock = np.array(received["clock"])
    assert (np.diff(clock) > 0).all()
    assert len(clock) > 15 * 2.9
    images = [event for event in published if event.topic == "/camera/image"]
    assert [event.stamp_ns for event in images] == received["stamps"]
    gaps_ms = np.diff([event.monotonic_ns for event in images]) / 1e6
    assert np.median(gaps_ms) == pytest.approx(100, abs=20)


@pytest.mark.ros
@pytest.mark.alone
def test_playing_faster_and_from_later(tmp_path: Path) -> None:
    records = make_records(40)
    write_bag(records, tmp_path / "bag")
    published: list[Any] = []
    with player_of(tmp_path / "bag", rate=4.0, start_offset_s=2.0, on_published=published.append) as player:
        started = time.monotonic()
        playback = player.play()
        elapsed = time.monotonic() - started
    images = [event.stamp_ns for event in published if event.topic == "/camera/image"]
    assert images == [record.timestamp_ns for record in records[20:]]
    assert playback.published["/camera/camera_info"] == 20
    assert 0.5 + 1.9 / 4 < elapsed < 2.0


@pytest.mark.ros
def test_a_delay_comes_before_the_first_message_and_can_be_stopped(bag: Path) -> None:
    published: list[Any] = []
    with player_of(bag, rate=100.0, delay_s=1.0, on_published=published.append) as player:
        latched, started = len(published), time.monotonic_ns()
        player.play()
        assert (published[latched].monotonic_ns - started) * 1e-9 > 1.0
    with player_of(bag, delay_s=300.0) as player:
        thread = threading.Thread(target=player.play)
        thread.start()
        player.stop()
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.ros
def test_latched_topics_reach_late_subscribers_wherever_playing_starts(tmp_path: Path) -> None:
    helpers = pytest.importorskip("ros_helpers", reason="ROS 2 (rclpy) is not installed")
    from std_msgs.msg import Header

    from vizloc_ros.replay.player import LATCHED_QOS

    bag, name = tmp_path / "bag", "std_msgs/msg/Header"
    with Writer(bag, version=8) as writer:
        latched = writer.add_connection("/latched", name, typestore=TYPES, offered_qos_profiles=[qos(latched=True)])
        other = writer.add_connection("/other", name, typestore=TYPES, offered_qos_profiles=[qos(latched=False)])
        for index in range(3):
            data = TYPES.serialize_cdr(header(START_NS, f"frame {index}"), name)
            for connection in (latched, other):
                writer.write(connection, START_NS + index * PERIOD_NS, data)
    published: list[Any] = []
    received: list[str] = []
    with (
        player_of(bag, start_offset_s=0.1, on_published=published.append) as player,
        helpers.ros_nodes("late") as (node,),
    ):
        assert [(event.topic, event.stamp_ns) for event in published] == [
            ("/latched", START_NS),
            ("/latched", START_NS + PERIOD_NS),
        ]
        node.create_subscription(Header, "/latched", lambda message: received.append(message.frame_id), LATCHED_QOS)
        helpers.spin_until(lambda: len(received) == 2, node)
        assert player.play().published == {"/latched": 3, "/other": 2}
        helpers.spin_until(lambda: len(received) == 3, node)
    assert received == ["frame 0", "frame 1", "frame 2"]


@pytest.mark.ros
@pytest.mark.parametrize("name", ["/tf_static", "/robot1/tf_static", "/map", "/robot_description"])
def test_what_nodes_expect_latched_reaches_late_subscribers_although_it_was_recorded_volatile(
    tmp_path: Path, name: str
) -> None:
    helpers = pytest.importorskip("ros_helpers", reason="ROS 2 (rclpy) is not installed")
    from std_msgs.msg import Header

    from vizloc_ros.ros.qos import LATCHED

    kind = "std_msgs/msg/Header"
    with Writer(tmp_path / "bag", version=8) as writer:
        for topic in (name, "/other"):
            profiles = [qos(latched=False)]
            connection = writer.add_connection(topic, kind, typestore=TYPES, offered_qos_profiles=profiles)
            writer.write(connection, START_NS, TYPES.serialize_cdr(header(START_NS, topic), kind))
    received: list[str] = []
    with player_of(tmp_path / "bag") as player, helpers.ros_nodes("late") as (node,):
        player.play()
        for topic in (name, "/other"):
            node.create_subscription(Header, topic, lambda message: received.append(message.frame_id), LATCHED)
        helpers.spin_until(lambda: bool(received), node)
    assert received == [name]


@pytest.mark.ros
def test_a_loop_ends_when_it_is_stopped(bag: Path) -> None:
    turned = threading.Event()
    counter: Counter[int] = Counter()

    def count(event: Any) -> None:
        counter[event.stamp_ns] += 1
        if counter[START_NS + PERIOD_NS] >= 4:  # camera_info and image, twice
            turned.set()

    with player_of(bag, rate=20.0, loop=True, on_published=count) as player:
        thread = threading.Thread(target=player.play)
        thread.start()
        assert turned.wait(10)
        player.stop()
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.ros
def test_types_that_are_not_installed_are_skipped_and_listed(bag: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    with Writer(mixed, version=8) as writer:
        data = TYPES.serialize_cdr(header(START_NS, "map"), "std_msgs/msg/Header")
        for topic, name in {"/known": "std_msgs/msg/Header", "/strange": "no_such_msgs/msg/Thing"}.items():
            connection = writer.add_connection(topic, name, msgdef="int32 x", rihs01="RIHS01_0")
            writer.write(connection, START_NS, data)
    with player_of(mixed) as player:
        assert player.skipped == {"/strange": "no_such_msgs/msg/Thing"}
        assert player.play().published == {"/known": 1}


@pytest.mark.ros
def test_a_player_refuses_what_makes_no_sense(bag: Path) -> None:
    wrong_times = [{"start_offset_s": 9.0}, {"start_offset_s": -1.0}, {"delay_s": -1.0}, {"delay_s": float("inf")}]
    for options in ({"rate": 0.0}, {"rate": float("nan")}, *wrong_times):
        with pytest.raises(ConfigError), player_of(bag, **options):
            pass
    with player_of(bag) as player:
        with pytest.raises(RosError, match=r"/camera/image has 0 of 1 subscribers after 0\.1 s"):
            player.wait_for_subscribers({"/camera/image": 1}, timeout_s=0.1)
        with pytest.raises(RosError, match="/nope is not played"):
            player.wait_for_subscribers({"/nope": 1})
    with pytest.raises(BagError, match="there is no such bag"), player_of(bag.parent / "nowhere"):
        pass
