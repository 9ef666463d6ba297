"""Poses of the localizer that wait until a track confirms them, for recorded drives (not in the PixLoc paper).

The first poses of a track are withheld: one localization alone may be wrong, and the calibration may not be confirmed
yet. A vehicle on its way has no use for them afterwards. A recorded drive has: once there is a confirmed track, the
localizations that lead to it are as sure as it is.
"""

from dataclasses import replace

import numpy as np

from vizloc_ros.geometry.covariance import position_and_rotation_std
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.pixloc.motion import KnownPose, MotionModel, MotionOptions, Prediction
from vizloc_ros.pixloc.tracking import Tracked, TrackerState

_CONFIRMATIONS = 2  # images that must be tracked in a row
_MAX_DEVIATION = 4.0  # standard deviations from the motion that the later poses tell
_MAX_DISTANCE, _MAX_ANGLE = 0.5, 5.0  # m and deg from it, in any case: of images far apart it tells little


class WaitingPoses:
    """Localizations of the last images, that no track has confirmed yet. For one thread.

    Only images in a row wait together. One without a localization, or with something that speaks against the track,
    ends the row, and its poses are never given. Two tracked images confirm a row: one alone does not tell the motion.
    """

    def __init__(self, options: MotionOptions | None = None) -> None:
        """Start without poses; ``options`` are those of the tracker's motion."""
        self._options = options
        self._poses: list[KnownPose] = []
        self._tracked: list[KnownPose] = []  # of the images after them

    def after_image(
        self, tracked: Tracked, stamp_ns: int, localized: KnownPose | None, *, is_doubted: bool
    ) -> tuple[KnownPose, ...]:
        """Take the result of the next image, and return the poses of earlier ones that it confirms.

        Args:
            tracked: result of the tracker.
            stamp_ns: time of the image.
            localized: pose of the localizer, if it was asked and nothing speaks against it.
            is_doubted: True if something speaks against the track, see ``Tracker.is_doubted``.
        """
        if tracked.map_from_cam is not None and tracked.covariance is not None:
            std = position_and_rotation_std(tracked.covariance)
            self._tracked.append(KnownPose(tracked.map_from_cam, stamp_ns, None, *std))
            return self._release() if len(self._tracked) >= _CONFIRMATIONS else ()
        if localized is None or is_doubted or tracked.state is TrackerState.FROZEN:
            self.drop()
        else:
            self._add(localized)
        return ()

    def drop(self) -> None:
        """Forget all poses."""
        self._poses.clear()
        self._tracked.clear()

    def _add(self, pose: KnownPose) -> None:
        """Let the localization of the next image wait."""
        if self._tracked or (self._poses and pose.stamp_ns <= self._poses[-1].stamp_ns):
            self.drop()  # a track of one image has confirmed nothing, and neither has one after a jump of the clock
        self._poses.append(pose)

    def _release(self) -> tuple[KnownPose, ...]:
        """Give the poses that wait, in order of time.

        Backwards from the track, each must be where the camera comes from by the motion of the later ones. The first
        one that is not there, and those before it, are dropped.
        """
        motion, released = MotionModel(self._options), list[KnownPose]()
        for pose in reversed(self._tracked):
            motion.add(_mirrored(pose))
        for pose in reversed(self._poses):
            mirrored = _mirrored(pose)
            prediction = motion.predict(mirrored.stamp_ns)
            if pose.stamp_ns >= self._tracked[0].stamp_ns or prediction is None or _is_far(pose, prediction):
                break
            motion.add(mirrored)
            released.append(pose)
        self.drop()
        return tuple(reversed(released))


def _mirrored(pose: KnownPose) -> KnownPose:
    """Pose by a clock that runs backwards."""
    return replace(pose, stamp_ns=-pose.stamp_ns)


def _is_far(pose: KnownPose, prediction: Prediction) -> bool:
    distance, angle = pose_error(pose.map_from_cam, prediction.map_from_cam)
    position = np.hypot(prediction.position_std, pose.position_std)
    rotation = np.hypot(prediction.rotation_std, pose.rotation_std)
    farthest = min(_MAX_DISTANCE, _MAX_DEVIATION * position), min(_MAX_ANGLE, _MAX_DEVIATION * np.degrees(rotation))
    return bool(distance > farthest[0] or angle > farthest[1])
