"""Localization of an artificial image, so that the first one of a camera takes no longer than the others.

Models are read, and libraries get ready, when they are first used: that takes a tenth of a second.
"""

import numpy as np

from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features, quantize
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.localization.calibration_check import CalibrationCheck
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.outcome import Localization
from vizloc_ros.localization.places import Place
from vizloc_ros.localization.pose_solver import PoseSolver

_CAMERA = PinholeCamera(640, 480, 400.0, 400.0, 319.5, 239.5)
_KEYPOINTS, _DIMENSION = 2048, 64
_PER_LANDMARK = 5  # observations
_DEPTHS = (4.0, 40.0)  # m


def warm_up(options: PoseOptions) -> Localization:
    """Localize an image of random landmarks, all of which are found, and check its calibration; return the outcome."""
    random = np.random.default_rng(0)
    pixels = random.uniform((0, 0), (_CAMERA.width - 1, _CAMERA.height - 1), (_KEYPOINTS, 2))
    depths = random.uniform(*_DEPTHS, (_KEYPOINTS, 1))
    positions = depths * _CAMERA.rays(pixels)
    vectors = random.normal(size=(_KEYPOINTS, _DIMENSION)).astype(np.float32)
    descriptors = quantize(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    scores = np.linspace(1, 0.1, _KEYPOINTS, dtype=np.float32)
    features = Features(pixels.astype(np.float32), scores, descriptors, NO_GLOBAL_DESCRIPTOR, _CAMERA.size)
    landmarks = np.tile(np.arange(_KEYPOINTS, dtype=np.int32), _PER_LANDMARK)
    place = Place(positions.astype(np.float32)[landmarks], landmarks, descriptors[landmarks])
    outcome = PoseSolver(options).solve(features, [place], _CAMERA)
    CalibrationCheck().check(_CAMERA, features.keypoints, outcome.pose)
    return outcome
