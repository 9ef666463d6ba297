"""Correction of a track by the localizer's poses, weighted by both covariances (not in the PixLoc paper).

An alignment has its minimum off the true pose by about as much as its covariance says, mostly along the viewing
direction. Images in a row see the same landmarks and are off alike, so aligning more of them does not help; a pose of
the localizer does. What it finds holds for the images that follow, less and less as other landmarks come into view.
"""

from dataclasses import dataclass
from math import exp

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.se3 import so3_exp, so3_log

_FADING_DEG = 30.0  # turn after which a camera sees other landmarks; half of a usual field of view


@dataclass(frozen=True)
class PoseEstimate:
    """A pose with its covariance.

    Attributes:
        map_from_cam: pose of the camera in the map.
        covariance: (6, 6) covariance in the map frame, as in ``geometry.covariance`` [m^2, m rad, rad^2].
    """

    map_from_cam: Rigid3d
    covariance: Float64

    def moved(self, offset: Float64, covariance: Float64) -> "PoseEstimate":
        """Estimate with another covariance, moved by an offset (6,) [m, rad]."""
        pose = self.map_from_cam
        return PoseEstimate(Rigid3d(so3_exp(offset[3:]) * pose.rotation, pose.translation + offset[:3]), covariance)

    def offset_to(self, other: "PoseEstimate") -> Float64:
        """Offset (6,) along the axes of the map that moves this pose to another one [m, rad]."""
        mine, others = self.map_from_cam, other.map_from_cam
        turn = so3_log(others.rotation * mine.rotation.inverse())
        return np.concatenate([others.translation - mine.translation, turn])


def fused(one: PoseEstimate, other: PoseEstimate) -> PoseEstimate:
    """Most likely pose of two estimates with independent errors: the mean, weighted by their information."""
    gain = one.covariance @ np.linalg.inv(one.covariance + other.covariance)
    covariance = one.covariance - gain @ one.covariance
    return one.moved(gain @ one.offset_to(other), 0.5 * (covariance + covariance.T))


class Correction:
    """Offset of a track, as the localizer's last pose tells it. For one thread.

    It fades by exp(-d / ``distance``) with the way d since the image of that pose, as the errors of two alignments
    become independent. Only the last pose counts: at one place, errors of the localizer repeat themselves, too.
    Without one, a track stays as it is.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the localizer's pose, as for another track."""
        self._own: PoseEstimate | None = None  # at the image that was localized
        self._fused: PoseEstimate | None = None

    def observe(self, own: PoseEstimate, given: PoseEstimate) -> None:
        """Take a pose ``given`` by the localizer, and the track's ``own`` of the same image, not corrected.

        One whose covariance is none is left out, such as the zeros of a message that does not know it.
        """
        if np.linalg.eigvalsh(given.covariance)[0] > 0:
            self._own, self._fused = own, fused(own, given)

    def corrected(self, estimate: PoseEstimate, distance: float) -> PoseEstimate:
        """Correct a pose of the track.

        Args:
            estimate: pose of an image, not corrected.
            distance: way after which the correction has faded to 1 / e [m]; 0 for none.
        """
        if self._own is None or self._fused is None or distance <= 0:
            return estimate
        way, turn = pose_error(estimate.map_from_cam, self._own.map_from_cam)
        fading = exp(-way / distance - turn / _FADING_DEG)
        covariance = fading**2 * self._fused.covariance + (1 - fading**2) * estimate.covariance
        return estimate.moved(fading * self._own.offset_to(self._fused), covariance)
