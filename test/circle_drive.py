"""Drive on a circle as a bag: noise for images, known poses at any time, and messages of every kind for them."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from bag_helpers import TRUTH, Change, copied, fix_of, imu_message
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.bags.bag_messages import fix_message, header, pose_message, stamp_ns_of, transform_message
from vizloc_ros.datasets.record import Dataset, Mounting, RawImage, Record
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import BODY_FROM_OPTICAL, pose_error
from vizloc_ros.geometry.rectification import DistortedCamera, Rectifier

LENS = DistortedCamera(PinholeCamera(64, 40, 50.0, 51.0, 31.5, 19.5), (-0.2, 0.05, 0.001, -0.001, 0.0))
RECTIFIER = Rectifier(LENS)
BASE_FROM_CAM = Rigid3d(BODY_FROM_OPTICAL.rotation, np.array([1.0, 0.2, 1.5]))
FRONT = Mounting("", BASE_FROM_CAM)
START_NS, PERIOD_NS = 1_700_000_000_000_000_000, 100_000_000
COUNT = 20
FRAME = "camera_optical_frame"
RADIUS_M, SPEED_MPS = 20.0, 10.0
MAP_FROM_ODOM = Rigid3d(Rotation3d(np.array([0, 0, 0.7])), np.array([5.0, -3.0, 0.0]))


def world_from_base(seconds: float) -> Rigid3d:
    """A drive on a circle, first to the east."""
    turn = SPEED_MPS / RADIUS_M * seconds
    position = RADIUS_M * np.array([np.sin(turn), 1 - np.cos(turn), 0.0])
    return Rigid3d(Rotation3d(np.array([0, 0, turn])), position)


def make_image(index: int) -> Any:
    return np.random.default_rng(index).integers(0, 255, (40, 64), np.uint8)


def make_record(index: int, mounting: Mounting = FRONT) -> Record:
    assert mounting.base_from_cam is not None
    image = make_image(index)
    return Record(
        f"{index}.png",
        START_NS + index * PERIOD_NS,
        RECTIFIER.rectified,
        "query",
        world_from_base(index / 10) * mounting.base_from_cam,
        lambda: RECTIFIER.rectify(image),
        mounting=mounting,
        raw=RawImage(LENS, lambda: image),
    )


def with_messages(make_messages: Callable[[], Iterable[tuple[str, Any]]]) -> Change:
    """The bag with messages instead of its ground truth."""

    def change(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
        if topic != TRUTH:
            return [(topic, message)]
        return list(make_messages()) if index == 0 else []

    return change


def at_times(period_ms: int = 30) -> list[tuple[int, float]]:
    """Stamps [ns] and seconds from the first image: from before it to after the last one."""
    return [(START_NS + ms * 1_000_000, ms / 1000) for ms in range(-100, 2200, period_ms)]


def poses() -> list[tuple[str, Any]]:
    return [("/trajectory", pose_message(world_from_base(t), header(stamp, "map"))) for stamp, t in at_times()]


def stamped_later(message: Any, shift_ns: int) -> Any:
    """The message with a later stamp."""
    return copied(message, header=header(stamp_ns_of(message.header) + shift_ns, message.header.frame_id))


def transforms() -> list[tuple[str, Any]]:
    """Odometry of 30 ms, and its correction twice."""
    found = [
        ("/tf", transform_message(MAP_FROM_ODOM.inverse() * world_from_base(t), "base_link", header(stamp, "odom")))
        for stamp, t in at_times()
    ]
    corrections = [
        (
            "/tf",
            transform_message(MAP_FROM_ODOM * Rigid3d(Rotation3d(), np.array([0, 0, dz])), "odom", header(s, "map")),
        )
        for s, dz in ((START_NS - 100_000_000, 0.002), (START_NS, 0.0))
    ]
    return [*corrections, *found]


def fixes(antenna: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> list[tuple[str, Any]]:
    return [
        ("/fix", fix_message(fix_of(world_from_base(t) * np.array(antenna), stamp), header(stamp, "gps")))
        for stamp, t in at_times(50)
    ]


def imu(yaw: float = 0.0, topic: str = "/imu", sign: float = 1.0) -> list[tuple[str, Any]]:
    return [
        (topic, imu_message(Rotation3d(np.array([0, 0, sign * SPEED_MPS / RADIUS_M * t + yaw])), header(stamp, "imu")))
        for stamp, t in at_times(10)
    ]


def largest_error(dataset: Dataset, split: str = "all", starts_at: float | None = None) -> tuple[float, float]:
    """Largest errors of the poses [m], [deg], in a world that begins at the vehicle at a time; all images have one."""
    origin = np.zeros(3) if starts_at is None else world_from_base(starts_at).translation
    errors = []
    for record in dataset.records(split):
        assert record.world_from_cam is not None
        truth = world_from_base((record.timestamp_ns - START_NS) / 1e9) * BASE_FROM_CAM
        truth = Rigid3d(truth.rotation, truth.translation - origin)
        errors.append(pose_error(record.world_from_cam, truth))
    translations, rotations = zip(*errors, strict=True)
    return max(translations), max(rotations)
