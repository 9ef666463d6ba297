"""What goes into the tracker, what comes out, and its options."""

from dataclasses import dataclass, field
from enum import Enum

from pycolmap import Rigid3d
from pydantic import Field

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.options import Options
from vizloc_ros.pixloc.motion import MotionOptions, Prediction
from vizloc_ros.pixloc.optimizer.alignment import Alignment
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions
from vizloc_ros.pixloc.verification import VerificationOptions


class TrackerState(Enum):
    """Published as the text of its value."""

    NOT_LOCALIZED = "NOT_LOCALIZED"
    TRACKING = "TRACKING"
    LOST = "LOST"


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


@dataclass(frozen=True)
class Frame:
    """An image to be tracked.

    Attributes:
        image: (H, W) gray, rectified.
        camera: its camera.
        stamp_ns: its time.
        correction: what the map knows the calibration to be off by.
        odom_from_cam: pose of the camera in the odometry's frame, where there is one.
    """

    image: UInt8
    camera: PinholeCamera
    stamp_ns: int
    correction: IntrinsicsCorrection = field(default_factory=IntrinsicsCorrection)
    odom_from_cam: Rigid3d | None = None


@dataclass(frozen=True)
class Tracked:
    """What became of an image.

    Attributes:
        state: after it.
        map_from_cam: its pose, only if it was verified.
        covariance: (6, 6) of it, [x y z, rotation] in the map's frame.
        reason: why there is no pose.
        alignment: how it ended, if one was tried.
        prediction: where it started from.
        starts: how many starts were tried.
        timings_ms: by stage.
    """

    state: TrackerState
    map_from_cam: Rigid3d | None
    covariance: Float64 | None
    reason: str
    alignment: Alignment | None = None
    prediction: Prediction | None = None
    starts: int = 0
    timings_ms: dict[str, float] = field(default_factory=dict)
