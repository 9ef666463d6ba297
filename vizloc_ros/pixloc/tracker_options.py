"""Options of the tracker."""

from pydantic import Field

from vizloc_ros.options import Options
from vizloc_ros.pixloc.motion import MotionOptions
from vizloc_ros.pixloc.optimizer.options import AlignmentOptions
from vizloc_ros.pixloc.verification import VerificationOptions


class TrackerOptions(Options):
    """Prediction, alignment, verification, and when the track is lost."""

    alignment: AlignmentOptions = AlignmentOptions()
    verification: VerificationOptions = VerificationOptions()
    motion: MotionOptions = MotionOptions()
    max_landmarks: int = Field(1000, ge=50, le=100_000, description="maximum landmarks that an image is aligned with")
    lost_after: int = Field(
        4, ge=1, le=1000, description="images in a row without an accepted pose after which the track is lost"
    )
    lost_after_seconds: float = Field(
        0.4, gt=0, le=60, description="time without an accepted pose after which the track is lost [s]"
    )
    history: int = Field(30, ge=1, le=1000, description="images kept to carry a late pose forward")
    catch_up: int = Field(2, ge=1, le=1000, description="maximum of those that are aligned on the way to the newest")
    conflict_distance: float = Field(
        1.0, gt=0, le=100, description="distance from which a pose of the localizer conflicts with the track [m]"
    )
    conflict_angle: float = Field(
        5.0, gt=0, le=180, description="angle from which a pose of the localizer conflicts with the track [deg]"
    )
    max_conflicts: int = Field(
        2, ge=1, le=100, description="conflicting poses in a row after which the localizer's pose replaces the track"
    )
    covariance_scale: float = Field(
        4.0, gt=0, le=1000, description="factor on the covariance: residuals of features are correlated"
    )
    map_position_std: float = Field(0.01, ge=0, le=10, description="standard deviation of the map's own positions [m]")
    map_rotation_std: float = Field(
        0.04, ge=0, le=10, description="standard deviation of the map's own rotations [deg]"
    )
