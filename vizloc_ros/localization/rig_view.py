"""Images of the cameras of a rig at one instant, and the outcome of their localization."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.covariance import move_to_base
from vizloc_ros.localization.outcome import Localization, LocalizedPose
from vizloc_ros.localization.places import Place

CAMERA_TOLERANCE = 0.01  # s; at 15 m/s, the vehicle moves by 15 cm meanwhile


@dataclass(frozen=True)
class RigView:
    """Image of one camera of a rig.

    Attributes:
        name: name of the camera; empty for the only one.
        features: features of the image.
        places: places that were retrieved for it, best first.
        camera: the camera.
        rig_from_cam: pose of its optical frame on the rig.
    """

    name: str
    features: Features
    places: Sequence[Place]
    camera: PinholeCamera
    rig_from_cam: Rigid3d


@dataclass(frozen=True)
class RigPose:
    """Verified pose of a rig.

    Attributes:
        map_from_rig: pose of the rig's frame in the map.
        covariance: (6, 6) covariance [x y z, rotation about fixed x y z] in the map frame [m^2, rad^2].
        cameras: poses of the cameras that support it by their names, each with its own inliers.
        disagreement: largest distance [m] and angle [deg] between this pose and that of a camera alone, as far as they
            are significant: poses of cameras on the rig that are not exact. The covariance has them.
    """

    map_from_rig: Rigid3d
    covariance: Float64
    cameras: dict[str, LocalizedPose]
    disagreement: tuple[float, float] = (0.0, 0.0)

    @property
    def reprojection_rms(self) -> float:
        """RMS reprojection error of the inliers of all cameras [px]."""
        counts = [len(pose.keypoints) for pose in self.cameras.values()]
        squared = [pose.reprojection_rms**2 for pose in self.cameras.values()]
        return float(np.sqrt(np.average(squared, weights=counts)))


@dataclass(frozen=True)
class RigLocalization:
    """Outcome for one instant.

    Attributes:
        pose: verified pose, or None.
        reason: reason why there is no pose; empty with a pose.
        matches: number of matches of all cameras that the pose was found from, or that came closest to one.
        inliers: number of inliers among them.
        timings_ms: duration of each stage [ms].
    """

    pose: RigPose | None
    reason: str
    matches: int
    inliers: int
    timings_ms: dict[str, float] = field(default_factory=dict)


def of_one_camera(view: RigView, outcome: Localization) -> RigLocalization:
    """Outcome for a rig of which one camera was localized alone."""
    found = outcome.pose
    pose = None
    if found is not None:
        cam_from_rig = view.rig_from_cam.inverse()
        # From the camera to the rig's frame: an error of the rotation moves that as well.
        covariance = move_to_base(found.covariance, found.map_from_cam, cam_from_rig)
        pose = RigPose(found.map_from_cam * cam_from_rig, covariance, {view.name: found})
    return RigLocalization(pose, outcome.reason, outcome.matches, outcome.inliers, outcome.timings_ms)
