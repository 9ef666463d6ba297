"""Cameras of the Oxford RobotCar: models of its SDK, and images with a Bayer pattern that a lookup table rectifies.

``models/stereo_narrow_left.txt`` has the line ``fx fy cx cy`` of the rectified image and a 4x4 matrix that takes
optical axes (x right, y down, z forward) to those of the vehicle (x forward, y right, z down). For each pixel of the
rectified image, row by row, ``models/stereo_narrow_left_distortion_lut.bin`` has its column in the raw image, and then,
for each pixel again, its row: float64, (0, 0) at the center of the top-left pixel.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.datasets.matrices import nearest_pose, parse_matrix
from vizloc_ros.datasets.parsing import numbered_rows, parse_number
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.camera import PinholeCamera

# Folder of the images, model and file of the extrinsics of each camera; stereo/right is the wide pair's here.
_FOLDERS = {
    "stereo_left": ("stereo/left", "stereo_wide_left", "stereo"),
    "stereo_centre": ("stereo/centre", "stereo_narrow_left", "stereo"),
    "stereo_right": ("stereo/right", "stereo_wide_right", "stereo"),
    "mono_left": ("mono_left", "mono_left", "mono_left"),
    "mono_rear": ("mono_rear", "mono_rear", "mono_rear"),
    "mono_right": ("mono_right", "mono_right", "mono_right"),
}
CAMERAS = tuple(_FOLDERS)
# The SDK's patterns by their first row, gbrg and rggb; OpenCV names a pattern by its second row.
_BAYER = {"stereo": cv2.COLOR_BayerGR2BGR, "mono": cv2.COLOR_BayerBG2BGR}


@dataclass(frozen=True)
class RobotcarCamera:
    """Camera of the vehicle.

    Attributes:
        name: name, such as ``stereo_centre``.
        pinhole: pinhole camera of the rectified images.
        table: path of the lookup table.
        body_from_optical: pose of the optical frame in the frame of the extrinsics, with axes of the vehicle.
    """

    name: str
    pinhole: PinholeCamera
    table: Path
    body_from_optical: Rigid3d

    def read(self, path: Path) -> UInt8:
        """Read, demosaic and rectify an image: (H, W, 3) BGR; black where the raw image does not reach.

        Raises:
            ImageError: the image cannot be read, or has another size.
        """
        image = read_image(path, self.pinhole.size)
        if image.ndim == 2:
            image = np.asarray(cv2.cvtColor(image, _BAYER[self.name.split("_")[0]]), dtype=np.uint8)
        maps = _table_maps(self.table, self.pinhole.size)
        return np.asarray(cv2.remap(image, *maps, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def image_folder(drive: Path, camera: str) -> Path:
    """Folder of the images of a camera."""
    return drive / _FOLDERS[camera][0]


def extrinsics_name(camera: str) -> str:
    """Name of the file of the extrinsics and of the time stamps of a camera, without suffix."""
    return _FOLDERS[camera][2]


def read_robotcar_camera(models: Path, name: str, size: tuple[int, int]) -> RobotcarCamera:
    """Read the model of a camera and check its lookup table.

    Args:
        models: folder ``models`` of the SDK.
        name: name of the camera.
        size: (width, height) of its images [px].

    Raises:
        DatasetError: a file is missing or malformed, or its table is for another size.
    """
    model = _FOLDERS[name][1]
    path = models / f"{model}.txt"
    rows = numbered_rows(path)
    if len(rows) != 5 or any(len(fields) != 4 for _, fields in rows):
        raise DatasetError(f"{path}: expected a line 'fx fy cx cy' and the four lines of a 4x4 matrix")
    line, fields = rows[0]
    fx, fy, cx, cy = (
        parse_number(f, key, f"{path}:{line}") for f, key in zip(fields, ("fx", "fy", "cx", "cy"), strict=True)
    )
    try:
        pinhole = PinholeCamera(*size, fx, fy, cx, cy)
    except CameraError as error:
        raise DatasetError(f"{path}:{line}: {error}") from error
    matrix = parse_matrix([field for _, fields in rows[1:] for field in fields], str(path), rows=4)
    table = models / f"{model}_distortion_lut.bin"
    _check_table(table, size)
    return RobotcarCamera(name, pinhole, table, nearest_pose(matrix, str(path)))


def _check_table(path: Path, size: tuple[int, int]) -> None:
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; it is in the folder models of robotcar-dataset-sdk")
    expected, found = 2 * 8 * size[0] * size[1], path.stat().st_size
    if found != expected:
        raise DatasetError(
            f"{path}: {found} bytes; the lookup table of {size[0]}x{size[1]} images has {expected} (two float64 a "
            "pixel): copy it again"
        )


@lru_cache(maxsize=len(CAMERAS))
def _table_maps(path: Path, size: tuple[int, int]) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Raw positions of the rectified pixels in the fixed-point numbers of ``cv2.remap``."""
    columns, rows = np.fromfile(path, "<f8").reshape(2, size[1], size[0]).astype(np.float32)
    pixel, fraction = cv2.convertMaps(columns, rows, cv2.CV_16SC2)
    return pixel.astype(np.int16, copy=False), fraction.astype(np.uint16, copy=False)
