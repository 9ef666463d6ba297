"""Trust in the vehicle's odometry: it is compared with the aligned poses, and left out while it disagrees.

Wheels get stuck or slip, a driver has the wrong scale, a filter jumps. Predictions from such odometry would lose the
track, though the images alone would keep it.
"""

import numpy as np

from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.pixloc.motion import KnownPose

_MIN_DISTANCE, _MIN_ANGLE = 0.5, 3.0  # m, deg; motions below tell less than the errors of the poses
_MAX_ERROR = 0.2  # of the motion; odometry is mostly within some percent
_POSE_ERROR, _POSE_ANGLE = 0.15, 1.5  # m, deg; of two aligned poses
_AGREEMENTS, _MOST_AGREEMENTS = 5, 160  # in a row, before it is used again; twice as many after each relapse


class OdometryTrust:
    """Comparison of the odometry's motion with that of the accepted poses, over half a meter or three degrees.

    Attributes:
        problem: reason why the odometry is left out; empty while it is used.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a jump of the clock."""
        self.problem = ""
        self._anchor: KnownPose | None = None
        self._agreements, self._needed = 0, _AGREEMENTS

    def restart(self) -> None:
        """Begin a comparison at the next pose: the track has been replaced. The verdict stays."""
        self._anchor = None

    def add(self, known: KnownPose) -> None:
        """Add the next accepted pose of the track."""
        anchor = self._anchor
        if known.odom_from_cam is None or anchor is None or anchor.odom_from_cam is None:
            self._anchor = known if known.odom_from_cam is not None else None
            return
        seen = anchor.map_from_cam.inverse() * known.map_from_cam
        told = anchor.odom_from_cam.inverse() * known.odom_from_cam
        moved = max(float(np.linalg.norm(motion.translation)) for motion in (seen, told))
        turned = max(float(np.degrees(motion.rotation.angle())) for motion in (seen, told))
        if moved < _MIN_DISTANCE and turned < _MIN_ANGLE:
            return
        self._anchor = known
        error, angle = pose_error(told, seen)
        if error <= _POSE_ERROR + _MAX_ERROR * moved and angle <= _POSE_ANGLE + _MAX_ERROR * turned:
            self._agreements += 1
            if self.problem and self._agreements >= self._needed:
                self.problem, self._needed = "", min(2 * self._needed, _MOST_AGREEMENTS)
            return
        self._agreements = 0
        self.problem = (
            f"the odometry is left out until it agrees again: it told of {np.linalg.norm(told.translation):.2f} m "
            f"where the images show {np.linalg.norm(seen.translation):.2f} m, {error:.2f} m and {angle:.1f} deg apart"
        )
