"""Small bags of a car in the synthetic street, with what cars have: positions, odometry, another clock, or no poses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bag_helpers import TRUTH, Change, copied, empty, fix_of, imu_message, rewrite, without
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.bags.bag_messages import fix_message, header, make, pose_message, pose_of_message, stamp_ns_of
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import Mounting
from vizloc_ros.datasets.synthetic import open_synthetic
from vizloc_ros.geometry.poses import BODY_FROM_OPTICAL

BASE_FROM_CAM = Rigid3d(BODY_FROM_OPTICAL.rotation, np.array([0.0, 0.0, 1.5]))  # a camera on the roof
LATE_NS = 80_000_000
DRIFT = 1.02, 0.002  # scale of the distance, turn of an image [rad]
Messages = Callable[[int, int, Rigid3d], list[tuple[str, Any]]]  # of index, stamp [ns] and world_from_base


def instead_of_truth(messages: Messages) -> Change:
    """The bag with messages of the true pose of the vehicle at each image."""

    def change(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
        if topic != TRUTH:
            return [(topic, message)]
        return messages(index, stamp_ns_of(message.header), pose_of_message(message.pose) * BASE_FROM_CAM.inverse())

    return change


def gnss(index: int, stamp: int, pose: Rigid3d) -> list[tuple[str, Any]]:
    """Position of a receiver, and rotation of an Imu."""
    fix = fix_message(fix_of(pose.translation, stamp), header(stamp, "base_link"))
    return [("/fix", fix), ("/imu", imu_message(pose.rotation, header(stamp, "base_link")))]


def late(index: int, stamp: int, pose: Rigid3d) -> list[tuple[str, Any]]:
    """Pose of a clock that is late."""
    return [("/trajectory", pose_message(pose, header(stamp + LATE_NS, "map")))]


def odometry() -> Messages:
    """Odometry that drifts, from the first pose on."""
    scale, turn = DRIFT
    first: list[Rigid3d] = []

    def messages(index: int, stamp: int, pose: Rigid3d) -> list[tuple[str, Any]]:
        first.append(pose)
        moved = first[0].inverse() * pose
        drifted = Rigid3d(Rotation3d(np.array([0, 0, turn * index])) * moved.rotation, scale * moved.translation)
        at = header(stamp, "odom")
        posed = make(
            "geometry_msgs/msg/PoseWithCovariance", pose=pose_message(drifted, at).pose, covariance=np.zeros(36)
        )
        fields = {"header": at, "child_frame_id": "base_link", "pose": posed}
        return [("/odom", copied(empty("nav_msgs/msg/Odometry"), **fields))]

    return messages


def write_car_bags(folder: Path) -> None:
    """Write ``gnss``, ``odometry``, ``late`` and ``images``: 15 m, from a straight into a curve."""
    records = open_synthetic("length=30&width=320&height=200").records("map")[24:54]
    write_bag([replace(record, mounting=Mounting("", BASE_FROM_CAM)) for record in records], folder / "car")
    rewrite(folder / "car", folder / "gnss", instead_of_truth(gnss))
    rewrite(folder / "car", folder / "late", instead_of_truth(late))
    rewrite(folder / "car", folder / "odometry", instead_of_truth(odometry()))
    rewrite(folder / "car", folder / "images", without(TRUTH))
