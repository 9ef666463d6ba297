"""Keypoints without the errors of the camera's calibration."""

from dataclasses import replace

import numpy as np

from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.camera_correction import CameraCorrection


def corrected(features: Features, correction: CameraCorrection, camera: PinholeCamera) -> Features:
    """Features with keypoints where the camera would have seen them if its calibration were right."""
    if correction == CameraCorrection():
        return features
    pixels = features.keypoints.astype(np.float64)
    return replace(features, keypoints=(pixels - correction.shift(pixels, camera)).astype(np.float32))
