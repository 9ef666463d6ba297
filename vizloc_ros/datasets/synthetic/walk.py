"""Walk around the middle of a room with a camera in the hand, which looks around, rolls and bobs with the steps."""

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.synthetic.route import VEHICLE_FROM_CAM, Wobble, rotation_x, rotation_z
from vizloc_ros.geometry.poses import pose_from_matrix
from vizloc_ros.geometry.se3 import so3_log

SPEED = 0.6  # m/s, of somebody who looks around
MAX_TURN_RATE = np.radians(60)  # rad/s at that speed, about the vertical axis
_HALF_AXES = np.array([1.95, 1.4])  # m, of the ellipse on which the walk goes around
_HEIGHT = 1.4  # m
_MEAN_OFFSET, _MAX_OFFSET = 0.15, 0.3  # m, beside the ellipse, and beside that
_MEAN_YAW = np.radians(8.0)  # beside the way
_MAX_PITCH, _MAX_ROLL, _TREMOR = np.radians([12.0, 9.0, 0.4])
_MEAN_PITCH = np.radians(8.0)  # downwards
_ANGLES: Float64 = np.linspace(0, 2 * np.pi, 4001)
_ELLIPSE: Float64 = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1) * _HALF_AXES
_DISTANCES: Float64 = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(_ELLIPSE, axis=0), axis=1))])
ROUND_LENGTH = float(_DISTANCES[-1])  # m, about 10.6
_STEPS = round(1.8 * ROUND_LENGTH / SPEED)  # of a round, 1.8 in a second


def _ellipse_at(distance: float) -> tuple[Float64, float]:
    """Point (2,) [m] and heading [rad] of the ellipse, counter-clockwise."""
    angle = float(np.interp(distance % ROUND_LENGTH, _DISTANCES, _ANGLES))
    ahead = np.array([-np.sin(angle), np.cos(angle)]) * _HALF_AXES
    return np.array([np.cos(angle), np.sin(angle)]) * _HALF_AXES, float(np.arctan2(ahead[1], ahead[0]))


class HandheldWalk:
    """Motion of the camera on one round; the same interface as ``Drive``."""

    def __init__(self, rng: np.random.Generator, side: float) -> None:
        """Take the side of the ellipse on which the walk is in the mean: 1 for the inner one, -1 for the outer one.

        On the outer side, the camera looks more to the outside.
        """
        self._side = side

        def wobble(peak: float, *harmonics: int) -> Wobble:
            return Wobble(rng, peak, harmonics, ROUND_LENGTH)

        self._offset = wobble(_MAX_OFFSET, 1, 2, 3)
        self._pitch, self._roll = wobble(_MAX_PITCH, 3, 5, 8), wobble(_MAX_ROLL, 2, 5, 9)
        self._bob, self._sway = wobble(0.025, _STEPS), wobble(0.015, _STEPS // 2)
        self._tremor = [wobble(_TREMOR, 2 * _STEPS - 7, 2 * _STEPS + 3, 3 * _STEPS - 5) for _ in range(3)]
        self._yaw = wobble(1.0, 2, 3, 5)
        self._gain = self._largest_gain()

    def _largest_gain(self) -> float:
        """Factor on the looking around for which the fastest turn has ``MAX_TURN_RATE``."""
        distances = np.linspace(0, ROUND_LENGTH, 2000)
        own = np.array([self._yaw.slope(d) for d in distances])
        path = np.gradient(np.unwrap([_ellipse_at(d)[1] for d in distances]), distances)  # rad/m, of the way itself
        return float(np.min((MAX_TURN_RATE / SPEED - path * np.sign(own)) / np.maximum(np.abs(own), 1e-9)))

    def world_from_cam(self, distance: float) -> Rigid3d:
        """Pose of the camera's optical frame at a distance along the walk [m]."""
        point, heading = _ellipse_at(distance)
        left = np.array([-np.sin(heading), np.cos(heading)])
        point = point + (_MEAN_OFFSET * self._side + self._offset(distance) + self._sway(distance)) * left
        yaw, pitch, roll = (tremor(distance) for tremor in self._tremor)
        yaw += heading + _MEAN_YAW * self._side + self._gain * self._yaw(distance)
        matrix = np.zeros((3, 4))
        matrix[:, :3] = (
            rotation_z(yaw)
            @ VEHICLE_FROM_CAM
            @ rotation_x(self._pitch(distance) + pitch - _MEAN_PITCH)
            @ rotation_z(self._roll(distance) + roll)
        )
        matrix[:, 3] = *point, _HEIGHT + self._bob(distance)
        return pose_from_matrix(matrix)

    def yaw_rate(self, distance: float) -> float:
        """Turn about the camera's own vertical axis per distance along the walk [rad/m]."""
        before, after = (self.world_from_cam(distance + step).rotation for step in (-0.005, 0.005))
        return -float(so3_log(before.inverse() * after)[1]) / 0.01
