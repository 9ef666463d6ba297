"""Cameras of ``sensor_msgs/CameraInfo``: distortion models, region of interest, binning, and the camera's frame.

Nodes, bags and calibration files read them here, as ROS's image_geometry and OpenCV do.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vizloc_ros.errors import CameraError, UncalibratedError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import CALIBRATE, COEFFICIENT_COUNTS, MODELS, DistortedCamera
from vizloc_ros.wording import name_text, numbers_text, short_text

_NONE = "none"
# Names in use, in lower case and with _ for - and blanks, and the model meant. The last ones tell of no model that
# OpenCV has, so they are taken without coefficients only.
MODEL_NAMES = {
    **dict.fromkeys(("plumb_bob", "radtan", "radial_tangential", "brown_conrady"), "plumb_bob"),
    **dict.fromkeys(("rational_polynomial", "rational"), "rational_polynomial"),
    **dict.fromkeys(
        ("equidistant", "equi", "fisheye", "opencv_fisheye", "kannala_brandt", "kannala_brandt4", "kannala_brandt_4"),
        "equidistant",
    ),
    **dict.fromkeys(
        ("", "none", "pinhole", "perspective", "inverse_brown_conrady", "modified_brown_conrady"),
        _NONE,
    ),
}
_POLYNOMIALS = ("plumb_bob", "rational_polynomial")  # OpenCV tells them apart by the number of coefficients alone
_MAX_SIDE = 16_384  # px; OpenCV cannot remap much larger images
_MAX_AXIS_TANGENT = 3.0  # of the angle between optical axis and image: no crop of a pinhole image is farther away
_MAX_OFF_CENTRE = 0.25  # of the image's side: principal points of whole sensors are nearer to the middle
_FOCAL_LENGTHS = (0.2, 5.0)  # of the image's width: 0.2 sees 136 degrees, 5 sees 11
_MAX_FOCAL_RATIO = 2.5  # of fx to fy, or fy to fx: an image may be squeezed to half its width or height
_LARGER_IMAGE = 0.7  # of both sides: a principal point beyond is mostly that of an image of a larger size


def camera_of_message(msg: Any) -> DistortedCamera:
    """Camera of a ``sensor_msgs/CameraInfo`` of ROS 2 or ROS 1, of any library. Raises as ``camera_from_info``."""
    k, d = (msg.k, msg.d) if hasattr(msg, "k") else (msg.K, msg.D)
    return camera_from_info(
        int(msg.width),
        int(msg.height),
        list(k),
        list(d),
        str(msg.distortion_model),
        binning=(int(msg.binning_x), int(msg.binning_y)),
        roi=(int(msg.roi.x_offset), int(msg.roi.y_offset), int(msg.roi.width), int(msg.roi.height)),
    )


def first_camera(messages: Iterable[Any]) -> tuple[DistortedCamera, Any]:
    """Return the camera of the first calibrated ``sensor_msgs/CameraInfo``, and that message.

    Raises:
        UncalibratedError: no message is calibrated, or there is none.
        CameraError: the first calibrated message cannot be used.
    """
    uncalibrated = 0
    for msg in messages:
        try:
            return camera_of_message(msg), msg
        except UncalibratedError:
            uncalibrated += 1
    if uncalibrated:
        raise UncalibratedError(f"none of the {uncalibrated} messages is calibrated, k is all zero: {CALIBRATE}")
    raise UncalibratedError("there is no message: record it with the images")


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
    """Check the fields of a ``sensor_msgs/CameraInfo`` and return the camera of the images that come with it.

    With a region of interest or binning it is that of the region, binned, and its ``whole`` that of the whole image.

    Args:
        width: width of the whole image, without region of interest and binning [px].
        height: height of the whole image [px].
        k: 9 elements of K of the whole image, row by row.
        d: distortion coefficients; none, or all zero, for an image without distortion.
        distortion_model: one of ``MODEL_NAMES``.
        binning: binning_x, binning_y; 0 and 1 are none.
        roi: x_offset, y_offset, width, height of the region of interest in the whole image; all zero for all of it.

    Raises:
        UncalibratedError: all elements of K are zero.
        CameraError: a field cannot be used; the text names it.
    """
    if len(k) != 9:
        raise CameraError(f"k has {len(k)} elements; it must have the 9 of a 3x3 matrix, row by row")
    fx, skew, cx, below, fy, cy, *last_row = (float(value) for value in k)
    unusable = f"k has focal length ({fx:g}, {fy:g}) px, so the camera is not calibrated: {CALIBRATE}"
    if not np.any(k):
        raise UncalibratedError(f"{unusable}, or let the driver load its calibration file")
    if width <= 0 or height <= 0:
        raise CameraError(f"width and height are {width}x{height}; they must be those of the image: {CALIBRATE}")
    if max(width, height) > _MAX_SIDE:
        raise CameraError(f"width and height are {width}x{height}, beyond {_MAX_SIDE}; they must be the image's")
    if not (np.isfinite([fx, fy]).all() and fx > 0 and fy > 0):
        raise CameraError(unusable)
    if (skew, below, *last_row) != (0, 0, 0, 0, 1):
        raise CameraError(f"k is {numbers_text(k)}; it must be (fx 0 cx, 0 fy cy, 0 0 1), without skew: {CALIBRATE}")
    if not np.isfinite([cx, cy]).all():
        raise CameraError(f"k has principal point ({cx:g}, {cy:g}); it must be finite: {CALIBRATE}")
    model, coefficients = distortion_from_info(distortion_model, d)
    pinhole = PinholeCamera(width, height, fx, fy, cx, cy)
    _check_principal_point(pinhole)
    whole = DistortedCamera(pinhole, coefficients, model)
    reduced = _reduced(pinhole, (max(1, binning[0]), max(1, binning[1])), roi)
    _check_focal_length(pinhole)
    return whole if reduced == pinhole else replace(whole, pinhole=reduced, whole=whole)


def distortion_from_info(distortion_model: str, d: Sequence[float]) -> tuple[str, tuple[float, ...]]:
    """Model and coefficients of a ``DistortedCamera`` from the fields of a ``sensor_msgs/CameraInfo``.

    A name in use is replaced by its model. Where the number of coefficients is not the model's, zeros at the end are
    left off; OpenCV's polynomials are told apart by the number alone.

    Raises:
        CameraError: the name is not known, or has coefficients where it takes none.
    """
    name = short_text(distortion_model)
    model = MODEL_NAMES.get(re.sub(r"[\s-]+", "_", name.lower()))
    if model is None:
        raise CameraError(f"distortion_model {name!r} is not known; calibrate with one of {MODELS}")
    coefficients = tuple(float(value) for value in d)
    if model == _NONE:
        if any(coefficients):
            given = repr(name) if name else "empty"
            raise CameraError(f"distortion_model is {given} but d is {numbers_text(d)}: set it to one of {MODELS}")
        return "plumb_bob", ()
    fitting = _without_zeros(coefficients, COEFFICIENT_COUNTS[model])
    if fitting is None and model in _POLYNOMIALS:
        for other in _POLYNOMIALS:
            if (fitting := _without_zeros(coefficients, COEFFICIENT_COUNTS[other])) is not None:
                return other, fitting
    return model, coefficients if fitting is None else fitting


def camera_frame(image_frame: str, info_frame: str) -> str:
    """Frame of the camera from the ``frame_id`` of an image and of its camera_info: the image's (REP 104), if any."""
    return image_frame or info_frame


def frame_difference(image_frame: str, info_frame: str) -> str:
    """Describe different frames of images and camera_info, and the one that is used; empty if they are equal."""
    if image_frame.lstrip("/") == info_frame.lstrip("/"):  # tf1 wrote '/camera'
        return ""
    return (
        f"frame_id of the images is {name_text(image_frame)}, of camera_info {name_text(info_frame)}: "
        f"{camera_frame(image_frame, info_frame)} is used; let the driver set both alike (REP 104)"
    )


def _without_zeros(coefficients: tuple[float, ...], counts: Sequence[int]) -> tuple[float, ...] | None:
    """Leave off zeros at the end until the number of coefficients is one of the counts; None if it never is."""
    while len(coefficients) not in counts:
        if not coefficients or coefficients[-1] != 0:
            return None
        coefficients = coefficients[:-1]
    return coefficients


def require_possible(camera: PinholeCamera) -> None:
    """Raise ``CameraError`` for a camera whose focal length or principal point cannot be."""
    _check_principal_point(camera)
    _check_focal_length(camera)


def _check_focal_length(camera: PinholeCamera) -> None:
    """Raise ``CameraError`` for a focal length that no camera of this image size has."""
    shortest, longest = _FOCAL_LENGTHS
    if not all(shortest * camera.width <= focal <= longest * camera.width for focal in (camera.fx, camera.fy)):
        raise CameraError(
            f"k has focal length ({camera.fx:g}, {camera.fy:g}) px, which is not {shortest:g} to {longest:g} times the "
            f"width, {camera.width}: {CALIBRATE}, or send the camera_info that belongs to this image size"
        )
    if not 1 / _MAX_FOCAL_RATIO <= camera.fx / camera.fy <= _MAX_FOCAL_RATIO:
        raise CameraError(
            f"k has focal length ({camera.fx:g}, {camera.fy:g}) px: fx and fy differ by more than a factor of "
            f"{_MAX_FOCAL_RATIO:g}, as for no pixel: {CALIBRATE}"
        )


def _check_principal_point(camera: PinholeCamera) -> None:
    """Raise ``CameraError`` for a principal point outside the image that no crop explains."""
    columns, rows = camera.cx / camera.width, camera.cy / camera.height
    if 0 <= columns < 1 and 0 <= rows < 1:
        return
    outside = np.array([_outside(camera.cx, camera.width) / camera.fx, _outside(camera.cy, camera.height) / camera.fy])
    if min(columns, rows) > _LARGER_IMAGE or np.hypot(*outside) > _MAX_AXIS_TANGENT:
        raise CameraError(
            f"k has principal point ({camera.cx:g}, {camera.cy:g}) outside the {camera.width}x{camera.height} image: "
            f"{CALIBRATE}, or send the camera_info that belongs to this image size, for a crop with its roi"
        )


def _outside(position: float, side: int) -> float:
    return max(-position, position - (side - 1), 0.0)


def _reduced(whole: PinholeCamera, binning: tuple[int, int], roi: tuple[int, int, int, int]) -> PinholeCamera:
    """Pinhole camera of the region of interest, binned, with the K of image_geometry.

    Raises:
        CameraError: the region is not inside the image, or K is that of the binned image.
    """
    left, top, width, height = roi if any(roi) else (0, 0, *whole.size)
    binned_width, binned_height = width // binning[0], height // binning[1]
    if left + width > whole.width or top + height > whole.height or min(binned_width, binned_height) < 1:
        raise CameraError(
            f"roi is {roi} (x, y, width, height) with binning {binning[0]}x{binning[1]}, no region of the image: "
            f"width and height, {whole.width}x{whole.height}, must be those of the whole image, and k its calibration"
        )
    if max(binning) > 1 and _is_off_centre(whole) and not _is_off_centre(_binned_size(whole, binning)):
        raise CameraError(
            f"binning is {binning[0]}x{binning[1]}, but k, with principal point ({whole.cx:g}, {whole.cy:g}), is that "
            f"of the binned image and not of the whole one, {whole.width}x{whole.height}: "
            "send width and height of the binned image, and no binning"
        )
    return PinholeCamera(
        binned_width,
        binned_height,
        whole.fx / binning[0],
        whole.fy / binning[1],
        (whole.cx - left) / binning[0],
        (whole.cy - top) / binning[1],
    )


def _binned_size(camera: PinholeCamera, binning: tuple[int, int]) -> PinholeCamera:
    return replace(camera, width=max(1, camera.width // binning[0]), height=max(1, camera.height // binning[1]))


def _is_off_centre(camera: PinholeCamera) -> bool:
    offsets = (camera.cx / camera.width - 0.5, camera.cy / camera.height - 0.5)
    return max(abs(offset) for offset in offsets) > _MAX_OFF_CENTRE
