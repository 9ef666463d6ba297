"""Rectification: from the distorted camera of a ``sensor_msgs/CameraInfo`` to the pinhole camera of all other code.

Rectification removes the distortion and keeps the axes: raw and rectified camera share the optical frame, and
base_from_cam holds for both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vizloc_ros.arrays import Float32, Float64, UInt8
from vizloc_ros.errors import CameraError
from vizloc_ros.geometry.camera import PinholeCamera

# Numbers of coefficients that a model may have; none at all means no distortion, as in ROS's image_geometry.
_COEFFICIENT_COUNTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8, 12, 14), "equidistant": (4,)}
_MODELS = ", ".join(_COEFFICIENT_COUNTS)
_MIN_COVERAGE = 0.95  # ratio of the rectified image that must come from inside the raw one
_SAMPLED_SIDE = 128  # px; an image of this size shows the faults of a lens as well as the full one does
_MIN_ZOOM = 0.25  # rectified by raw focal length; below, a very wide lens leaves the middle too few pixels

_CALIBRATE = "calibrate the camera again (ros2 run camera_calibration cameracalibrator)"
_MAX_SIDE = 16_384  # px; OpenCV cannot remap much larger images


@dataclass(frozen=True)
class DistortedCamera:
    """Calibrated camera: its K as a pinhole camera, and the distortion of its lens.

    Attributes:
        pinhole: image size and K of the raw image [px].
        distortion: coefficients in OpenCV's order (k1 k2 p1 p2 k3 ..., or k1 to k4 for equidistant).
        model: ``plumb_bob``, ``rational_polynomial`` or ``equidistant`` (OpenCV's fisheye).
    """

    pinhole: PinholeCamera
    distortion: tuple[float, ...] = ()
    model: str = "plumb_bob"

    def __post_init__(self) -> None:
        counts = _COEFFICIENT_COUNTS.get(self.model)
        if counts is None:
            raise CameraError(f"distortion_model {self.model!r} is not known; calibrate with one of {_MODELS}")
        if len(self.distortion) not in counts:
            raise CameraError(
                f"d has {len(self.distortion)} coefficients but distortion_model {self.model} takes "
                f"{' or '.join(str(n) for n in counts if n)}: correct the camera_info"
            )
        if not np.all(np.isfinite(self.distortion)):
            raise CameraError(f"d has coefficients that are not finite {self.distortion}: {_CALIBRATE}")

    @property
    def coefficients(self) -> Float64:
        """Distortion coefficients as an array for OpenCV."""
        return np.array(self.distortion)

    @property
    def is_distorted(self) -> bool:
        """True if raw and rectified image differ. An equidistant lens distorts even with all coefficients zero."""
        return self.model == "equidistant" or any(self.distortion)


def camera_from_info(
    width: int,
    height: int,
    k: Sequence[float],
    d: Sequence[float],
    distortion_model: str,
    *,
    binning: tuple[int, int] = (0, 0),
    roi: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> DistortedCamera:
    """Check the fields of a ``sensor_msgs/CameraInfo`` and return its camera.

    Args:
        width: image width [px].
        height: image height [px].
        k: 9 elements of K, row by row.
        d: distortion coefficients; none, or all zero, for an image without distortion.
        distortion_model: one of the three known models, or empty without distortion.
        binning: binning_x, binning_y.
        roi: x_offset, y_offset, width, height of the region of interest; all zero for the whole image.

    Raises:
        CameraError: a field cannot be used; the text names it.
    """
    if max(binning) > 1:
        raise CameraError(f"binning is {binning[0]}x{binning[1]}: send the camera_info of the binned image itself")
    if roi not in ((0, 0, 0, 0), (0, 0, width, height)):
        raise CameraError(f"roi is {roi} (x, y, width, height): send the whole image, or the camera_info of the region")
    if width <= 0 or height <= 0:
        raise CameraError(f"width and height are {width}x{height}; they must be those of the image: {_CALIBRATE}")
    if max(width, height) > _MAX_SIDE:
        raise CameraError(f"width and height are {width}x{height}, beyond {_MAX_SIDE}; they must be the image's")
    if len(k) != 9:
        raise CameraError(f"k has {len(k)} elements; it must have the 9 of a 3x3 matrix, row by row")
    fx, skew, cx, below, fy, cy, *last_row = (float(value) for value in k)
    if not (np.isfinite([fx, fy]).all() and fx > 0 and fy > 0):
        raise CameraError(f"k has focal length ({fx:g}, {fy:g}) px, so the camera is not calibrated: {_CALIBRATE}")
    if (skew, below, *last_row) != (0, 0, 0, 0, 1):
        raise CameraError(f"k is {tuple(k)}; it must be (fx 0 cx, 0 fy cy, 0 0 1), without skew: {_CALIBRATE}")
    if not (0 <= cx < width and 0 <= cy < height):
        raise CameraError(
            f"k has principal point ({cx:g}, {cy:g}) outside the {width}x{height} image: {_CALIBRATE}, "
            "or send the camera_info that belongs to this image size"
        )
    if not distortion_model:
        if any(d):
            raise CameraError(f"distortion_model is empty but d is {tuple(d)}: set it to one of {_MODELS}")
        distortion_model, d = "plumb_bob", ()
    pinhole = PinholeCamera(width, height, fx, fy, cx, cy)
    return DistortedCamera(pinhole, tuple(float(value) for value in d), distortion_model)


@lru_cache(maxsize=4096)  # all images of a dataset ask for the same few cameras
def rectified_camera(camera: DistortedCamera) -> PinholeCamera:
    """Pinhole camera of the images of a ``Rectifier``, in less than a millisecond.

    It has the size and axes of the raw camera, zoomed so that the raw image fills the view. Without distortion it is
    the raw camera.

    Raises:
        CameraError: no pinhole image can be cut from this camera.
    """
    if not camera.is_distorted:
        return camera.pinhole
    try:
        rectified = _inscribed_camera(camera)
        _require_filled(camera, rectified)
    except cv2.error as error:
        raise CameraError(f"the lens cannot be rectified ({error.err}): {_CALIBRATE}") from error
    return rectified


class Rectifier:
    """Rectification of the images of one camera. Without distortion they pass unchanged. Thread-safe.

    Attributes:
        rectified: pinhole camera of the rectified images, see ``rectified_camera``.
    """

    def __init__(self, camera: DistortedCamera) -> None:
        """Compute the maps of ``cv2.remap`` once.

        Raises:
            CameraError: no pinhole image can be cut from this camera.
        """
        self.rectified = rectified_camera(camera)
        self._maps = _fixed_point_maps(camera, self.rectified) if camera.is_distorted else None

    def rectify(self, image: UInt8) -> UInt8:
        """Rectify an image (H, W) or (H, W, 3); without distortion return the same array.

        Raises:
            CameraError: the image is not of the calibrated size.
        """
        height, width = image.shape[:2]
        if (width, height) != self.rectified.size:
            raise CameraError(
                f"camera_info is for {self.rectified.width}x{self.rectified.height} but the image is {width}x{height}: "
                "send the calibration of this image size, or images of the calibrated size"
            )
        if self._maps is None:
            return image
        return np.asarray(
            # In older OpenCV the inscribed view exceeds the raw image by up to one pixel: repeat the edge.
            cv2.remap(image, *self._maps, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            dtype=np.uint8,
        )


def _inscribed_camera(camera: DistortedCamera) -> PinholeCamera:
    """Largest pinhole view that the raw image fills."""
    raw, coefficients = camera.pinhole, camera.coefficients
    if camera.model == "equidistant":
        matrix = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
            raw.matrix, coefficients, raw.size, np.eye(3), balance=0.0
        )
    else:
        matrix, _ = cv2.getOptimalNewCameraMatrix(raw.matrix, coefficients, raw.size, 0.0)
    fx, fy, cx, cy = (float(matrix[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2)))
    if not min(fx / raw.fx, fy / raw.fy) > _MIN_ZOOM:
        raise CameraError(
            f"with d {camera.distortion} and focal length {raw.fx:g} px the {camera.model} lens sees too wide an angle "
            f"for one pinhole image: crop the image and its camera_info, or {_CALIBRATE}"
        )
    return PinholeCamera(*raw.size, fx, fy, cx, cy)


def _require_filled(camera: DistortedCamera, rectified: PinholeCamera) -> None:
    """Raise ``CameraError`` for a lens whose model is valid in a part of the view only."""
    shrink = min(1.0, _SAMPLED_SIDE / max(rectified.size))
    width, height = (max(1, round(shrink * side)) for side in rectified.size)
    raw_x, raw_y = _raw_pixels(camera, rectified.scaled(width, height))
    inside = camera.pinhole.contains(np.stack([raw_x.ravel(), raw_y.ravel()], axis=1)).reshape(raw_x.shape)
    folded = (np.diff(raw_x, axis=1, prepend=-np.inf) <= 0) | (np.diff(raw_y, axis=0, prepend=-np.inf) <= 0)
    coverage = np.mean(inside & ~folded)
    if coverage < _MIN_COVERAGE:
        raise CameraError(
            f"d {camera.distortion} ({camera.model}) would leave {1 - coverage:.0%} of the rectified image empty or "
            f"folded over itself; the lens is another one: {_CALIBRATE}, with the equidistant model for a wide angle"
        )


def _fixed_point_maps(
    camera: DistortedCamera, rectified: PinholeCamera
) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Raw positions of the rectified pixels in fixed-point numbers of 1/32 px, which ``cv2.remap`` reads fastest."""
    pixel, fraction = cv2.convertMaps(*_raw_pixels(camera, rectified), cv2.CV_16SC2)
    return pixel.astype(np.int16, copy=False), fraction.astype(np.uint16, copy=False)


def _raw_pixels(camera: DistortedCamera, rectified: PinholeCamera) -> tuple[Float32, Float32]:
    """Columns and rows (H, W) of the raw image at which the pixels of a rectified image lie."""
    initialize = cv2.fisheye.initUndistortRectifyMap if camera.model == "equidistant" else cv2.initUndistortRectifyMap
    columns, rows = initialize(
        camera.pinhole.matrix, camera.coefficients, np.eye(3), rectified.matrix, rectified.size, cv2.CV_32FC1
    )
    return columns, rows
