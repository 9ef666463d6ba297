"""Where alignments start: the initial poses around a prediction, and the level that is coarse enough for it."""

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.references import References

_ALONG, _ASIDE, _TURN = 1.0, 0.5, np.radians(4.0)
_PATTERN = (  # in the camera's frame: x right, z forward, turned about y
    (0.0, _ALONG, 0.0),
    (0.0, -_ALONG, 0.0),
    (_ASIDE, 0.0, -_TURN),
    (-_ASIDE, 0.0, _TURN),
    (0.0, 0.0, _TURN),
    (0.0, 0.0, -_TURN),
)


def starts_around(map_from_cam: Rigid3d, spread: float) -> list[Rigid3d]:
    """map_from_cam of starts ``spread`` times 1 m ahead and behind, 0.5 m aside, and turned by 4 degrees."""
    return [
        map_from_cam * se3_exp(spread * np.array([aside, 0.0, along, 0.0, turn, 0.0]))
        for aside, along, turn in _PATTERN
    ]


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
