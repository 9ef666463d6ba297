"""Figures of one alignment: motion of the landmarks, and confidence of the image (PixLoc, Figures 2 and 4)."""

from collections.abc import Sequence

import cv2
import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float32, Float64, UInt8
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.pixloc.optimizer.projection import project
from vizloc_ros.pixloc.pyramid import FeatureLevel

_SHIFT = 3  # OpenCV's fractional bits
_LINE, _START, _END = (80, 200, 255), (60, 60, 230), (90, 220, 60)  # BGR


def draw_travel(
    image: UInt8,
    points: Float64,
    poses: Sequence[Rigid3d],
    camera: PinholeCamera,
    correction: IntrinsicsCorrection,
) -> UInt8:
    """Draw the motion of (N, 3) landmarks from the first pose cam_from_map (red) to the last one (green).

    Landmarks outside the image at the last pose are left out.

    Returns:
        (H, W, 3) BGR image.
    """
    canvas: UInt8 = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image.copy()
    rotations = np.array([pose.rotation.matrix() for pose in poses])
    translations = np.array([pose.translation for pose in poses])
    projected = project(rotations, translations, points, camera, correction)
    shown = camera.contains(projected.pixels[-1]) & projected.in_front.all(axis=0)
    lines = np.round(projected.pixels[:, shown].clip(-1e4, 1e4) * 2**_SHIFT).astype(np.int32)
    cv2.polylines(canvas, list(lines.transpose(1, 0, 2)[:, :, None]), False, _LINE, 1, cv2.LINE_AA, _SHIFT)
    for ends, color in ((lines[0], _START), (lines[-1], _END)):
        for x, y in ends.tolist():
            cv2.circle(canvas, (x, y), 2 << _SHIFT, color, -1, cv2.LINE_AA, _SHIFT)
    return canvas


def draw_confidence(image: UInt8, level: FeatureLevel) -> UInt8:
    """Draw the confidence of a level over the image, as a (H, W, 3) BGR image: blue for low, red for high."""
    height, width = image.shape[:2]
    low, high = float(level.confidences.min()), float(level.confidences.max())
    scaled: Float32 = (level.confidences - low) / max(high - low, 1e-6)
    enlarged = cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR)
    heat = cv2.applyColorMap((255 * enlarged).astype(np.uint8), cv2.COLORMAP_JET)
    gray = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    return np.asarray(cv2.addWeighted(gray, 0.5, heat, 0.5, 0), np.uint8)
