"""Standstill: the mean pose of a camera that stands, so that noise of its images does not move it."""

from pycolmap import Rigid3d

from vizloc_ros.geometry.poses import pose_error

_MOVED_M, _TURNED_DEG = 0.02, 0.2  # from the mean; noise alone moves poses by some millimeters
_IMAGES = 10  # that the mean forgets after; it is a quarter as noisy as one pose


class Standstill:
    """Recursive mean of the poses since the camera has stopped. For one thread.

    A pose farther from it than noise explains begins a new mean. So a camera that drives is not held back, and the mean
    of one that creeps is late by less than two centimeters.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all poses."""
        self._mean: Rigid3d | None = None
        self._count = 0

    def smooth(self, pose: Rigid3d) -> Rigid3d:
        """Take the next pose; return the mean, or the pose itself if the camera has moved."""
        distance, angle = (0.0, 0.0) if self._mean is None else pose_error(pose, self._mean)
        if self._mean is None or distance > _MOVED_M or angle > _TURNED_DEG:
            self._mean, self._count = pose, 1
        else:
            self._count = min(self._count + 1, _IMAGES)
            self._mean = Rigid3d.interpolate(self._mean, pose, 1 / self._count)
        return self._mean
