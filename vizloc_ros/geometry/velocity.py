"""Velocity of a vehicle from two of its poses, with the covariance that it inherits from them."""

from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.se3 import se3_log
from vizloc_ros.timing import NANOSECONDS

_UNKNOWN_VARIANCE = 1e6  # (m/s)^2 and (rad/s)^2; a filter reads a zero as a vehicle that surely stands


@dataclass(frozen=True)
class Velocity:
    """Velocity in the frame of the vehicle.

    Attributes:
        twist: (6,) of the origin [m/s] and of the rotation [rad/s].
        covariance: (6, 6) of the twist.
    """

    twist: Float64
    covariance: Float64


UNKNOWN = Velocity(np.zeros(6), _UNKNOWN_VARIANCE * np.eye(6))


class VelocityEstimator:
    """Velocity from each pose and the one before it."""

    def __init__(self, acceleration_std: float, turn_acceleration_std: float, max_gap: float) -> None:
        """Know no pose.

        Args:
            acceleration_std: standard deviation of the acceleration [m/s^2].
            turn_acceleration_std: standard deviation of the angular acceleration [deg/s^2].
            max_gap: time between two poses above which they say nothing of the velocity [s].
        """
        turn = np.radians(turn_acceleration_std)
        self._acceleration_std = np.array([acceleration_std] * 3 + [turn] * 3)
        self._max_gap = max_gap
        self._last: tuple[int, Rigid3d, Float64] | None = None

    def reset(self) -> None:
        """Forget the last pose: the next one is not a motion from it."""
        self._last = None

    def add(self, stamp_ns: int, map_from_base: Rigid3d, covariance: Float64) -> Velocity:
        """Velocity at the time of a pose; ``UNKNOWN`` if there is none shortly before it.

        The mean velocity since the pose before is that of the time between them: half the change of a constant
        acceleration is added to the errors of both poses, which count as independent.

        Args:
            stamp_ns: time of the pose.
            map_from_base: pose of the vehicle in the map.
            covariance: (6, 6) covariance of the pose, along the map's axes [m^2, m rad, rad^2].
        """
        before, self._last = self._last, (stamp_ns, map_from_base, covariance)
        seconds = (stamp_ns - before[0]) / NANOSECONDS if before is not None else 0.0
        if before is None or not 0 < seconds <= self._max_gap:
            return UNKNOWN
        twist = se3_log(before[1].inverse() * map_from_base) / seconds
        base_from_map = np.kron(np.eye(2), map_from_base.rotation.matrix().T)
        of_poses = base_from_map @ (before[2] + covariance) @ base_from_map.T / seconds**2
        return Velocity(twist, of_poses + np.diag((self._acceleration_std * seconds / 2) ** 2))
