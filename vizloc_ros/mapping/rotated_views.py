"""Global descriptors of keyframes that are found from other headings too.

Where a street forks, a vehicle looks tens of degrees away from the mapped direction and shares part of the image only.
A turn moves pixels whatever their depth, so a keyframe's image tells what a turned camera would see of the place.
"""

from dataclasses import replace
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field

from vizloc_ros.arrays import UInt8
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.options import Options

Yaw = Annotated[float, Field(ge=-45, le=45)]
_SIDEWAYS = 85.0  # deg; what a turned camera sees farther to the side was seen by none


class RotatedViewOptions(Options):
    """Which views a keyframe's global descriptor stands for."""

    yaws: tuple[Yaw, ...] = Field((-30.0, -15.0, 15.0, 30.0), description="yaw of the views; empty: none [deg]")
    weight: float = Field(0.5, gt=0, description="of each view's global descriptor beside the image's own")


def with_rotated_views(
    features: Features, image: UInt8, camera: PinholeCamera, extractor: FeatureExtractor, options: RotatedViewOptions
) -> Features:
    """Features with a global descriptor that is the mean of the image's and of its turned views.

    Args:
        features: of the image. Those whose global descriptor has yet to be learned (VLAD) stay as they are.
        image: (H, W) or (H, W, 3).
        camera: of the image.
        extractor: that made the features.
        options: see ``RotatedViewOptions``.
    """
    if not len(features.global_descriptor):
        return features
    half_view = np.degrees(np.arctan(0.5 * camera.width / camera.fx))
    total = features.global_descriptor.astype(np.float64)
    for yaw in (yaw for yaw in options.yaws if half_view + abs(yaw) < _SIDEWAYS):
        total += options.weight * extractor.extract(turned(image, camera, yaw)).global_descriptor
    return replace(features, global_descriptor=(total / np.linalg.norm(total)).astype(np.float32))


def turned(image: UInt8, camera: PinholeCamera, yaw: float) -> UInt8:
    """What the camera would see, turned to the right by ``yaw`` [deg]; mirrored where the image ends."""
    cosine, sine = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    turned_from_cam = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    homography = camera.matrix @ turned_from_cam @ np.linalg.inv(camera.matrix)
    return np.asarray(cv2.warpPerspective(image, homography, camera.size, borderMode=cv2.BORDER_REFLECT), np.uint8)
