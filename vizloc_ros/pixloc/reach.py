"""Which levels a prior needs: the better it is, the fewer."""

import numpy as np

from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.references import References

_SIGMAS = 3.0
_REACH = 2.0  # cells from which a level finds its way to the truth


def coarsest_needed(
    pyramid: FeaturePyramid, references: References, camera: PinholeCamera, prediction: Prediction
) -> int:
    """Index of the first level, from the finest on, that finds landmarks as far off as the prediction may have them."""
    depths = transform_points(prediction.map_from_cam.inverse(), references.points)[:, 2]
    by_position = prediction.position_std / np.median(depths)
    off = _SIGMAS * camera.fx * float(np.hypot(prediction.rotation_std, by_position))  # px of the image
    reached = (k for k, level in enumerate(pyramid.levels) if off * level.scale[0] <= _REACH)
    return next(reached, len(pyramid) - 1)
