"""Poses of the Oxford RobotCar: ``ins.csv`` or ``rtk.csv``, and the fixes of ``gps.csv``.

The poses are tables with a header; columns are found by their names: ``timestamp`` [us], ``northing``, ``easting`` and
``down`` [m] in UTM, ``roll``, ``pitch`` and ``yaw`` [rad] of the inertial sensor (x forward, y right, z down) in north,
east, down. ``ins.csv`` has an ``ins_status``, too. ``gps.csv`` has ``latitude`` and ``longitude`` [deg], ``altitude``
[m], and their deviations ``latitude_sigma`` and so on [m].

The world of the poses is local, with the axes of ROS: x east, y north, z up, less an origin in UTM.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.parsing import parse_number, read_text
from vizloc_ros.datasets.record import GnssFix
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import pose_from_matrix, pose_from_quaternion
from vizloc_ros.geometry.trajectory import Trajectory

ORIGIN = (620000.0, 5735000.0, 110.0)  # easting, northing, altitude [m]: the same for all drives, in central Oxford
GOOD = ("INS_SOLUTION_GOOD", "INS_ALIGNMENT_COMPLETE")
_MAX_GAP_NS = 500_000_000  # between two poses; the files have 5 to 50 a second
_COLUMNS = ("timestamp", "northing", "easting", "down", "roll", "pitch", "yaw")
_FIX = ("timestamp", "latitude", "longitude", "altitude")
_SIGMA = ("longitude_sigma", "latitude_sigma", "altitude_sigma")  # to the east, the north, and up
_MOVING_M = 0.05  # between two rows; the direction of shorter moves is noise
_ENU_FROM_NED = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


def read_drive_poses(path: Path, origin: Sequence[float] = ORIGIN) -> Trajectory:
    """Read world_from_ins of ``ins.csv`` or ``rtk.csv``, without rows whose solution is not good.

    Args:
        path: path of the file.
        origin: easting, northing and altitude [m] of the local world's origin in UTM.

    Raises:
        DatasetError: the file is missing or malformed; the text names the file and the line.
    """
    rows: list[Mapping[str, float]] = []
    for where, row in _rows(path, _COLUMNS, "ins.csv or rtk.csv"):
        if rows and row["timestamp"] <= rows[-1]["timestamp"]:
            raise DatasetError(f"{where}: the timestamp is not later than the one before it: copy the file again")
        rows.append(row)
    if len(rows) < 2:
        raise DatasetError(f"{path}: {len(rows)} rows with a good solution; at least 2 are needed")
    table = np.array([[row[name] for name in _COLUMNS[1:]] for row in rows])
    north_east_down, roll_pitch_yaw = table[:, :3], table[:, 3:]
    roll_pitch_yaw[:, 2] += _quarter_turns(north_east_down, roll_pitch_yaw[:, 2]) * np.pi / 2
    in_ned = Rotation.from_euler("ZYX", roll_pitch_yaw[:, ::-1]).as_matrix()
    stamps = [1000 * int(row["timestamp"]) for row in rows]
    positions = north_east_down @ _ENU_FROM_NED.T - np.array(origin)
    # The matrix of ENU from NED is a rotation: two axes are exchanged, and one is turned around.
    rotations = Rotation.from_matrix(_ENU_FROM_NED @ in_ned).as_quat()
    return Trajectory(stamps, list(map(pose_from_quaternion, positions, rotations)), _MAX_GAP_NS)


def _quarter_turns(north_east_down: Float64, yaw: Float64) -> int:
    """Quarter turns by which the yaws differ from the direction of most moves, -1 to 2. The car drives forward.

    The yaw of ``rtk.csv`` is a quarter turn off, see the SDK's issues 30 and 40.
    """
    north, east = np.diff(north_east_down[:, :2], axis=0).T
    moving = np.hypot(north, east) > _MOVING_M
    if not moving.any():
        return 0
    turns = np.round((np.arctan2(east, north) - yaw[:-1])[moving] / (np.pi / 2)).astype(int) % 4
    most = int(np.bincount(turns, minlength=4).argmax())
    return most - 4 if most == 3 else most


def read_fixes(path: Path) -> list[GnssFix]:
    """Read ``gps.csv``, in order of time. Raises ``DatasetError`` that names the file and the line."""
    fixes: list[GnssFix] = []
    for _, row in _rows(path, _FIX, "gps.csv", _SIGMA):
        stamp, latitude, longitude, altitude, *sigma = row.values()
        std_m = (sigma[0], sigma[1], sigma[2]) if len(sigma) == len(_SIGMA) else None
        fixes.append(GnssFix(1000 * int(stamp), latitude, longitude, altitude, std_m))
    return sorted(fixes, key=lambda fix: fix.timestamp_ns)


def _rows(
    path: Path, columns: Sequence[str], name: str, more: Sequence[str] = ()
) -> list[tuple[str, Mapping[str, float]]]:
    """File and line, and numbers of the columns, and of ``more`` that the file has, of rows with a good solution."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    names = reader.fieldnames or []
    missing = [column for column in columns if column not in names]
    if missing:
        raise DatasetError(f"{path}:1: the header lacks {', '.join(missing)}; expected that of {name}")
    columns = [*columns, *(column for column in more if column in names)]
    rows: list[tuple[str, Mapping[str, float]]] = []
    for fields in reader:
        where = f"{path}:{reader.line_num}"
        if fields.get("ins_status", GOOD[0]) not in GOOD:
            continue
        rows.append((where, {column: parse_number(fields[column] or "", column, where) for column in columns}))
    return rows


def read_extrinsics(path: Path) -> Rigid3d:
    """Pose of a file of extrinsics, ``x y z roll pitch yaw`` [m, rad]. Raises ``DatasetError`` that names it."""
    fields = read_text(path).split()
    if len(fields) != 6:
        raise DatasetError(f"{path}: {len(fields)} values; expected 'x y z roll pitch yaw'")
    x, y, z, roll, pitch, yaw = (parse_number(field, "a value", str(path)) for field in fields)
    rotation = Rotation.from_euler("ZYX", [yaw, pitch, roll]).as_matrix()
    return pose_from_matrix(np.column_stack([rotation, [x, y, z]]))
