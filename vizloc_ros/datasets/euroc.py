"""Reader of EuRoC MAV sequences, in the ASL format: ``euroc:.../V1_01_easy?camera=cam0&map=0-999&query=1000-1999``.

The folder of a sequence holds ``mav0``. There, each camera such as ``cam0`` has ``data.csv`` (``timestamp [ns],
filename``), ``sensor.yaml`` (intrinsics, distortion, and T_BS: body_from_cam) and the images in ``data``.
``state_groundtruth_estimate0/data.csv`` has the poses of the body, the frame of the IMU, in the world: position, then
the quaternion with w first. World_from_cam is world_from_body * body_from_cam, interpolated at the time of the image.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pycolmap import Rigid3d

from vizloc_ros.bounded import load_yaml
from vizloc_ros.datasets.listed import ListedDataset, ListedImage, sequence_parts
from vizloc_ros.datasets.matrices import nearest_pose
from vizloc_ros.datasets.parsing import numbered_rows, parse_pose, read_text
from vizloc_ros.datasets.record import Mounting
from vizloc_ros.datasets.specification import chosen_names, parse_specification
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.camera_info import camera_from_info
from vizloc_ros.geometry.rectification import DistortedCamera
from vizloc_ros.geometry.trajectory import Trajectory

GROUND_TRUTH = "state_groundtruth_estimate0"
POSE = ("tx", "ty", "tz", "qw", "qx", "qy", "qz")
POSE_LINE = "timestamp, p_RS_R_x, p_RS_R_y, p_RS_R_z, q_RS_w, q_RS_x, q_RS_y, q_RS_z, ..."
IMAGE_LINE = "timestamp [ns],filename"


def open_euroc(spec: str) -> ListedDataset:
    """Open ``PATH[?camera=cam0,cam1&NAME=FIRST-LAST]``; without a camera, the images of cam0.

    Raises:
        DatasetError: an option is invalid, or a file is missing or malformed; the text names the file and the line.
    """
    folder, options = parse_specification(spec, "a sequence of EuRoC with mav0, such as V1_01_easy")
    where = f"euroc:{spec}"
    if folder.resolve().name != "mav0":
        folder = folder / "mav0"
    known = sorted(path.parent.name for path in folder.glob("cam*/data.csv"))
    if not known:
        raise DatasetError(f"{folder}: there is no cam0/data.csv in it; it should be mav0 of a sequence of EuRoC")
    cameras = chosen_names(options.pop("camera", known[0]), known, "camera", where)
    truth = folder / GROUND_TRUTH / "data.csv"
    trajectory = _read_trajectory(truth) if truth.is_file() else Trajectory([], [])
    images = [image for camera in cameras for image in _read_images(folder / camera, trajectory)]
    return ListedDataset(where, sequence_parts(images, options, where))


def _read_images(folder: Path, trajectory: Trajectory) -> list[ListedImage]:
    """Read the images of a camera."""
    lens, body_from_cam = _read_sensor(folder / "sensor.yaml")
    mounting = Mounting(folder.name, body_from_cam)
    path = folder / "data.csv"
    images: list[ListedImage] = []
    for line, fields in numbered_rows(path, ","):
        where = f"{path}:{line}"
        if len(fields) != 2:
            raise DatasetError(f"{where}: {len(fields)} values; expected '{IMAGE_LINE}'")
        stamp = _stamp(fields[0], where)
        world_from_body = trajectory.at(stamp)
        pose = None if world_from_body is None else world_from_body * body_from_cam
        file = folder / "data" / fields[1]
        images.append(ListedImage(file, f"{folder.name}/data/{fields[1]}", stamp, lens, pose, where, mounting))
    if not images:
        raise DatasetError(f"{path}: there is no image in it; expected lines '{IMAGE_LINE}'")
    return images


def _stamp(text: str, where: str) -> int:
    if not text.isdecimal():
        raise DatasetError(f"{where}: the timestamp is {text!r}, not a whole number of nanoseconds")
    return int(text)


def _read_trajectory(path: Path) -> Trajectory:
    """Read world_from_body by time."""
    poses: dict[int, Rigid3d] = {}
    for line, (stamp, *fields) in numbered_rows(path, ","):
        where = f"{path}:{line}"
        if len(fields) < len(POSE):
            raise DatasetError(f"{where}: {len(fields) + 1} values; expected '{POSE_LINE}'")
        poses[_stamp(stamp, where)] = parse_pose(dict(zip(POSE, fields, strict=False)), where)
    return Trajectory.of(poses)


def _read_sensor(path: Path) -> tuple[DistortedCamera, Rigid3d]:
    """Read the camera, and body_from_cam."""
    try:
        content = load_yaml(read_text(path))
    except yaml.YAMLError as error:
        raise DatasetError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: no calibration; expected T_BS, resolution, intrinsics, distortion_model, ...")
    body_from_cam = content.get("T_BS")
    matrix = _numbers(body_from_cam if isinstance(body_from_cam, dict) else {}, "data", 16, f"{path}: T_BS")
    width, height = _numbers(content, "resolution", 2, str(path))
    fx, fy, cx, cy = _numbers(content, "intrinsics", 4, str(path))
    coefficients = _numbers(content, "distortion_coefficients", None, str(path))
    try:
        camera = camera_from_info(
            int(width),
            int(height),
            (fx, 0, cx, 0, fy, cy, 0, 0, 1),
            coefficients,
            str(content.get("distortion_model", "")),
        )
    except CameraError as error:
        raise DatasetError(f"{path}: {error}") from error
    return camera, nearest_pose(np.array(matrix).reshape(4, 4), f"{path}: T_BS")


def _numbers(content: Mapping[str, Any], key: str, count: int | None, where: str) -> list[float]:
    """Numbers of a list; YAML 1.1 takes 1e-05 for a text."""
    value = content.get(key)
    try:
        numbers = [float(element) for element in value] if isinstance(value, list) else []
    except (TypeError, ValueError):
        numbers = []
    if not numbers or count not in (None, len(numbers)) or not np.isfinite(numbers).all():
        raise DatasetError(f"{where}: {key} is {value!r}; it must be a list of {count or 'the'} numbers")
    return numbers
