"""Reader of the cameras of a VisualSFM model (``.nvm``), as in RobotCar Seasons and Cambridge Landmarks.

The first line is ``NVM_V3``, perhaps with more words. The number of images follows, and a line for each of them:
``name focal qw qx qy qz cx cy cz radial 0``. The quaternion is cam_from_world, and c the position of the camera in the
world. The camera's axes are x right, y down, z forward. Points and further models, which follow, are not read: such
files are large.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.parsing import parse_number, parse_unit_quaternion
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_from_quaternion
from vizloc_ros.geometry.rectification import DistortedCamera

_START = "NVM_V3"
_QUATERNION = ("qw", "qx", "qy", "qz")
_CENTER = ("cx", "cy", "cz")
_LINE = " ".join(("name", "focal", *_QUATERNION, *_CENTER, "radial", "0"))
_FIELDS = 11
_BLANK = '"'  # VisualSFM's mark for a blank in a name
_RADII = 200  # at which a distortion is fitted


@dataclass(frozen=True)
class NvmImage:
    """Image of a VisualSFM model.

    Attributes:
        name: name as in the file, without a leading ``./``.
        focal: focal length [px].
        radial: VisualSFM's radial distortion, which takes distorted to undistorted rays; 0 for undistorted images.
        world_from_cam: pose of the camera's optical frame.
        where: file and line, for error messages.
    """

    name: str
    focal: float
    radial: float
    world_from_cam: Rigid3d
    where: str


def read_nvm(path: Path) -> list[NvmImage]:
    """Read the images of the first model, in the order of the file.

    Raises:
        DatasetError: the file is missing, no model of VisualSFM, malformed or cut off; the text names file and line.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            return _read_images(path, file)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not a text file in UTF-8 (byte {error.start}): copy it again") from error


def nvm_camera(focal: float, radial: float, size: tuple[int, int]) -> DistortedCamera:
    """Camera of an image of VisualSFM, with the principal point in its middle.

    With rays in units of the focal length, VisualSFM undistorts by ``u = d (1 + radial |d|^2)``. OpenCV distorts, so
    its k1, k2 and k3 are fitted to the inverse, over the image.

    Args:
        focal: focal length [px].
        radial: radial distortion as in the file.
        size: (width, height) of the image [px].

    Raises:
        CameraError: the focal length is not positive, or the distortion folds the image over itself.
    """
    width, height = size
    pinhole = PinholeCamera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
    if radial == 0:
        return DistortedCamera(pinhole)
    distorted = np.linspace(0, float(np.hypot(width, height)) / 2 / focal, _RADII + 1)[1:]
    if 1 + 3 * radial * distorted[-1] ** 2 <= 0:
        raise CameraError(f"the radial distortion {radial:g} of VisualSFM folds the image over itself")
    undistorted = distorted * (1 + radial * distorted**2)
    powers = undistorted[:, None] ** [2, 4, 6]
    scale = undistorted[:, None]  # for errors in pixels
    k1, k2, k3 = np.linalg.lstsq(powers * scale, (distorted / undistorted - 1) * undistorted, rcond=None)[0].tolist()
    return DistortedCamera(pinhole, (k1, k2, 0.0, 0.0, k3))


def _read_images(path: Path, file: TextIO) -> list[NvmImage]:
    lines = _rows(file)
    number, fields = next(lines, (1, [""]))
    if fields[0] != _START:
        raise DatasetError(f"{path}:{number}: {fields[0]!r}; a model of VisualSFM begins with {_START}")
    number, fields = next(lines, (number, [""]))
    if len(fields) != 1 or not fields[0].isdecimal() or int(fields[0]) == 0:
        raise DatasetError(f"{path}:{number}: {' '.join(fields)!r}; expected the number of images, at least 1")
    count = int(fields[0])
    images: dict[str, NvmImage] = {}
    for number, fields in lines:
        image = _parse_image(fields, f"{path}:{number}")
        if image.name in images:
            raise DatasetError(f"{image.where}: image {image.name!r} is already in {images[image.name].where}")
        images[image.name] = image
        if len(images) == count:
            return list(images.values())
    raise DatasetError(f"{path}: {len(images)} images, but its header announces {count}: the file is cut off")


def _rows(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Numbers and fields of the lines that are neither blank nor comments."""
    for number, line in enumerate(file, start=1):
        fields = line.split()
        if fields and not fields[0].startswith("#"):
            yield number, fields


def _parse_image(fields: list[str], where: str) -> NvmImage:
    if len(fields) != _FIELDS:
        raise DatasetError(f"{where}: {len(fields)} fields; expected '{_LINE}'")
    w, x, y, z = parse_unit_quaternion(fields[2:6], _QUATERNION, where)
    center = np.array([parse_number(f, name, where) for f, name in zip(fields[6:9], _CENTER, strict=True)])
    focal, radial = parse_number(fields[1], "focal", where), parse_number(fields[9], "radial", where)
    if focal <= 0:
        raise DatasetError(f"{where}: the focal length is {focal:g} px; it must be positive")
    name = fields[0].removeprefix("./").replace(_BLANK, " ")
    return NvmImage(name, focal, radial, pose_from_quaternion(center, np.array([-x, -y, -z, w])), where)
