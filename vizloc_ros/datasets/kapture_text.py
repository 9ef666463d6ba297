"""Text files of a kapture: its sensors, rigs, trajectories and records, as naver/kapture's format 1.1 defines them.

All are comma-separated tables. Lines that begin with ``#`` are comments; blanks around a value do not matter. Poses are
``qw, qx, qy, qz, tx, ty, tz`` of device_from_world (trajectories) or sensor_from_rig (rigs), the direction of COLMAP.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pycolmap
from pycolmap import Rigid3d

from vizloc_ros.datasets.parsing import parse_number, parse_unit_quaternion, read_text
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.poses import pose_from_quaternion

SENSORS, RIGS, TRAJECTORIES = "sensors/sensors.txt", "sensors/rigs.txt", "sensors/trajectories.txt"
RECORDS = "sensors/records_camera.txt"
RECORDS_DATA = "sensors/records_data"
_QUATERNION, _TRANSLATION = ("qw", "qx", "qy", "qz"), ("tx", "ty", "tz")
_POSE = ", ".join((*_QUATERNION, *_TRANSLATION))
_VERSION = re.compile(r"# kapture format:\s*(\d+)\.")
_MISSING = ("", "nan")  # kapture's values of an unknown pose
_UNKNOWN = "UNKNOWN_CAMERA"


class Sensor(NamedTuple):
    """Camera of a kapture.

    Attributes:
        camera: camera of COLMAP; None if the kapture does not know it (``UNKNOWN_CAMERA``).
        where: file and line, for error messages.
    """

    camera: pycolmap.Camera | None
    where: str


class Snapshot(NamedTuple):
    """Row of the records of the cameras: stamp in the kapture's unit, id of the sensor, path, and file and line."""

    stamp: int
    sensor: str
    image: str
    where: str


Rigs = dict[str, list[tuple[str, Rigid3d]]]  # the (rig, sensor_from_rig) that each sensor is mounted on
Trajectories = dict[tuple[int, str], Rigid3d]  # device_from_world by stamp and device


def read_sensors(path: Path) -> tuple[dict[str, Sensor], set[str]]:
    """Read the cameras by their ids, and the ids of all other sensors.

    Raises:
        DatasetError: the format is not version 1, or a camera is malformed; the text names the file and the line.
    """
    version = _VERSION.match(read_text(path))
    if version is not None and version[1] != "1":
        raise DatasetError(f"{path}:1: kapture format {version[1]}; only version 1 can be read: upgrade this package")
    cameras: dict[str, Sensor] = {}
    others: set[str] = set()
    for where, fields in _rows(path, ("sensor_id", "name", "sensor_type")):
        sensor, _, kind, *params = fields
        if sensor in cameras or sensor in others:
            raise DatasetError(f"{where}: the sensor {sensor!r} is in the file twice")
        if kind == "camera":
            cameras[sensor] = Sensor(_parse_camera(params, where), where)
        else:
            others.add(sensor)
    return cameras, others


def _parse_camera(params: Sequence[str], where: str) -> pycolmap.Camera | None:
    expected = "expected 'sensor_id, name, camera, MODEL, width, height, parameters...'"
    if len(params) < 3:
        raise DatasetError(f"{where}: {len(params) + 3} fields; {expected}")
    model, *numbers = params
    if model == _UNKNOWN:
        return None
    if model not in pycolmap.CameraModelId.__members__:
        raise DatasetError(f"{where}: the camera model {model!r} is none of kapture's; {expected}")
    width, height, *values = (parse_number(number, "a value", where) for number in numbers)
    if not all(side.is_integer() and side > 0 for side in (width, height)):
        raise DatasetError(f"{where}: the image size {width:g} x {height:g} is not in whole pixels")
    camera = pycolmap.Camera(model=model, width=int(width), height=int(height), params=values)
    if not camera.verify_params():
        raise DatasetError(
            f"{where}: {len(values)} parameters behind the image size; {model} takes {camera.params_info}"
        )
    return camera


def known_camera(sensor: Sensor) -> pycolmap.Camera:
    """Camera of a sensor. Raises ``CameraError`` if the kapture does not know it."""
    if sensor.camera is None:
        raise CameraError(f"{_UNKNOWN}: the kapture has no calibration of this camera; write its model and parameters")
    return sensor.camera


def read_rigs(path: Path) -> Rigs:
    """Read the rigs that each sensor is mounted on; none without the file. Raises ``DatasetError`` as all here."""
    rigs: Rigs = {}
    for where, (rig, sensor, *pose) in _rows(path, ("rig_id", "sensor_id", _POSE), optional=True):
        sensor_from_rig = _parse_pose(pose, where)
        if sensor_from_rig is not None:
            rigs.setdefault(sensor, []).append((rig, sensor_from_rig))
    return rigs


def read_trajectories(path: Path) -> Trajectories:
    """Read the full poses of devices; empty without the file, as for queries. Raises ``DatasetError`` as all here."""
    poses: Trajectories = {}
    for where, (stamp, device, *pose) in _rows(path, ("timestamp", "device_id", _POSE), optional=True):
        key = _parse_stamp(stamp, where), device
        if key in poses:
            raise DatasetError(f"{where}: there is already a pose of {device!r} at {stamp}")
        device_from_world = _parse_pose(pose, where)
        if device_from_world is not None:
            poses[key] = device_from_world
    return poses


def read_snapshots(path: Path) -> list[Snapshot]:
    """Read the images of all cameras. Raises ``DatasetError`` if there is none, or as all here."""
    snapshots: list[Snapshot] = []
    seen: dict[str, str] = {}
    for where, fields in _rows(path, ("timestamp", "device_id", "image_path")):
        stamp, sensor, image = fields[:3]
        if image in seen:
            raise DatasetError(f"{where}: image {image!r} is already in {seen[image]}")
        seen[image] = where
        snapshots.append(Snapshot(_parse_stamp(stamp, where), sensor, image, where))
    if not snapshots:
        raise DatasetError(f"{path}: there is no image in it; expected lines 'timestamp, device_id, image_path'")
    return snapshots


def camera_from_world(
    rigs: Rigs, poses: Trajectories, stamp: int, device: str, above: tuple[str, ...] = ()
) -> Rigid3d | None:
    """Pose of a device at a stamp: its own, or that of a rig it is mounted on; rigs may be nested. None without one."""
    if (stamp, device) in poses:
        return poses[stamp, device]
    for rig, device_from_rig in rigs.get(device, ()):
        if rig in above:
            raise DatasetError(f"{RIGS}: the rig {rig!r} is mounted on itself")
        rig_from_world = camera_from_world(rigs, poses, stamp, rig, (*above, device))
        if rig_from_world is not None:
            return device_from_rig * rig_from_world
    return None


def _parse_stamp(text: str, where: str) -> int:
    if not text.isdecimal():
        raise DatasetError(f"{where}: the timestamp is {text!r}; kapture's are whole numbers, not negative")
    return int(text)


def _parse_pose(fields: Sequence[str], where: str) -> Rigid3d | None:
    """Pose of seven fields; None if its rotation or its translation is unknown."""
    if any(all(field.lower() in _MISSING for field in part) for part in (fields[:4], fields[4:])):
        return None
    w, x, y, z = parse_unit_quaternion(fields[:4], _QUATERNION, where)
    translation = [parse_number(f, name, where) for f, name in zip(fields[4:], _TRANSLATION, strict=True)]
    return pose_from_quaternion(np.array(translation), np.array([x, y, z, w]))


def _rows(path: Path, columns: Sequence[str], optional: bool = False) -> list[tuple[str, list[str]]]:
    """File and line, and fields, of each row. Raises ``DatasetError`` if a row has fewer fields than columns.

    Args:
        path: path of the file.
        columns: names of the columns. With a pose among them, a row must have exactly so many fields.
        optional: True if the file may be missing.
    """
    if optional and not path.is_file():
        return []
    count = len(", ".join(columns).split(","))
    rows: list[tuple[str, list[str]]] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split(",")]
        if len(fields) < count or (_POSE in columns and len(fields) > count):
            raise DatasetError(f"{path}:{number}: {len(fields)} fields; expected '{', '.join(columns)}'")
        rows.append((f"{path}:{number}", fields))
    return rows
