"""Innovations: how far poses were from their predictions, which tells how the camera moves (not in the PixLoc paper).

A vehicle keeps its velocity, a hand does not. So how much a prediction may be off is measured on the last ones. A pose
far beyond what was expected tells nothing about the motion: its image may be another one than its stamp says.
"""

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.se3 import se3_log

_WEIGHT = 0.25  # of the newest one in the mean
_NEEDED = 3  # before the mean tells something
_SURPRISE = 3.0  # standard deviations of a prediction, beyond which no acceleration is learned
_POSES = 6.0  # variances of a pose in an innovation: (1, -2, 1) of three of them


class Innovations:
    """Mean squares of the innovations of a track. For one thread."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all of them, as for another track."""
        self._count, self._seconds = 0, 0.0
        self._squares: Float64 = np.zeros(2)  # of position and rotation [m^2, rad^2]
        self._accelerations: Float64 = np.zeros(2)  # squared [m^2/s^4, rad^2/s^4]

    def add(
        self,
        predicted_from_found: Rigid3d,
        seconds: float,
        prediction_std: tuple[float, float],
        pose_std: tuple[float, float],
    ) -> None:
        """Add the innovation of a prediction.

        Args:
            predicted_from_found: pose that was found, in the frame of the predicted one.
            seconds: time from the pose before to this one [s], above 0.
            prediction_std: standard deviations of the prediction [m, rad].
            pose_std: standard deviations of a pose that was found [m, rad]: innovations below tell no acceleration.
        """
        twist = se3_log(predicted_from_found)
        squares = np.array([twist[:3] @ twist[:3], twist[3:] @ twist[3:]])
        accelerations = np.maximum(squares - _POSES * np.square(pose_std), 0.0) / seconds**4
        weight = max(_WEIGHT, 1 / (self._count + 1))
        # a jerk counts at once, and is forgotten slowly
        self._squares = np.maximum(squares, (1 - weight) * self._squares + weight * squares)
        if (squares <= _SURPRISE**2 * np.square(prediction_std)).all():
            self._accelerations += weight * (accelerations - self._accelerations)
        self._count, self._seconds = self._count + 1, seconds

    def likely_error(self, seconds: float) -> tuple[float, float] | None:
        """Return by how much a prediction is likely to be off [m, rad]; None before enough of them are known."""
        if self._count < _NEEDED:
            return None
        growth = max(1.0, seconds / self._seconds) ** 2
        position, rotation = growth * np.sqrt(self._squares)
        return float(position), float(rotation)

    @property
    def accelerations(self) -> tuple[float, float]:
        """Root mean square of the accelerations that were seen [m/s^2, rad/s^2]; 0 before enough are known."""
        if self._count < _NEEDED:
            return 0.0, 0.0
        position, rotation = np.sqrt(self._accelerations)
        return float(position), float(rotation)
