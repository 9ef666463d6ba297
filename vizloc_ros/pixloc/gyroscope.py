"""Turns of the camera by a gyroscope, and the bias of its rates (not in the PixLoc paper).

A gyroscope measures the angular rate a hundred times a second, to a tenth of a degree from image to image. But its
rates have a constant error, the bias: up to 1 deg/s of cheap ones, which the accepted poses tell.
"""

from dataclasses import dataclass

import numpy as np
from pycolmap import Rotation3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.se3 import so3_exp, so3_log

_BIAS_SECONDS = 5.0  # of the exponential mean
_MAX_BIAS = 3.0  # deg/s
_MAX_ERROR = 2.0  # deg, that one pose can tell of


@dataclass(frozen=True)
class Attitude:
    """Attitude of the camera, or of the rig, by a gyroscope: the sum of its turns.

    Attributes:
        start_from_cam: rotation of the camera since the gyroscope began.
        run: number that is another one after each gap; attitudes of two runs tell nothing about the turn between them.
    """

    start_from_cam: Rotation3d
    run: int = 0

    def turn_to(self, later: "Attitude") -> Rotation3d | None:
        """Rotation cam_from_later of the camera between two times; None over a gap of the gyroscope."""
        return self.start_from_cam.inverse() * later.start_from_cam if later.run == self.run else None


class GyroscopeBias:
    """Exponential mean, over five seconds, of how much faster the gyroscope turns than the poses do.

    Poses are noisy from image to image. But the errors of successive turns cancel, but for those of the first and of
    the last pose, so that 0.1 deg of a pose tell the bias to some hundredths of a degree per second.

    Attributes:
        rate: bias (3,) in the camera's frame [rad/s].
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin without a bias."""
        self.rate: Float64 = np.zeros(3)

    def corrected(self, turn: Rotation3d, seconds: float) -> Rotation3d:
        """Turn of the camera without the bias: half of it is taken off before the turn, and half after."""
        half = so3_exp(-0.5 * seconds * self.rate)
        return half * turn * half

    def add(self, told: Rotation3d, seen: Rotation3d, seconds: float) -> None:
        """Add the turn between two successive poses, as the gyroscope has told it and as the poses show it.

        Args:
            told: rotation before_from_after by the gyroscope, with its bias.
            seen: the same by the poses.
            seconds: time between the poses [s], above 0.
        """
        weight = min(1.0, seconds / _BIAS_SECONDS)
        error = _limited(so3_log(seen.inverse() * self.corrected(told, seconds)), np.radians(_MAX_ERROR))
        self.rate = _limited(self.rate + weight / seconds * error, np.radians(_MAX_BIAS))


def _limited(vector: Float64, length: float) -> Float64:
    """Vector of at most this length, in the same direction."""
    return vector * min(1.0, length / max(float(np.linalg.norm(vector)), 1e-12))
