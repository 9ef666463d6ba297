"""Global descriptors of keyframes that also match images with other headings.

Where a street forks, a vehicle faces tens of degrees away from the mapped direction, and only part of its image shows
what the keyframe shows. A rotation moves pixels whatever their depth, so the view of a rotated camera can be rendered
from the keyframe's image.
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
_MAX_SIDE_ANGLE = 85.0  # deg; rays of a rotated camera farther to the side are not in the image


class RotatedViewOptions(Options):
    """Rotated views of a keyframe that its global descriptor includes."""

    yaws: tuple[Yaw, ...] = Field((-30.0, -15.0, 15.0, 30.0), description="yaw of the views; empty: none [deg]")
    weight: float = Field(0.5, gt=0, description="weight of each view's global descriptor; the image's own has 1")


def with_rotated_views(
    features: Features, image: UInt8, camera: PinholeCamera, extractor: FeatureExtractor, options: RotatedViewOptions
) -> Features:
    """Features whose global descriptor is the weighted mean of those of the image and its rotated views.

    Args:
        features: features of the image; returned unchanged if their global descriptor is still to be learned (VLAD).
        image: (H, W) or (H, W, 3) image.
        camera: camera of the image.
        extractor: extractor of the features.
        options: yaws and weight of the views.
    """
    if not len(features.global_descriptor):
        return features
    half_view = np.degrees(np.arctan(0.5 * camera.width / camera.fx))
    total = features.global_descriptor.astype(np.float64)
    for yaw in (yaw for yaw in options.yaws if half_view + abs(yaw) < _MAX_SIDE_ANGLE):
        total += options.weight * extractor.extract(rotated_view(image, camera, yaw)).global_descriptor
    return replace(features, global_descriptor=(total / np.linalg.norm(total)).astype(np.float32))


def rotated_view(image: UInt8, camera: PinholeCamera, yaw: float) -> UInt8:
    """Render the view of the camera rotated to the right by ``yaw`` [deg]; mirrored beyond the border of the image."""
    cosine, sine = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    rotated_from_cam = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    homography = camera.matrix @ rotated_from_cam @ np.linalg.inv(camera.matrix)
    return np.asarray(cv2.warpPerspective(image, homography, camera.size, borderMode=cv2.BORDER_REFLECT), np.uint8)
