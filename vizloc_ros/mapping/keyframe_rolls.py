"""Roll of a camera against the keyframes around it: the map's own images say what is upright in the map."""

import numpy as np
from pycolmap import Rigid3d
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.quarter_turns import Roll

_NEAREST = 32  # keyframes; there may be those of several directions


class KeyframeRolls:
    """Rolls of cameras against a map, whose frame need not have z up."""

    def __init__(self, keyframe_poses: Float64) -> None:
        """Take the (K, 7) poses map_from_cam of the keyframes, see ``VisualMap``."""
        axes = Rotation.from_quat(keyframe_poses[:, 3:]).as_matrix()
        self._downs, self._directions = axes[:, :, 1], axes[:, :, 2]
        self._centers = cKDTree(keyframe_poses[:, :3])

    def roll_of(self, map_from_cam: Rigid3d) -> Roll:
        """Nearest roll of a camera with which its image looks like those of the keyframes near it.

        Keyframes count by the cosine between their viewing direction and the camera's; ``Roll.NONE`` if no keyframe
        near it looks in its direction.
        """
        rotation = map_from_cam.rotation.matrix()
        _, nearest = self._centers.query(map_from_cam.translation, k=min(_NEAREST, self._centers.n))
        nearest = np.atleast_1d(nearest)
        weights = np.maximum(self._directions[nearest] @ rotation[:, 2], 0.0)
        return Roll.of_down_axis(rotation.T @ (weights @ self._downs[nearest]))
