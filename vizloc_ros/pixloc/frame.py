"""What goes into the tracker, and what comes out."""

from dataclasses import dataclass, field

from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.camera_correction import CameraCorrection
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.optimizer.alignment import Alignment
from vizloc_ros.pixloc.state import TrackerState


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
    correction: CameraCorrection = field(default_factory=CameraCorrection)
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
