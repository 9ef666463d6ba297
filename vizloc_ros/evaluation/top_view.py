"""View of a trajectory from above, whichever axis of the world is up, and the box that the trajectory fills.

Worlds are z up (ROS), y down (cameras, KITTI) or anything else. The cameras tell: a vehicle turns about the vertical,
and its cameras are held level or look down.
"""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Bool, Float64

NO_ROTATIONS: Float64 = np.zeros((0, 3, 3))
_TURNS = 0.05  # by which the vertical stays more in place in the images than any horizontal axis, if the camera turns
_CLEARLY = 0.5  # cosine of 60 degrees
_MARGIN, _LARGEST_MARGIN = 0.08, 0.4  # of the trajectory's extent
_NARROWEST = 0.25  # height by width of the box
_SMALLEST = 1.0  # m


@dataclass(frozen=True)
class TopView:
    """Axes of a figure.

    Attributes:
        right: axis of the world to the right, 0 to 2; that of the trajectory's larger extent.
        upwards: axis of the world to the top of the page.
        inverted: true if the second axis grows towards the bottom, so that the view is from above and not mirrored.
        low: (2,) lower corner of the box to show.
        high: (2,) upper corner.
    """

    right: int
    upwards: int
    inverted: bool
    low: Float64
    high: Float64

    @classmethod
    def of(cls, trajectory: Float64, rotations: Float64, landmarks: Float64) -> "TopView":
        """View of (N, 3) positions, with (K, 3, 3) rotations world_from_cam of cameras and (L, 3) landmarks."""
        vertical, sign = vertical_axis(trajectory, rotations, landmarks)
        others = [axis for axis in range(3) if axis != vertical]
        shown = trajectory if len(trajectory) > 1 else np.concatenate([trajectory, landmarks])
        upwards, right = sorted(others, key=_extents(shown).__getitem__)
        out_of_page = np.cross(np.eye(3)[right], np.eye(3)[upwards])[vertical]
        low, high = _box(trajectory[:, [right, upwards]], landmarks[:, [right, upwards]])
        return cls(right, upwards, bool(out_of_page * sign < 0), low, high)

    def flat(self, points: Float64) -> Float64:
        """(N, 2) coordinates in the figure of (N, 3) points."""
        return points[:, [self.right, self.upwards]]

    def shows(self, points: Float64) -> Bool:
        """Mask (N,) of the (N, 3) points inside the box."""
        flat = self.flat(points)
        return np.asarray(((flat >= self.low) & (flat <= self.high)).all(axis=1))


def vertical_axis(trajectory: Float64, rotations: Float64, landmarks: Float64) -> tuple[int, float]:
    """Axis of the world that is vertical, 0 to 2, and its sign: 1 if it points up, -1 if it points down.

    Args:
        trajectory: (N, 3) positions.
        rotations: (K, 3, 3) rotations world_from_cam of optical frames; there may be none.
        landmarks: (L, 3) landmarks.
    """
    mean = rotations.mean(axis=0) if len(rotations) else np.zeros((3, 3))  # row: axis of the world; column: of a camera
    fixed = np.linalg.norm(mean, axis=1)  # 1 for an axis about which cameras turn, less for the others
    down, ahead = mean[:, 1], mean[:, 2]
    ranked = np.argsort(-fixed, kind="stable")
    along = int(np.argmax(_extents(trajectory)))  # a vehicle does not drive upwards
    level = np.where(np.arange(3) == along, 0, np.abs(down))
    if fixed[ranked[0]] > fixed[ranked[1]] + _TURNS:
        vertical = int(ranked[0])
    elif level.max() >= _CLEARLY:
        vertical = int(np.argmax(level))
    else:
        vertical = int(np.argmin(_extents(np.concatenate([landmarks, trajectory]))))
    for axis_of_camera in (down, ahead):  # level cameras, and those that look down
        if abs(axis_of_camera[vertical]) >= _CLEARLY:
            return vertical, -float(np.sign(axis_of_camera[vertical]))
    return vertical, 1.0


def _extents(points: Float64) -> Float64:
    """(3,) extents of most of the (N, 3) points."""
    return np.ptp(np.percentile(points, [5, 95], axis=0), axis=0) if len(points) else np.ones(3)


def _box(trajectory: Float64, landmarks: Float64) -> tuple[Float64, Float64]:
    """Lower and upper corner (2,) of a box around the (N, 2) trajectory and the nearest of the (L, 2) landmarks."""
    if not len(trajectory):
        return np.full(2, -_SMALLEST), np.full(2, _SMALLEST)
    low, high = trajectory.min(axis=0), trajectory.max(axis=0)
    extent = max(_SMALLEST, float((high - low).max()))
    around_low, around_high = (np.percentile(landmarks, [5, 95], axis=0)) if len(landmarks) else (low, high)
    low -= np.clip(low - around_low, _MARGIN * extent, _LARGEST_MARGIN * extent)
    high += np.clip(around_high - high, _MARGIN * extent, _LARGEST_MARGIN * extent)
    missing = max(0.0, _NARROWEST * (high[0] - low[0]) - (high[1] - low[1]))
    middle = np.array([0.0, missing / 2])
    return low - middle, high + middle
