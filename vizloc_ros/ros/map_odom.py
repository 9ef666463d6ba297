"""Correction of the vehicle's odometry by the verified poses: map_from_odom, which ``/tf`` has between map and odom.

    map_from_odom = map_from_base(t) * odom_from_base(t)^-1     at the time t of an image

The odometry of that time mostly comes after the image. A pose waits for it: an error of extrapolated odometry would
turn the map about the vehicle, and move what is far from it by meters.
"""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.geometry.poses import planar, pose_error
from vizloc_ros.geometry.se3 import interpolated
from vizloc_ros.ros.odometry_buffer import OdometryBuffer
from vizloc_ros.timing import NANOSECONDS

_MAX_WAITING = 30  # poses; seconds of them without odometry
_LEVER = 1.0  # m; a turn by an angle moves what is so far from the vehicle
_MAX_SMOOTHING = 5.0  # s; a correction that takes longer is one to another place


class MapOdom:
    """Last correction of the odometry, and its gradual application. Thread-safe.

    Attributes:
        problem: reason why poses cannot be compared with the odometry; empty while they can.
    """

    def __init__(self, odometry: OdometryBuffer, *, two_d: bool = False, max_speed: float = 0.0) -> None:
        """Know no correction.

        Args:
            odometry: buffer of the odometry.
            two_d: leave out height and tilt, of poses and of the odometry.
            max_speed: maximum speed at which the correction moves the vehicle [m/s]; 0: at once.
        """
        self.problem = ""
        self._odometry, self._two_d, self._max_speed = odometry, two_d, max_speed
        self._lock = threading.Lock()
        self._starts = odometry.starts
        self.forget()

    def forget(self) -> None:
        """Know no correction again, as after a jump of the clock."""
        with self._lock:
            self._waiting: deque[tuple[int, Rigid3d]] = deque(maxlen=_MAX_WAITING)
            self._target: Rigid3d | None = None
            self._applied: Rigid3d | None = None
            self._applied_ns = 0

    def add(self, stamp_ns: int, map_from_base: Rigid3d) -> None:
        """Add the newest verified pose, of the time of its image [ns]."""
        with self._lock:
            if len(self._waiting) == _MAX_WAITING:
                self.problem = (
                    f"no odometry on odom of the times of the last {_MAX_WAITING} poses: map -> "
                    f"{self._odometry.frame} is not corrected. Does it come, and from the clock of the camera?"
                )
            self._waiting.append((stamp_ns, map_from_base))

    def at(self, now_ns: int) -> Rigid3d | None:
        """Pose map_from_odom to publish at a time of the node's clock [ns]; None before the first correction."""
        if self._odometry.starts != self._starts:  # it may have begun anew at its origin
            self._starts = self._odometry.starts
            self.forget()
        with self._lock:
            self._take_waiting()
            if self._target is None:
                return None
            elapsed, self._applied_ns = (now_ns - self._applied_ns) / NANOSECONDS, now_ns
            self._applied = self._step(self._target, self._applied, max(elapsed, 0.0))
            return self._applied

    def _take_waiting(self) -> None:
        """Take the newest pose whose odometry has come, and drop the older ones."""
        newest = self._odometry.newest
        waiting = [] if newest is None else [entry for entry in self._waiting if entry[0] <= newest[0]]
        for stamp_ns, map_from_base in reversed(waiting):
            odom_from_base = self._odometry.between(stamp_ns)
            if odom_from_base is not None:
                self._target = self._flat(map_from_base) * self._flat(odom_from_base).inverse()
                self.problem = ""
                break
        for _ in waiting:
            self._waiting.popleft()

    def _step(self, target: Rigid3d, applied: Rigid3d | None, elapsed: float) -> Rigid3d:
        """Correction that moves the vehicle, where it is now, from the applied one by at most the maximum speed."""
        newest = self._odometry.newest
        if applied is None or not self._max_speed or newest is None:
            return target
        odom_from_base = self._flat(newest[1])
        shown, wanted = applied * odom_from_base, target * odom_from_base
        distance, angle = pose_error(shown, wanted)
        seconds = max(distance, _LEVER * np.radians(angle)) / self._max_speed
        if seconds <= elapsed or seconds > _MAX_SMOOTHING:
            return target
        return interpolated(shown, wanted, elapsed / seconds) * odom_from_base.inverse()

    def _flat(self, pose: Rigid3d) -> Rigid3d:
        return planar(pose) if self._two_d else pose
