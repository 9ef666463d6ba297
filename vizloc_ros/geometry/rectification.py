"""From the distorted camera of a ``sensor_msgs/CameraInfo`` to the pinhole camera everything else works with.

Rectification changes the lens, never the axes: the rectified camera keeps the raw optical frame, so that base_from_cam
holds for both.
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

# The numbers of coefficients a model may have; none at all stands for no distortion, as in ROS's image_geometry.
_COEFFICIENT_COUNTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8, 12, 14), "equidistant": (4,)}
_MODELS = ", ".join(_COEFFICIENT_COUNTS)
_LEAST_SEEN = 0.95  # share of the rectified image that must come from inside the raw one
_SAMPLED_SIDE = 128  # px; so large an image shows a lens's faults as well as the whole one does
_LEAST_ZOOM = 0.25  # rectified by raw focal length; below, a very wide lens leaves the middle too few pixels

# OpenCV's default of five iterations leaves 0.5 px at the corners of EuRoC's camera. OpenCV 5 merged the two functions.
_undistort_points = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)
_CONVERGED = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-9)

_CALIBRATE = "calibrate the camera again (ros2 run camera_calibration cameracalibrator)"
_LARGEST_SIDE = 16_384  # px; OpenCV cannot remap much larger ones


@dataclass(frozen=True)
class DistortedCamera:
    """A camera as it is calibrated: its K as a pinhole camera, and the lens in front of it.

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
        """The distortion coefficients as OpenCV takes them."""
        return np.array(self.distortion)

    @property
    def is_distorted(self) -> bool:
        """Whether raw and rectified image differ. An equidistant lens bends even with all coefficients zero."""
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
    """Checks and takes over the fields of a ``sensor_msgs/CameraInfo``.

    Args:
        width: image width [px].
        height: image height [px].
        k: the 9 elements of K, row by row.
        d: distortion coefficients; none, or all zero, for an image without distortion.
        distortion_model: one of the three known models, or empty when there is no distortion.
        binning: binning_x, binning_y.
        roi: x_offset, y_offset, width, height of the region of interest; all zero for the whole image.

    Raises:
        CameraError: naming the field that cannot be used.
    """
    if max(binning) > 1:
        raise CameraError(f"binning is {binning[0]}x{binning[1]}: send the camera_info of the binned image itself")
    if roi not in ((0, 0, 0, 0), (0, 0, width, height)):
        raise CameraError(f"roi is {roi} (x, y, width, height): send the whole image, or the camera_info of the region")
    if width <= 0 or height <= 0:
        raise CameraError(f"width and height are {width}x{height}; they must be those of the image: {_CALIBRATE}")
    if max(width, height) > _LARGEST_SIDE:
        raise CameraError(f"width and height are {width}x{height}, beyond {_LARGEST_SIDE}; they must be the image's")
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


@lru_cache(maxsize=4096)  # the images of a dataset ask for the same cameras again and again
def rectified_camera(camera: DistortedCamera) -> PinholeCamera:
    """The camera of the images that a ``Rectifier`` makes, without its cost: below a millisecond.

    It has the size and axes of the raw one, zoomed so that no border without image appears; without distortion it is
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
    """Turns images and pixels of one distorted camera into those of a pinhole camera of the same size and axes.

    Without distortion images pass untouched. Calls do not change the object and may come from several threads.

    Attributes:
        rectified: the pinhole camera of the rectified images, as ``rectified_camera`` has it.
    """

    def __init__(self, camera: DistortedCamera) -> None:
        """Computes the maps once.

        Raises:
            CameraError: no pinhole image can be cut from this camera.
        """
        self._camera = camera
        self.rectified = rectified_camera(camera)
        self._maps = _fixed_point_maps(camera, self.rectified) if camera.is_distorted else None

    def rectify(self, image: UInt8) -> UInt8:
        """Rectifies an image (H, W) or (H, W, 3); returns the very same array when there is no distortion.

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
            # Older OpenCV lets the inscribed view stick out by up to one pixel: repeat the edge, draw no black line.
            cv2.remap(image, *self._maps, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            dtype=np.uint8,
        )

    def undistort_pixels(self, pixels: Float64) -> Float64:
        """Moves pixels (N, 2) of the raw image to where they are in the rectified one, perhaps outside of it."""
        if not self._camera.is_distorted or len(pixels) == 0:
            return pixels
        lens = np.asarray(pixels, dtype=np.float64)[:, None], self._camera.pinhole.matrix, self._camera.coefficients
        view = self.rectified.matrix
        if self._camera.model == "equidistant":
            undistorted = cv2.fisheye.undistortPoints(*lens, R=np.eye(3), P=view)
        else:
            undistorted = _undistort_points(*lens, R=np.eye(3), P=view, criteria=_CONVERGED)
        return np.asarray(undistorted, dtype=np.float64)[:, 0]


def _inscribed_camera(camera: DistortedCamera) -> PinholeCamera:
    """The largest pinhole view that the raw image fills."""
    raw, coefficients = camera.pinhole, camera.coefficients
    if camera.model == "equidistant":
        matrix = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
            raw.matrix, coefficients, raw.size, np.eye(3), balance=0.0
        )
    else:
        matrix, _ = cv2.getOptimalNewCameraMatrix(raw.matrix, coefficients, raw.size, 0.0)
    fx, fy, cx, cy = (float(matrix[index]) for index in ((0, 0), (1, 1), (0, 2), (1, 2)))
    if not min(fx / raw.fx, fy / raw.fy) > _LEAST_ZOOM:
        raise CameraError(
            f"with d {camera.distortion} and focal length {raw.fx:g} px the {camera.model} lens sees too wide an angle "
            f"for one pinhole image: crop the image and its camera_info, or {_CALIBRATE}"
        )
    return PinholeCamera(*raw.size, fx, fy, cx, cy)


def _require_filled(camera: DistortedCamera, rectified: PinholeCamera) -> None:
    """Refuses a lens whose model holds for a part of the view only."""
    shrink = min(1.0, _SAMPLED_SIDE / max(rectified.size))
    width, height = (max(1, round(shrink * side)) for side in rectified.size)
    raw_x, raw_y = _raw_pixels(camera, rectified.scaled(width, height))
    inside = camera.pinhole.contains(np.stack([raw_x.ravel(), raw_y.ravel()], axis=1)).reshape(raw_x.shape)
    folded = (np.diff(raw_x, axis=1, prepend=-np.inf) <= 0) | (np.diff(raw_y, axis=0, prepend=-np.inf) <= 0)
    seen = np.mean(inside & ~folded)
    if seen < _LEAST_SEEN:
        raise CameraError(
            f"d {camera.distortion} ({camera.model}) would leave {1 - seen:.0%} of the rectified image empty or folded "
            f"over itself; the lens is another one: {_CALIBRATE}, with the equidistant model for a wide angle"
        )


def _fixed_point_maps(
    camera: DistortedCamera, rectified: PinholeCamera
) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Where each rectified pixel lies in the raw image, in the 1/32 px form that ``cv2.remap`` is fastest with."""
    pixel, fraction = cv2.convertMaps(*_raw_pixels(camera, rectified), cv2.CV_16SC2)
    return pixel.astype(np.int16, copy=False), fraction.astype(np.uint16, copy=False)


def _raw_pixels(camera: DistortedCamera, rectified: PinholeCamera) -> tuple[Float32, Float32]:
    """(H, W) columns and rows of the raw image where each pixel of a rectified one lies."""
    initialize = cv2.fisheye.initUndistortRectifyMap if camera.model == "equidistant" else cv2.initUndistortRectifyMap
    columns, rows = initialize(
        camera.pinhole.matrix, camera.coefficients, np.eye(3), rectified.matrix, rectified.size, cv2.CV_32FC1
    )
    return columns, rows
