"""Drives of the Oxford RobotCar, as recorded, made of records: raw images, lookup tables of the SDK, and ins.csv."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from reprojection import raw_image
from sfm_helpers import write_image

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.robotcar_poses import ORIGIN, read_extrinsics
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_from_matrix

_DISTORTION = np.array([-0.1, 0.01, 0.0, 0.0])  # of OpenCV; a barrel, so that the raw image fills the rectified one
_MODEL_MATRIX = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
_EXTRINSICS = {"stereo": "0 0 0 0 0 0", "ins": "-1.7132 0.1181 1.1948 -0.0125 0.0400 0.0050"}  # the SDK's
_HEADER = (
    "timestamp,ins_status,latitude,longitude,altitude,northing,easting,down,utm_zone,velocity_north,velocity_east,"
    "velocity_down,roll,pitch,yaw"
)


_FIXES_HEADER = (
    "timestamp,num_satellites,latitude,longitude,altitude,latitude_sigma,longitude_sigma,altitude_sigma,northing,"
    "easting,down,utm_zone"
)


def write_sdk(folder: Path, camera: PinholeCamera) -> None:
    """Models and extrinsics of the SDK, for ``stereo/centre``."""
    (folder / "models").mkdir(parents=True)
    (folder / "extrinsics").mkdir()
    lines = [f"{camera.fx!r} {camera.fy!r} {camera.cx!r} {camera.cy!r}"]
    lines += [" ".join(map(repr, row)) for row in _MODEL_MATRIX.tolist()]
    (folder / "models/stereo_narrow_left.txt").write_text("\n".join(lines) + "\n")
    columns, rows = cv2.initUndistortRectifyMap(
        camera.matrix, _DISTORTION, np.eye(3), camera.matrix, camera.size, cv2.CV_32FC1
    )
    table = np.concatenate([columns.ravel(), rows.ravel()]).astype("<f8")
    table.tofile(folder / "models/stereo_narrow_left_distortion_lut.bin")
    for name, text in _EXTRINSICS.items():
        (folder / "extrinsics" / f"{name}.txt").write_text(f"{text}\n")


def write_drive(folder: Path, records: Sequence[Record], sdk: Path) -> None:
    """Write records with poses and gray images as a drive; the poses are those of the inertial sensor."""
    vehicle_from_ins = read_extrinsics(sdk / "extrinsics/ins.txt")
    cam_from_ins = pose_from_matrix(_MODEL_MATRIX).inverse() * vehicle_from_ins
    rows, stamps = [_HEADER], []
    for record in records:
        stamp = record.timestamp_ns // 1000
        stamps.append(f"{stamp} 1")
        write_image(folder / "stereo/centre" / f"{stamp}.png", raw_image(record, _DISTORTION))
        assert record.world_from_cam is not None
        rows.append(_row(stamp, (record.world_from_cam * cam_from_ins).matrix()))
    (folder / "stereo.timestamps").write_text("\n".join(stamps) + "\n")
    (folder / "gps").mkdir()
    (folder / "gps/ins.csv").write_text("\n".join(rows) + "\n")
    middle = stamps[len(stamps) // 2].split()[0]
    fixes = [f"{stamp},9,51.76,-1.26,110.5,0.5,0.25,2.0,0,0,0,30U" for stamp in (1, middle)]
    (folder / "gps/gps.csv").write_text("\n".join([_FIXES_HEADER, *fixes]) + "\n")


def _row(stamp: int, world_from_ins: np.ndarray) -> str:
    """Row of a pose whose world is x east, y north, z up."""
    east, north, up = world_from_ins[:, 3] + np.array(ORIGIN)
    rotation = world_from_ins[[1, 0, 2], :3] * np.array([[1], [1], [-1]])  # rows of north, east, down
    roll, pitch = np.arctan2(rotation[2, 1], rotation[2, 2]), np.arcsin(-rotation[2, 0])
    yaw = np.arctan2(rotation[1, 0], rotation[0, 0])
    numbers = ",".join(repr(float(value)) for value in (north, east, -up))
    angles = ",".join(repr(float(value)) for value in (roll, pitch, yaw))
    return f"{stamp},INS_SOLUTION_GOOD,51.7,-1.2,{float(up)!r},{numbers},30U,0,0,0,{angles}"
