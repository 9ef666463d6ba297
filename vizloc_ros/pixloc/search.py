"""Initial poses of alignments around a prediction, and the coarsest level that the prediction needs."""

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.optimizer.aligned_view import View

_FORWARD, _RIGHT, _TURN = 1.0, 0.5, np.radians(4.0)  # m, m, rad
_PATTERN = (  # (right, forward, turn) in the camera's frame: x right, z forward, turned about y
    (0.0, _FORWARD, 0.0),
    (0.0, -_FORWARD, 0.0),
    (_RIGHT, 0.0, -_TURN),
    (-_RIGHT, 0.0, _TURN),
    (0.0, 0.0, _TURN),
    (0.0, 0.0, -_TURN),
)


def initial_poses_around(map_from_cam: Rigid3d, spread: float) -> list[Rigid3d]:
    """Return six map_from_cam: 1 m ahead and behind, 0.5 m to both sides, and turned by 4 degrees, times ``spread``."""
    return [
        map_from_cam * se3_exp(spread * np.array([right, 0.0, forward, 0.0, turn, 0.0]))
        for right, forward, turn in _PATTERN
    ]


_SIGMAS = 3.0
_BASIN_CELLS = 2.0  # cells of a level: radius of the basin of convergence


def coarsest_needed(view: View, prediction: Prediction) -> int:
    """Return the index of the first level, from the finest on, whose basin of convergence holds the prediction's error.

    The error is three times the likely one, or three standard deviations of the prediction if that is not known, in
    pixels of a landmark at the median depth.
    """
    cam_from_map = view.cam_from_map(prediction.map_from_cam.inverse())
    depths = transform_points(cam_from_map, view.references.positions)[:, 2]
    position, rotation = prediction.likely_error or (prediction.position_std, prediction.rotation_std)
    error_px = _SIGMAS * view.camera.fx * float(np.hypot(rotation, position / np.median(depths)))
    converging = (k for k, level in enumerate(view.pyramid.levels) if error_px * level.scale[0] <= _BASIN_CELLS)
    return next(converging, len(view.pyramid) - 1)
