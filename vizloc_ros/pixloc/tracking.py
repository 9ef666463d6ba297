"""Input, output, states and options of the tracker."""

from dataclasses import dataclass, field, replace
from enum import Enum

from pycolmap import Rigid3d
from pydantic import Field

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.pixloc.gyroscope import Attitude
from vizloc_ros.pixloc.motion import MotionOptions, Prediction
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment
from vizloc_ros.pixloc.track_check import TrackCheckOptions
from vizloc_ros.pixloc.verification import VerificationOptions


class TrackerState(Enum):
    """State of the tracker, published as the text of its value; ``Tracker`` has the table of transitions.

    ``FROZEN`` is that of single images: they are not live, whatever the state of the track.
    """

    NOT_LOCALIZED = "NOT_LOCALIZED"
    TRACKING = "TRACKING"
    LOST = "LOST"
    FROZEN = "FROZEN"


class TrackerOptions(TrackCheckOptions):
    """Options of prediction, alignment and verification, and the limits after which the track is lost."""

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
    catch_up: int = Field(2, ge=1, le=1000, description="maximum images that are aligned to carry it forward")
    covariance_scale: float = Field(
        4.0, gt=0, le=1000, description="factor on the covariance: residuals of features are correlated"
    )
    correction_distance: float = Field(
        2.0,
        ge=0,
        le=1000,
        description="way after which the correction by a pose of the localizer has faded to 1/e; 0: none [m]",
    )
    map_position_std: float = Field(0.01, ge=0, le=10, description="standard deviation of the map's own positions [m]")
    map_rotation_std: float = Field(
        0.04, ge=0, le=10, description="standard deviation of the map's own rotations [deg]"
    )


@dataclass(frozen=True)
class CameraImage:
    """Image of one camera.

    Attributes:
        image: (H, W) gray image, rectified.
        camera: camera of the image.
        correction: error of the calibration of ``camera``, as the map estimated it.
        name: name of the camera; empty for the only one.
        cam_from_rig: pose of the rig in the camera's optical frame; None for the only camera, which is the rig.
    """

    image: UInt8
    camera: PinholeCamera
    correction: IntrinsicsCorrection = field(default_factory=IntrinsicsCorrection)
    name: str = ""
    cam_from_rig: Rigid3d | None = None

    def map_from_cam(self, map_from_rig: Rigid3d) -> Rigid3d:
        """Pose of the camera, by that of the rig."""
        return map_from_rig if self.cam_from_rig is None else map_from_rig * self.cam_from_rig.inverse()

    def upright(self, roll: Roll, roll_of_rig: Roll) -> "CameraImage":
        """Image of the upright camera, for a camera that is rolled, on the upright rig."""
        if roll is roll_of_rig is Roll.NONE:
            return self
        cam_from_rig = self.cam_from_rig
        if cam_from_rig is not None:
            cam_from_rig = roll.upright_from_cam * cam_from_rig * roll_of_rig.inverse.upright_from_cam
        return replace(
            self,
            image=roll.turn_image(self.image),
            camera=roll.turn_camera(self.camera),
            correction=roll.turn_correction(self.correction),
            cam_from_rig=cam_from_rig,
        )


@dataclass(frozen=True)
class Frame:
    """Images of one instant to be tracked: that of the camera, or those of the cameras of a rig that have one.

    The frame of a rig is the optical frame of one of its cameras, or another with such axes (z forward, y down), which
    does not move against them. All poses map_from_cam of the tracker are those of the rig.

    Attributes:
        images: images by camera; one or more.
        stamp_ns: time of the images.
        odom_from_cam: pose of the rig in the odometry's frame, if there is odometry.
        attitude: attitude of the rig by a gyroscope, if there is one.
    """

    images: tuple[CameraImage, ...]
    stamp_ns: int
    odom_from_cam: Rigid3d | None = None
    attitude: Attitude | None = None

    @classmethod
    def of_camera(
        cls,
        image: UInt8,
        camera: PinholeCamera,
        stamp_ns: int,
        correction: IntrinsicsCorrection | None = None,
        odom_from_cam: Rigid3d | None = None,
    ) -> "Frame":
        """Frame with the image of the only camera."""
        return cls((CameraImage(image, camera, correction or IntrinsicsCorrection()),), stamp_ns, odom_from_cam)


@dataclass(frozen=True)
class Tracked:
    """Result of tracking the images of one instant.

    Attributes:
        state: state of the tracker after the images.
        map_from_cam: pose of the camera in the map, of several that of the rig; None unless it was verified.
        covariance: (6, 6) covariance of the pose, [x y z, rotation] in the map frame [m^2, m rad, rad^2].
        reason: reason why there is no pose; empty if there is one.
        alignment: the best alignment, if one was tried.
        prediction: predicted pose, from which the alignment started.
        num_initial_poses: number of initial poses that were tried.
        contradicts: True if the image looks as in the map, but the camera cannot have moved there.
        unlike: True if hardly anything in the image looks as in the map.
        timings_ms: durations by stage [ms].
        cameras: names of the cameras that the pose is from.
        left_out: reason for each camera of a rig whose image has no part in the result.
        by_patches: True if patches alone were aligned.
    """

    state: TrackerState
    map_from_cam: Rigid3d | None
    covariance: Float64 | None
    reason: str
    alignment: Alignment | None = None
    prediction: Prediction | None = None
    num_initial_poses: int = 0
    contradicts: bool = False
    unlike: bool = False
    timings_ms: dict[str, float] = field(default_factory=dict)
    cameras: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    by_patches: bool = False

    def turned_back(self, roll: Roll) -> "Tracked":
        """Result for a camera that is rolled, from that for the upright camera."""
        if roll is Roll.NONE:
            return self
        upright_from_cam, alignment, prediction = roll.upright_from_cam, self.alignment, self.prediction
        return replace(
            self,
            map_from_cam=None if self.map_from_cam is None else self.map_from_cam * upright_from_cam,
            alignment=None if alignment is None else alignment.turned_back(roll),
            prediction=None if prediction is None else prediction.moved(upright_from_cam),
        )
