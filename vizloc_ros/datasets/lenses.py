"""Conversion of COLMAP's cameras with distortion, and rectification of images with them."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pycolmap

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.datasets.parsing import parse_number
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.colmap_camera import pinhole_camera
from vizloc_ros.geometry.rectification import DistortedCamera, Rectifier

# Distortion model and number of its coefficients for each camera model of COLMAP; coefficients it lacks are zero.
_LENSES = {
    "SIMPLE_PINHOLE": ("plumb_bob", 0),
    "PINHOLE": ("plumb_bob", 0),
    "SIMPLE_RADIAL": ("plumb_bob", 4),
    "RADIAL": ("plumb_bob", 4),
    "OPENCV": ("plumb_bob", 4),
    "FULL_OPENCV": ("rational_polynomial", 8),
    "SIMPLE_FISHEYE": ("equidistant", 4),
    "FISHEYE": ("equidistant", 4),
    "SIMPLE_RADIAL_FISHEYE": ("equidistant", 4),
    "RADIAL_FISHEYE": ("equidistant", 4),
    "OPENCV_FISHEYE": ("equidistant", 4),
}
_SIZE_TOLERANCE = 1  # px; versions of COLMAP round the size of undistorted images differently


def parse_camera(fields: Sequence[str], expected: str, where: str) -> pycolmap.Camera:
    """Parse the fields ``name MODEL width height parameters...`` of a text file. The number of parameters may be wrong.

    Args:
        fields: fields of the line.
        expected: form of the line, for the error.
        where: file and line, for the error.

    Raises:
        DatasetError: there are too few fields, the model is unknown, or a value is not a number.
    """
    if len(fields) < 5:
        raise DatasetError(f"{where}: {len(fields)} values; expected '{expected}'")
    model = fields[1]
    if model not in pycolmap.CameraModelId.__members__:
        raise DatasetError(f"{where}: the camera model {model!r} is none of COLMAP's; expected '{expected}'")
    width, height, *params = (parse_number(number, "a value", where) for number in fields[2:])
    if not all(side.is_integer() and side > 0 for side in (width, height)):
        raise DatasetError(f"{where}: the image size {width:g} x {height:g} is not in whole pixels")
    return pycolmap.Camera(model=model, width=int(width), height=int(height), params=params)


def has_opencv_model(camera: pycolmap.Camera) -> bool:
    """Return True if OpenCV has the model of a camera of COLMAP, so that ``distorted_camera`` converts it."""
    return camera.model.name in _LENSES


def distorted_camera(camera: pycolmap.Camera) -> DistortedCamera:
    """Convert a camera of COLMAP. Raises ``CameraError`` if its model or parameters cannot be used."""
    name = camera.model.name
    if not has_opencv_model(camera):
        raise CameraError(
            f"the camera model {name} cannot be rectified, only {', '.join(_LENSES)}: undistort the images "
            "(colmap image_undistorter) and read its output"
        )
    if not camera.verify_params():
        raise CameraError(f"the camera has {len(camera.params)} parameters; {name} takes {camera.params_info}")
    model, count = _LENSES[name]
    coefficients = np.zeros(count)
    given = np.asarray(camera.params)[camera.extra_params_idxs()]
    coefficients[: len(given)] = given
    return DistortedCamera(pinhole_camera(camera), tuple(coefficients.tolist()), model)


def undistorted_camera(camera: pycolmap.Camera, size: tuple[int, int]) -> PinholeCamera:
    """Pinhole camera of an image from COLMAP's image_undistorter.

    Its option ``--max_image_size`` follows from the size of the image.

    Args:
        camera: camera of the distorted image.
        size: (width, height) of the undistorted image [px].

    Raises:
        CameraError: COLMAP undistorts images of this camera to another shape.
    """
    options = pycolmap.UndistortCameraOptions(max_image_size=max(size))
    pinhole = pinhole_camera(pycolmap.undistort_camera(options, camera))
    if max(abs(pinhole.width - size[0]), abs(pinhole.height - size[1])) > _SIZE_TOLERANCE:
        raise CameraError(
            f"the image is {size[0]}x{size[1]} px, but COLMAP undistorts images of its camera to "
            f"{pinhole.width}x{pinhole.height}: it is another image, or was not undistorted"
        )
    return pinhole.scaled(*size)


@lru_cache(maxsize=8)  # the cameras of a rig; more would fill the memory if every image has its own camera
def rectifier(camera: DistortedCamera) -> Rectifier:
    """Rectifier of a camera, cached. Raises ``CameraError`` as ``Rectifier``."""
    return Rectifier(camera)


def read_rectified(path: Path, camera: DistortedCamera) -> UInt8:
    """Read and rectify an image. Raises ``ImageError`` as ``read_image``."""
    return rectifier(camera).rectify(read_image(path, camera.pinhole.size))
