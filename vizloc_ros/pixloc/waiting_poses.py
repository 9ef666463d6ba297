"""Poses that wait until their track is confirmed, for those who can use them later (not in the PixLoc paper).

The first poses of a track are withheld: one localization alone may be wrong, and the calibration may not be confirmed
yet. A vehicle on its way has no use for them afterwards. A recorded drive has: once the track is confirmed, they are as
sure as those that follow, if nothing has interrupted the track or spoken against it in between.
"""

from collections import deque
from dataclasses import dataclass

from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64

_MOST = 1000  # images; a localizer that never answers must not fill the memory


@dataclass(frozen=True)
class LatePose:
    """Pose of an earlier image, given with the image that confirms it.

    Attributes:
        stamp_ns: time of its image.
        map_from_cam: pose of the camera in the map, of several that of the rig.
        covariance: (6, 6) covariance of the pose, as in ``Tracked`` [m^2, m rad, rad^2].
    """

    stamp_ns: int
    map_from_cam: Rigid3d
    covariance: Float64


class WaitingPoses:
    """Poses of the last images of a track that is not confirmed yet. For one thread.

    Only images in a row wait together: one without a pose that may wait, for whatever reason, ends the row, and its
    poses are never given.
    """

    def __init__(self) -> None:
        self._poses: deque[LatePose] = deque(maxlen=_MOST)
        self._goes_on = False  # whether the last image waits, too

    def drop(self) -> None:
        """Forget all poses, as those of another track."""
        self._poses.clear()
        self._goes_on = False

    def begin_image(self) -> None:
        """Begin the next image; ``add`` makes it wait."""
        if not self._goes_on:
            self._poses.clear()
        self._goes_on = False

    def add(self, pose: LatePose) -> None:
        """Let the verified pose of the present image wait. One that is not later than the last one begins anew."""
        if self._poses and pose.stamp_ns <= self._poses[-1].stamp_ns:
            self._poses.clear()
        self._poses.append(pose)
        self._goes_on = True

    def release(self, stamp_ns: int) -> tuple[LatePose, ...]:
        """Give the poses that wait, in order of time; the present image, of this time, has confirmed them."""
        released = tuple(pose for pose in self._poses if pose.stamp_ns < stamp_ns)
        self.drop()
        return released
