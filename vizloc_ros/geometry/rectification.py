"""Rectification: from the distorted camera of a calibration to the pinhole camera of all other code.

Rectification removes the distortion and keeps the axes: raw and rectified camera share the optical frame, and
base_from_cam holds for both.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vizloc_ros.arrays import Float32, Float64, UInt8
from vizloc_ros.errors import CameraError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.wording import numbers_text

# Numbers of coefficients that OpenCV takes for a model; none at all means no distortion, as in ROS's image_geometry.
COEFFICIENT_COUNTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8, 12, 14), "equidistant": (4,)}
MODELS = ", ".join(COEFFICIENT_COUNTS)
_MIN_COVERAGE = 0.95  # ratio of the rectified image that must come from inside the raw one
_MAX_FOLDED = 0.02  # ratio of the raw image beyond the radius at which the lens model folds: calibrations end earlier
_SAMPLED_SIDE = 128  # px; an image of this size shows the faults of a lens as well as the full one does
_FOLD_STEPS = 1000
_MAX_RADIUS = 5.0  # of a ray at depth 1: 79 degrees; rectified images end earlier
_MIN_ZOOM = 0.25  # rectified by raw focal length; below, a very wide lens leaves the middle too few pixels

CALIBRATE = "calibrate the camera again (ros2 run camera_calibration cameracalibrator)"


@dataclass(frozen=True)
class DistortedCamera:
    """Calibrated camera: its K as a pinhole camera, and the distortion of its lens.

    Attributes:
        pinhole: image size and K of the raw image [px].
        distortion: coefficients in OpenCV's order (k1 k2 p1 p2 k3 ..., or k1 to k4 for equidistant).
        model: ``plumb_bob``, ``rational_polynomial`` or ``equidistant`` (OpenCV's fisheye).
        whole: camera of the whole image, if this is that of a region of it, or of its binned pixels.
    """

    pinhole: PinholeCamera
    distortion: tuple[float, ...] = ()
    model: str = "plumb_bob"
    whole: "DistortedCamera | None" = None

    def __post_init__(self) -> None:
        counts = COEFFICIENT_COUNTS.get(self.model)
        if counts is None:
            raise CameraError(f"distortion_model {self.model!r} is not known; calibrate with one of {MODELS}")
        if len(self.distortion) not in counts:
            raise CameraError(
                f"d has {len(self.distortion)} coefficients but distortion_model {self.model} takes "
                f"{' or '.join(str(n) for n in counts if n)}: correct the camera_info"
            )
        if not np.all(np.isfinite(self.distortion)):
            raise CameraError(f"d has coefficients that are not finite {numbers_text(self.distortion)}: {CALIBRATE}")

    @property
    def coefficients(self) -> Float64:
        """Distortion coefficients as an array for OpenCV."""
        return np.array(self.distortion)

    def of_size(self, size: tuple[int, int]) -> "DistortedCamera":
        """Camera of an image of this size: ``whole`` for the whole image, which some drivers send all the same."""
        return self.whole if self.whole is not None and self.whole.pinhole.size == size else self

    @property
    def is_distorted(self) -> bool:
        """True if raw and rectified image differ. An equidistant lens distorts even with all coefficients zero."""
        return self.model == "equidistant" or any(self.distortion)


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
        _require_unfolded(camera)
    except cv2.error as error:
        raise CameraError(f"the lens cannot be rectified ({error.err}): {CALIBRATE}") from error
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
        require_size(self.rectified, (image.shape[1], image.shape[0]))
        if self._maps is None:
            return image
        return np.asarray(
            # In older OpenCV the inscribed view exceeds the raw image by up to one pixel: repeat the edge.
            cv2.remap(image, *self._maps, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
            dtype=np.uint8,
        )


def require_size(camera: PinholeCamera, size: tuple[int, int]) -> None:
    """Raise ``CameraError`` for an image of another size (width, height) than the calibrated one."""
    if size != camera.size:
        raise CameraError(
            f"camera_info is for {camera.width}x{camera.height} but the image is {size[0]}x{size[1]}: "
            "send the calibration of this image size, or images of the calibrated size"
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
            f"with d {numbers_text(camera.distortion)} and focal length {raw.fx:g} px the {camera.model} lens sees "
            f"too wide an angle for one pinhole image: crop the image and its camera_info, or {CALIBRATE}"
        )
    return PinholeCamera(*raw.size, fx, fy, cx, cy)


def _require_unfolded(camera: DistortedCamera) -> None:
    """Raise ``CameraError`` if the lens model folds inside the raw image: no ray leads to the pixels beyond."""
    raw = camera.pinhole
    columns, rows = (np.linspace(0.0, side - 1.0, _SAMPLED_SIDE // 2) for side in raw.size)
    x, y = np.meshgrid((columns - raw.cx) / raw.fx, (rows - raw.cy) / raw.fy)
    folded = float((np.hypot(x, y) > _fold_radius(camera)).mean())
    if folded > _MAX_FOLDED:
        raise CameraError(
            f"d {numbers_text(camera.distortion)} ({camera.model}) folds inside the image: {folded:.0%} of it lies "
            f"where the model turns back; the lens is another one: {CALIBRATE}, with the equidistant model for a wide "
            "angle"
        )


def _fold_radius(camera: DistortedCamera) -> float:
    """Radius in the raw image, at focal length 1, where the radial part of the lens model first turns back.

    Infinite if it does not. Tangential coefficients are small beside it.
    """
    if camera.model == "equidistant":
        angles = np.linspace(0.0, np.pi / 2, _FOLD_STEPS)
        powers = angles[:, None] ** np.arange(2, 10, 2)
        distorted = angles * (1 + powers @ camera.coefficients)
    else:
        k = np.zeros(8)
        k[: min(len(camera.distortion), 8)] = camera.distortion[:8]
        radii = np.linspace(0.0, _MAX_RADIUS, _FOLD_STEPS)
        s = np.square(radii)
        distorted = radii * (1 + s * (k[0] + s * (k[1] + s * k[4])))
        distorted /= 1 + s * (k[5] + s * (k[6] + s * k[7]))
    turned = np.flatnonzero(~(np.diff(distorted) > 0))
    return float(distorted[turned[0]]) if len(turned) else np.inf


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
            f"d {numbers_text(camera.distortion)} ({camera.model}) would leave {1 - coverage:.0%} of the rectified "
            f"image empty or folded over itself; the lens is another one: {CALIBRATE}, with the equidistant model "
            "for a wide angle"
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
