"""A camera's calibration in a file, read and written: YAML of ROS's camera_calibration, or a message that was printed.

The first is what camera_calibration and camera_info_manager write (``image_width``, ``camera_matrix``,
``distortion_coefficients``), the second the output of ``ros2 topic echo camera_info``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vizloc_ros.arrays import Float64
from vizloc_ros.bounded import load_first_yaml
from vizloc_ros.datasets.parsing import read_text
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.camera_info import camera_from_info
from vizloc_ros.geometry.rectification import DistortedCamera

_EXPECTED = "expected the YAML file of camera_calibration (image_width, image_height, camera_matrix, ...)"
_Content = Mapping[str, Any]


def read_camera_info(path: Path) -> DistortedCamera:
    """Read a camera from a YAML file of camera_calibration. Raises ``CameraError`` that names the file."""
    try:
        content = load_first_yaml(read_text(path))
    except DatasetError as error:
        raise CameraError(str(error)) from error
    except yaml.YAMLError as error:
        raise CameraError(f"{path}: not YAML: {' '.join(str(error).split())}; {_EXPECTED}") from error
    if not isinstance(content, dict):
        raise CameraError(f"{path}: no calibration; {_EXPECTED}")
    try:
        return _of_message(content) if "width" in content else _of_calibration(content)
    except CameraError as error:
        raise CameraError(f"{path}: {error}") from error


def write_camera_info(path: Path, camera: DistortedCamera, name: str = "camera") -> None:
    """Write a camera as camera_calibration does."""
    pinhole, count = camera.pinhole, len(camera.distortion)
    rectified = np.column_stack([pinhole.matrix, np.zeros(3)])
    content = {
        "image_width": pinhole.width,
        "image_height": pinhole.height,
        "camera_name": name,
        "camera_matrix": _written(pinhole.matrix),
        "distortion_model": camera.model,
        "distortion_coefficients": {"rows": 1, "cols": count, "data": list(camera.distortion)},
        "rectification_matrix": _written(np.eye(3)),
        "projection_matrix": _written(rectified),
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=None), encoding="utf-8")


def _written(matrix: Float64) -> dict[str, Any]:
    return {"rows": matrix.shape[0], "cols": matrix.shape[1], "data": matrix.ravel().tolist()}


def _of_calibration(content: _Content) -> DistortedCamera:
    coefficients = _matrix(content, "distortion_coefficients")
    # Old files have no model, as do those of camera_model, its former name: camera_info_manager takes plumb_bob.
    model = content.get("distortion_model", content.get("camera_model", "plumb_bob"))
    return camera_from_info(
        _whole_number(content, "image_width"),
        _whole_number(content, "image_height"),
        _matrix(content, "camera_matrix"),
        coefficients,
        str(model or ""),
    )


def _of_message(content: _Content) -> DistortedCamera:
    binning = [_whole_number(content, key, 0) for key in ("binning_x", "binning_y")]
    roi = content.get("roi") or {}
    if not isinstance(roi, dict):
        raise CameraError(f"roi is {roi!r}, not a region; {_EXPECTED}")
    x, y, width, height = (_whole_number(roi, key, 0) for key in ("x_offset", "y_offset", "width", "height"))
    return camera_from_info(
        _whole_number(content, "width"),
        _whole_number(content, "height"),
        _numbers(content.get("k", content.get("K")), "k"),
        _numbers(content.get("d", content.get("D")), "d"),
        str(content.get("distortion_model") or ""),
        binning=(binning[0], binning[1]),
        roi=(x, y, width, height),
    )


def _matrix(content: _Content, key: str) -> list[float]:
    value = content.get(key)
    return _numbers(value.get("data") if isinstance(value, dict) else value, key)


def _numbers(value: Any, key: str) -> list[float]:
    """Numbers of a list; YAML 1.1 takes 1e-05, which camera_calibration_parsers writes, for a text."""
    if not isinstance(value, list):
        raise CameraError(f"{key} is missing, or no list of numbers; {_EXPECTED}")
    try:
        return [float(element) for element in value]
    except (TypeError, ValueError):
        raise CameraError(f"{key} is {value!r}; it must be a list of numbers") from None


def _whole_number(content: _Content, key: str, default: int | None = None) -> int:
    value = content.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CameraError(f"{key} is {value!r}, not a whole number; {_EXPECTED}")
    return value
