"""Calibration and training poses of RobotCar Seasons: its text files, and the rig that the reference poses imply.

``intrinsics/rear_intrinsics.txt`` has the lines ``fx 400.0``, ``fy``, ``cx`` and ``cy``; principal points are COLMAP's,
because the models are. ``extrinsics/rear_extrinsics.txt`` has a 4x4 matrix car_from_cam with commas. Lines of
``robotcar_v2_train.txt`` are a name and the 16 numbers of the matrix world_from_cam.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d
from scipy.spatial.transform import Rotation

from vizloc_ros.datasets.matrices import nearest_pose, parse_matrix
from vizloc_ros.datasets.parsing import numbered_rows, parse_number, read_text
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.geometry.poses import pose_from_quaternion

CAMERAS = ("left", "rear", "right")
IMAGE_SIZE = (1024, 1024)  # px; the text files do not have it
_KEYS = ("fx", "fy", "cx", "cy")


def read_camera(path: Path) -> PinholeCamera:
    """Read the camera of an intrinsics file. Raises ``DatasetError`` that names the file."""
    rows = {fields[0]: (line, fields[1:]) for line, fields in numbered_rows(path)}
    values = []
    for key in _KEYS:
        line, fields = rows.get(key, (0, []))
        if len(fields) != 1:
            raise DatasetError(f"{path}: expected the lines {', '.join(f'{k} VALUE' for k in _KEYS)}; {key} is missing")
        values.append(parse_number(fields[0], key, f"{path}:{line}"))
    fx, fy, cx, cy = values
    try:
        return PinholeCamera(*IMAGE_SIZE, fx, fy, cx - PIXEL_CENTRE, cy - PIXEL_CENTRE)
    except CameraError as error:
        raise DatasetError(f"{path}: {error}") from error


def read_train_poses(path: Path) -> dict[str, tuple[str, Rigid3d]]:
    """Read file and line, and world_from_cam, of each image by its name. Raises ``DatasetError``."""
    poses: dict[str, tuple[str, Rigid3d]] = {}
    for line, (name, *fields) in numbered_rows(path):
        where = f"{path}:{line}"
        if name in poses:
            raise DatasetError(f"{where}: image {name!r} is already in {poses[name][0]}")
        poses[name] = where, nearest_pose(parse_matrix(fields, where, rows=4), where)
    if not poses:
        raise DatasetError(f"{path}: there is no image in it; expected lines of a name and the 16 numbers of its pose")
    return poses


def published_rig(folder: Path) -> dict[str, Rigid3d]:
    """rear_from_cam of the left and the right camera, from ``extrinsics``. Raises ``DatasetError``."""
    car_from_cam = {}
    for camera in CAMERAS:
        path = folder / "extrinsics" / f"{camera}_extrinsics.txt"
        fields = read_text(path).replace(",", " ").split()
        car_from_cam[camera] = nearest_pose(parse_matrix(fields, str(path), rows=4), str(path))
    rear_from_car = car_from_cam["rear"].inverse()
    return {camera: rear_from_car * car_from_cam[camera] for camera in CAMERAS if camera != "rear"}


def mean_rig(at: Mapping[tuple[int, str], Rigid3d], folder: Path) -> dict[str, Rigid3d]:
    """rear_from_cam of the left and the right camera that the reference poses imply: mean rotation, median position.

    The published extrinsics do not fit these poses, and the poses of single times differ, too.

    Args:
        at: world_from_cam by time and camera.
        folder: folder of the dataset, for the error.

    Raises:
        DatasetError: the reference drive has no time with the rear camera and this one.
    """
    rig = {}
    for camera in CAMERAS:
        rear_from_cam = [
            at[stamp, "rear"].inverse() * pose
            for (stamp, other), pose in at.items()
            if other == camera != "rear" and (stamp, "rear") in at
        ]
        if rear_from_cam:
            rotation = Rotation.from_quat([pose.rotation.quat for pose in rear_from_cam]).mean()
            position = np.median([pose.translation for pose in rear_from_cam], axis=0)
            rig[camera] = pose_from_quaternion(position, rotation.as_quat())
    if not rig:
        raise DatasetError(f"{folder}: rig=map needs times with images of the rear and another camera in the 3D model")
    return rig
