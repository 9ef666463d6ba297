"""Tracker node with a gyroscope on imu, around a corner: no image is lost, whether it is right or wrong."""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from node_helpers import COMPOSED, Bench, bench
from pixloc_helpers import LONG_SIDE, in_memory, truth, with_references
from rclpy.publisher import Publisher
from sensor_msgs.msg import Imu
from std_srvs.srv import Trigger

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import open_synthetic
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.se3 import so3_log
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.ros.messages import header_of
from vizloc_ros.ros.qos import RATES

pytestmark = [pytest.mark.ros, pytest.mark.alone]
CORNER = slice(31, 48)  # from where the street turns at up to 40 deg/s
HZ, NS = 200, 1_000_000_000
TRACKER = {"use_imu": True, "long_side": LONG_SIDE, "threads": 1}
Wrong = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def lap(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """Map of a corner of the street, and the images of another lap around it."""
    dataset, folder = open_synthetic("width=400&height=250"), tmp_path_factory.mktemp("corner")
    records = dataset.records("map")[CORNER]
    build_map(records, open_extractor("rootsift"), folder / "plain", dataset=dataset.name)
    queries = [in_memory(record) for record in dataset.records("query")[CORNER][1:-1]]
    return with_references(folder / "plain", records, folder / "map"), queries


@pytest.fixture(scope="module")
def running(lap: tuple[Path, list[Record]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    log = tmp_path_factory.mktemp("log") / "log"
    with bench(lap[0], log, COMPOSED, tracking=True, pixloc_tracker=TRACKER) as made:
        yield made


@pytest.fixture(scope="module")
def imu(running: Bench) -> Publisher:
    publisher = running.node.create_publisher(Imu, "imu", RATES)
    running.spin_until(lambda: publisher.get_subscription_count() > 0)
    return publisher


def send_rates(running: Bench, imu: Publisher, rate: np.ndarray, frame: str = "base_link") -> None:
    """The rates of the tenth of a second before the next image, in that time."""
    begun = time.monotonic()
    for k in range(1, HZ // 10 + 1):
        msg = Imu(header=header_of(running.stamp_ns + k * NS // HZ, frame))
        msg.angular_velocity.x, msg.angular_velocity.y, msg.angular_velocity.z = map(float, rate)
        imu.publish(msg)
    running.spin_until(lambda: time.monotonic() - begun >= 0.1)


def settle(running: Bench, imu: Publisher, record: Record) -> None:
    """Send one image until the tracker tracks; the camera stands."""
    running.send_camera_info(record)
    running.recorder.tracked.clear()
    for _ in range(40):
        send_rates(running, imu, np.zeros(3))
        stamp = running.send_image(record.read_image())
        try:
            running.spin_until(lambda stamp=stamp: stamp in running.recorder.tracked, timeout_s=0.5)  # type: ignore[misc]
        except AssertionError:
            continue
        return
    raise AssertionError(f"not tracking: {running.recorder.messages[-5:]}")


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        (lambda rate: rate + np.radians([0.5, -0.3, 0.2]), ""),
        (lambda rate: 2 * rate, "the gyroscope is left out until it agrees again"),
        (lambda rate: np.zeros(3), "the gyroscope is left out until it agrees again"),
    ],
    ids=["good", "x 2", "stuck"],
)
def test_every_image_of_a_corner_is_tracked(
    running: Bench, imu: Publisher, lap: tuple[Path, list[Record]], told: Wrong, problem: str
) -> None:
    running.call(Trigger, "pixloc_tracker/reset")
    _, records = lap
    settle(running, imu, records[0])
    running.forget()
    for before, record in pairwise(records):
        rate = so3_log(truth(before).rotation.inverse() * truth(record).rotation) * 10
        send_rates(running, imu, told(rate))
        stamp = running.send_image(record.read_image())
        running.spin_until(lambda stamp=stamp: stamp in running.recorder.tracked, timeout_s=10.0)  # type: ignore[misc]
        error, angle = pose_error(running.recorder.tracked[stamp].map_from_base, truth(record))
        assert error < 0.25
        assert angle < 1.0
    if problem:
        running.expect_complaint("pixloc_tracker", problem, level=b"\x01")
    assert bool(problem) is any("gyroscope" in text for _, _, text in running.recorder.messages)


def test_an_imu_without_a_transform_is_named(running: Bench, imu: Publisher, lap: tuple[Path, list[Record]]) -> None:
    settle(running, imu, lap[1][0])
    send_rates(running, imu, np.zeros(3), "loose_imu")
    running.send_image(lap[1][0].read_image())
    running.expect_complaint("pixloc_tracker", "/imu", "loose_imu", "/tf_static", level=b"\x01")
