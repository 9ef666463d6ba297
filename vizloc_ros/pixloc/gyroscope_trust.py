"""Trust in the gyroscope: its turns are compared with those of the aligned poses, and left out while they disagree.

A driver gives degrees instead of radians, or a transform has the wrong axes; a sensor is stuck, or its clock is not the
camera's. Predictions from such turns would lose the track, though the images alone would keep it.
"""

import numpy as np
from pycolmap import Rotation3d

from vizloc_ros.pixloc.gyroscope import Attitude, GyroscopeBias
from vizloc_ros.pixloc.motion import KnownPose
from vizloc_ros.timing import NANOSECONDS

_MIN_ANGLE = 6.0  # deg; smaller turns prove nothing, but may refute
_COMPARED_S, _LONGEST_S = 1.0, 3.0  # s; a comparison takes no longer, but for poses that are farther apart
_MAX_ERROR, _POSE_ANGLE, _BIAS = 0.15, 1.0, 0.5  # of the turn; deg, of two aligned poses; deg/s, not estimated yet
_AGREEMENTS, _MOST_AGREEMENTS = 5, 160  # in a row, before it is used again; twice as many after each relapse


class GyroscopeTrust:
    """Comparison of the gyroscope's turns with those of the accepted poses, over six degrees or a second.

    Attributes:
        problem: reason why the gyroscope is left out; empty while it is used.
        bias: bias of the gyroscope, by the accepted poses.
    """

    def __init__(self) -> None:
        self.problem, self.bias = "", GyroscopeBias()
        self.reset()

    @property
    def is_proven(self) -> bool:
        """True once it has agreed five times in a row: a single image that contradicts it is more likely wrong."""
        return not self.problem and self._agreements >= _AGREEMENTS

    def reset(self) -> None:
        """Forget everything, as after a jump of the clock."""
        self.problem = ""
        self.bias.reset()
        self._last: KnownPose | None = None  # of the bias
        self._anchor: KnownPose | None = None  # of the comparison
        self._agreements, self._needed = 0, _AGREEMENTS

    def restart(self) -> None:
        """Begin a comparison at the next pose: the track has been replaced. Verdict and bias stay, a proof does not."""
        self._last = self._anchor = None
        self._agreements = 0

    def turn_since(self, known: KnownPose | None, attitude: Attitude | None, stamp_ns: int) -> Rotation3d | None:
        """Rotation known_from_cam of the camera, without the bias; None while the gyroscope tells or is worth nothing.

        Args:
            known: the pose before.
            attitude: attitude of the camera.
            stamp_ns: its time.
        """
        return None if self.problem else self._told(known, attitude, stamp_ns)

    def add(self, known: KnownPose) -> None:
        """Add the next accepted pose of the track."""
        last, self._last = self._last, known
        if last is not None and known.stamp_ns > last.stamp_ns:
            self._learn(last, known)
        anchor = self._anchor
        told = self._told(anchor, known.attitude, known.stamp_ns)
        if anchor is None or told is None:
            self._anchor = known
            return
        seconds = (known.stamp_ns - anchor.stamp_ns) / NANOSECONDS
        seen = _turn(anchor, known)
        turned = float(np.degrees(max(seen.angle(), told.angle())))
        if turned < _MIN_ANGLE and seconds < _COMPARED_S:
            return
        self._anchor = known
        angle = float(np.degrees((told.inverse() * seen).angle()))
        if seconds > _LONGEST_S:
            return
        if angle <= _POSE_ANGLE + _MAX_ERROR * turned + _BIAS * seconds:
            self._agree(turned)
            return
        self._agreements = 0
        self.bias.reset()  # it may have been learned from what is wrong
        self.problem = (
            f"the gyroscope is left out until it agrees again: it told of {np.degrees(told.angle()):.1f} deg where the "
            f"images show {np.degrees(seen.angle()):.1f} deg, {angle:.1f} deg apart"
        )

    def _agree(self, turned: float) -> None:
        self._agreements += turned >= _MIN_ANGLE
        if self.problem and self._agreements >= self._needed:
            self.problem, self._needed = "", min(2 * self._needed, _MOST_AGREEMENTS)

    def _learn(self, last: KnownPose, known: KnownPose) -> None:
        """Let the bias follow the poses, while the gyroscope is believed."""
        seconds = (known.stamp_ns - last.stamp_ns) / NANOSECONDS
        told = None if last.attitude is None or known.attitude is None else last.attitude.turn_to(known.attitude)
        if told is not None and not self.problem and seconds <= _COMPARED_S:
            self.bias.add(told, _turn(last, known), seconds)

    def _told(self, known: KnownPose | None, attitude: Attitude | None, stamp_ns: int) -> Rotation3d | None:
        """Rotation of the camera since a pose by the gyroscope, without the bias."""
        if known is None or known.attitude is None or attitude is None or stamp_ns < known.stamp_ns:
            return None
        turn = known.attitude.turn_to(attitude)
        return None if turn is None else self.bias.corrected(turn, (stamp_ns - known.stamp_ns) / NANOSECONDS)


def _turn(before: KnownPose, after: KnownPose) -> Rotation3d:
    """Rotation before_from_after of the camera, by the poses."""
    return before.map_from_cam.rotation.inverse() * after.map_from_cam.rotation
