"""COLMAP's cameras as ours, and images read through their lenses.

COLMAP's pixels have (0.5, 0.5) at the centre of the top-left pixel, ours (0, 0).
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pycolmap

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.errors import CameraError
from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.geometry.rectification import DistortedCamera, Rectifier

# COLMAP's models that are one of ours with some coefficients zero: which, and how many coefficients OpenCV takes.
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
_ROUNDING = 1  # px; versions of COLMAP round the size of undistorted images differently


def distorted_camera(camera: pycolmap.Camera) -> DistortedCamera:
    """A camera of COLMAP with its lens. Raises ``CameraError`` when its model or parameters cannot be used."""
    name = camera.model.name
    if name not in _LENSES:
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
    return DistortedCamera(_pinhole(camera), tuple(coefficients.tolist()), model)


def undistorted_camera(camera: pycolmap.Camera, size: tuple[int, int]) -> PinholeCamera:
    """The pinhole camera of an image that COLMAP's image_undistorter made.

    Its ``--max_image_size`` need not be known: it shows in the image.

    Args:
        camera: of the image before.
        size: (width, height) of the undistorted image [px].

    Raises:
        CameraError: undistorted images of this camera have another shape.
    """
    options = pycolmap.UndistortCameraOptions(max_image_size=max(size))
    pinhole = _pinhole(pycolmap.undistort_camera(options, camera))
    if max(abs(pinhole.width - size[0]), abs(pinhole.height - size[1])) > _ROUNDING:
        raise CameraError(
            f"the image is {size[0]}x{size[1]} px, but COLMAP undistorts images of its camera to "
            f"{pinhole.width}x{pinhole.height}: it is another image, or was not undistorted"
        )
    return pinhole.scaled(*size)


@lru_cache(maxsize=8)  # the cameras of a rig; more would fill the memory where every image has one of its own
def rectifier(camera: DistortedCamera) -> Rectifier:
    """The rectifier of a camera, the same one if it was asked for lately. Raises ``CameraError`` as that does."""
    return Rectifier(camera)


def read_rectified(path: Path, camera: DistortedCamera) -> UInt8:
    """Reads an image without its distortion. Raises ``ImageError`` as ``read_image`` does."""
    return rectifier(camera).rectify(read_image(path, camera.pinhole.size))


def _pinhole(camera: pycolmap.Camera) -> PinholeCamera:
    return PinholeCamera(
        camera.width,
        camera.height,
        camera.focal_length_x,
        camera.focal_length_y,
        camera.principal_point_x - PIXEL_CENTRE,
        camera.principal_point_y - PIXEL_CENTRE,
    )
