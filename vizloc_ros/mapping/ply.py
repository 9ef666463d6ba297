"""Export of a map for viewers (CloudCompare, MeshLab, Blender, Open3D): a PLY file of landmarks, one of keyframes."""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vizloc_ros.arrays import Float32, Float64, UInt8
from vizloc_ros.errors import MapError
from vizloc_ros.files import replacing
from vizloc_ros.geometry.poses import pose_of
from vizloc_ros.mapping.visual_map import VisualMap

SUFFIX = ".ply"
_TYPES = {"<f4": "float", "|u1": "uchar", "<i4": "int"}
_SPREAD = (2, 98)  # percentiles that get the ends of the color scale
_KEYFRAME_COLOR = (255, 255, 255)
_POINT = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "|u1"), ("green", "|u1"), ("blue", "|u1")]


class Coloring(str, Enum):
    """Quantity that the colors of landmarks show, from blue (low) to red (high)."""

    HEIGHT = "height"
    OBSERVATIONS = "observations"


def export_ply(visual_map: VisualMap, out: Path, coloring: Coloring = Coloring.HEIGHT) -> Path:
    """Write landmarks to a PLY file, and keyframes beside it. Return the path of the file of keyframes.

    Landmarks have ``x y z`` in the map frame [m], a color, and ``observations``, their number. Keyframes have the same
    position and color, and ``nx ny nz``, their viewing direction.

    Args:
        visual_map: the map.
        out: file of the landmarks, which ends with .ply; that of the keyframes is ``NAME_keyframes.ply``.
        coloring: choice of the colors of the landmarks.

    Raises:
        MapError: ``out`` does not end with .ply, or cannot be written.
    """
    if out.suffix.lower() != SUFFIX:
        raise MapError(f"{out}: does not end with {SUFFIX}, the format that is written: give another --out")
    of_keyframes = out.with_name(f"{out.stem}_keyframes{out.suffix}")
    poses = [pose_of(pose) for pose in visual_map.keyframe_poses]
    centers = np.array([pose.translation for pose in poses], np.float32)
    axes = np.array([pose.rotation.matrix() for pose in poses])
    counts = np.bincount(visual_map.observation_landmarks, minlength=visual_map.info.landmarks)
    up = -axes[:, :, 1].mean(axis=0)  # of the cameras: the map frame may have any axis up
    values = visual_map.landmark_positions @ up if coloring is Coloring.HEIGHT else np.log(np.maximum(counts, 1))
    landmarks = _points(visual_map.landmark_positions, _colors(values), {"observations": counts.astype("<i4")})
    directions = {f"n{axis}": axes[:, i, 2].astype("<f4") for i, axis in enumerate("xyz")}
    keyframes = _points(centers, np.full((len(centers), 3), _KEYFRAME_COLOR, np.uint8), directions)
    try:
        _write(out, landmarks, f"{coloring.value} is the color")
        _write(of_keyframes, keyframes, "keyframes, with their viewing directions")
    except OSError as error:
        raise MapError(f"{out}: cannot be written: {error}") from error
    return of_keyframes


def _colors(values: Float64) -> UInt8:
    """Colors (N, 3), RGB, of (N,) values on a scale that a few outliers do not stretch."""
    low, high = np.percentile(values, _SPREAD)
    scaled = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    bgr = cv2.applyColorMap(np.round(255 * scaled).astype(np.uint8)[:, None], cv2.COLORMAP_TURBO)
    return np.asarray(bgr[:, 0, ::-1], np.uint8)


def _points(positions: Float32, colors: UInt8, others: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Structured array (N,) of positions (N, 3), colors (N, 3) and other properties (N,) by name."""
    columns = [*np.asarray(positions).T, *colors.T, *others.values()]
    fields = [*_POINT, *((name, values.dtype.str) for name, values in others.items())]
    return np.rec.fromarrays(columns, dtype=np.dtype(fields))


def _write(path: Path, points: NDArray[Any], comment: str) -> None:
    """Write points as one element ``vertex``, binary and little-endian, which every viewer reads."""
    fields: Mapping[str, Any] = points.dtype.fields or {}
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment vizloc_ros map: {comment}",
        f"element vertex {len(points)}",
        *(f"property {_TYPES[dtype.str]} {name}" for name, (dtype, *_) in fields.items()),
        "end_header",
    ]
    with replacing(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode("ascii"))
        file.write(points.tobytes())
