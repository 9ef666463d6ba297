"""Options of the four nodes: those that only a node has, and the groups of the core that it uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
from pycolmap import Rigid3d
from pydantic import AfterValidator, Field, model_validator

from vizloc_ros.datasets.image_headers import MAX_FILE_PIXELS, MAX_MESSAGE_PIXELS
from vizloc_ros.features.device import Device
from vizloc_ros.geometry.poses import pose_from_quaternion, pose_or_nothing
from vizloc_ros.localization.localization_options import PoseOptions, RetrievalOptions
from vizloc_ros.localization.rig_view import CAMERA_TOLERANCE
from vizloc_ros.options import Options
from vizloc_ros.pixloc.submap import SubmapOptions
from vizloc_ros.pixloc.tracking import TrackerOptions
from vizloc_ros.pixloc.tracking_options import PyramidOptions
from vizloc_ros.wording import numbers_text

Provider = Literal["cpu", "cuda", "tensorrt"]
MOUNTING: Final = "mounting"  # roll of the camera by its pose on the vehicle
_NAMESPACE = re.compile(r"[A-Za-z]\w*(/[A-Za-z]\w*)*", re.ASCII)


def _nonempty_path(path: str) -> str:
    if not path:
        raise ValueError("is empty: set it to the folder that `vizloc map build` wrote")
    return path


def _frame_name(name: str) -> str:
    if not name.strip("/") or any(character.isspace() for character in name):
        raise ValueError(f"is {name!r}: it must be the name of a frame, such as base_link, without blanks")
    return name


def _frame_name_or_empty(name: str) -> str:
    return _frame_name(name) if name else name


def _cameras(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not _NAMESPACE.fullmatch(name):
            raise ValueError(
                f"names {name!r}; allowed: namespaces such as front or cameras/front, without / at the ends"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"is {', '.join(names)}: each camera must come once")
    return names


def _cores(cores: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(cores)) < len(cores) or any(core < 0 for core in cores):
        raise ValueError(f"is {numbers_text(cores)}; allowed: nothing, or numbers of CPU cores from 0 on, each once")
    return cores


CpuCores = Annotated[tuple[int, ...], AfterValidator(_cores)]
MapPath = Annotated[str, AfterValidator(_nonempty_path)]
BaseFromCam = Annotated[tuple[float, ...], AfterValidator(pose_or_nothing)]
CameraNames = Annotated[tuple[str, ...], AfterValidator(_cameras)]
FrameName = Annotated[str, AfterValidator(_frame_name)]
FrameNameOrEmpty = Annotated[str, AfterValidator(_frame_name_or_empty)]


def _map_path(description: str) -> Any:
    return Field("", validate_default=True, description=f"{description}; the folder that `vizloc map build` wrote")


_CAMERAS = "namespaces of the cameras of a rig, each with an hfnet in it; empty: one camera, in the node's namespace"


class NodeOptions(Options):
    """Options of every node.

    Attributes:
        settable: options and groups that can be set while the node runs; all others are read at the start.
    """

    settable: ClassVar[tuple[str, ...]] = ()

    autostart: bool = Field(
        True, description="configure and activate at the start; false: a lifecycle manager does, or `ros2 lifecycle`"
    )
    cpu_affinity: CpuCores = Field(
        (), description="numbers of the CPU cores that the process of the node may use; empty: all"
    )


class DeadlineOptions(NodeOptions):
    """Options of a node that works on images, or on what comes of them."""

    deadline: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="age of an image, by its stamp, above which it is skipped when its turn comes, and counted as "
        "overdue [s]; 0: none",
    )


class MountingOptions(NodeOptions):
    """Options of a node that needs the pose of the camera on the vehicle."""

    base_frame: FrameName = Field("base_link", description="frame of the vehicle, whose pose is published")
    base_from_cam: BaseFromCam = Field(
        (), description="camera's optical frame in base_frame: x y z [m] qx qy qz qw; empty: from /tf_static"
    )

    @property
    def fixed_base_from_cam(self) -> Rigid3d | None:
        """Pose of the camera's optical frame in the base frame; None if it comes from /tf_static."""
        if not self.base_from_cam:
            return None
        return pose_from_quaternion(np.array(self.base_from_cam[:3]), np.array(self.base_from_cam[3:]))


class BaseOptions(MountingOptions):
    """Options of a node that publishes poses of the vehicle's base."""

    path_length: int = Field(1000, ge=0, le=100_000, description="poses kept on path; 0: none")


class PoseNodeOptions(BaseOptions):
    """Options of a node that publishes poses, and transforms on request."""

    moving_mount: bool = Field(
        False, description="the camera moves on the vehicle: take its pose at the time of the image from /tf, too"
    )
    use_odometry: bool = Field(
        False,
        description="use the odometry on odom: for map -> odom on /tf, for the tracker's predictions, and to find out "
        "images that are late",
    )
    publish_tf: bool = Field(
        False,
        description="publish map -> base_frame on /tf, with use_odometry map -> odom; only where nothing else does "
        "(REP 105)",
    )
    tf_rate: float = Field(20.0, ge=0.1, le=1000, description="rate of map -> odom [1/s]")
    transform_tolerance: float = Field(
        0.2, ge=0, le=10, description="time by which map -> odom is stamped ahead of the clock [s]"
    )
    max_correction_speed: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="maximum speed at which corrections of map -> odom move the vehicle, or what is a meter from it "
        "[m/s]; 0: at once",
    )
    two_d_mode: bool = Field(False, description="leave height and tilt out of the transforms on /tf")


class RigOptions(PoseNodeOptions):
    """Options of a node that publishes poses by one camera, or by several of a rig."""

    cameras: CameraNames = Field((), description=_CAMERAS)
    camera_tolerance: float = Field(
        CAMERA_TOLERANCE,
        ge=0,
        le=1,
        description="of several cameras, maximum difference of the stamps of one instant [s]",
    )

    @model_validator(mode="after")
    def _mount_of_one_camera(self) -> RigOptions:
        if self.cameras and self.base_from_cam:
            raise ValueError("base_from_cam: is the pose of one camera; those of several cameras come from /tf_static")
        return self


class ImageOptions(DeadlineOptions):
    """Options of a node with an image subscription."""

    image_transport: Literal["raw", "compressed"] = Field("raw", description="how images arrive")
    max_image_pixels: int = Field(
        MAX_MESSAGE_PIXELS,
        ge=1,
        le=MAX_FILE_PIXELS,
        description="pixels above which an image is refused before it is decoded, and so is a camera_info",
    )
    silence_timeout: float = Field(
        3.0, ge=0.1, le=3600, description="time without an image after which diagnostics warn [s]"
    )
    withhold_frozen: bool = Field(
        True,
        description="refuse an image that is the one before again; false for simulators whose images have no noise",
    )
    camera_info_stable: int = Field(
        10, ge=1, le=10_000, description="messages in a row, or images, after which a changed camera_info is used"
    )
    max_image_age: float = Field(
        1.0,
        ge=0,
        le=1_000_000,
        description="age of an arriving image, by its stamp, above which diagnostics warn [s]; 0: none",
    )


class HfnetOptions(ImageOptions, MountingOptions):
    """Options of the feature node."""

    settable = ("deadline",)

    map_path: MapPath = _map_path("map whose kind of features the node extracts")
    extractor: str = Field("", description="extractor that the map must have been built with; empty: any")
    provider: Provider = Field("cpu", description="what the network runs on")
    threads: int = Field(1, ge=0, le=1024, description="CPU cores that one image may use; 0: all")
    device_index: int = Field(0, ge=0, le=1024, description="number of the GPU")
    half: bool = Field(False, description="let TensorRT compute in 16 bit")
    engine_cache: str = Field(
        "", description="folder of TensorRT's engines; empty: built at every start, which takes minutes"
    )
    weights: str = Field("", description="another export of the map's network, e.g. of fixed size; empty: the map's")
    tracking_period: float = Field(
        3.0, ge=0, le=60, description="while the tracker tracks, time between images that are extracted [s]; 0: all are"
    )
    roll: Literal["mounting", "auto", "none", "clockwise", "upside_down", "counterclockwise"] = Field(
        MOUNTING,
        description="roll of the camera, whose images are turned upright; auto: whichever localizes; mounting: auto if "
        "base_from_cam is rolled by 45 deg or more, else none",
    )

    @property
    def device(self) -> Device:
        """Device of the network."""
        return Device(
            provider=self.provider,
            threads=self.threads,
            index=self.device_index,
            half=self.half,
            engine_cache=Path(self.engine_cache) if self.engine_cache else None,
            weights=Path(self.weights) if self.weights else None,
        )


class VisualMapServerOptions(NodeOptions):
    """Options of the map server."""

    settable = ("map_path",)  # for ~/load_map

    cameras: CameraNames = Field((), description=_CAMERAS)
    map_path: MapPath = _map_path("map")
    map_frame: FrameNameOrEmpty = Field("", description="name of the map frame; empty: the one in the map")
    publish_earth: bool = Field(
        True, description="publish earth -> map frame on /tf_static if the map has a datum (REP 105)"
    )
    verify_map: bool = Field(True, description="check every byte of the map against its checksums before it is used")
    max_map_points: int = Field(
        200_000, ge=1, le=5_000_000, description="maximum landmarks on map/points, an even selection"
    )
    min_fix_error: float = Field(
        5.0,
        ge=0,
        le=1000,
        description="minimum error of a GNSS fix on fix, as the root mean square of its distance [m]: receivers claim "
        "less among houses, and the antenna is not at base_frame",
    )
    retrieval: RetrievalOptions = RetrievalOptions()
    submap: SubmapOptions = SubmapOptions()


class LocalizerOptions(DeadlineOptions, RigOptions):
    """Options of the localizer."""

    settable = ("check_calibration", "deadline", "pose")

    camera_wait: float = Field(
        0.1,
        ge=0,
        le=10,
        description="of several cameras, time to wait for the others after the first has given its features and "
        "candidates [s]",
    )
    check_calibration: bool = Field(
        True,
        description="publish no pose while the calibration is off by more than 1 %, by the inliers of many images",
    )
    threads: int = Field(
        0, ge=0, le=1024, description="CPU cores that large comparisons of one image may use; 0: up to four"
    )
    pose: PoseOptions = PoseOptions()


class TrackerNodeOptions(ImageOptions, RigOptions, PyramidOptions):
    """Options of the tracker's node."""

    settable = ("deadline", "feature_period", "tracker")

    feature_period: float = Field(
        0.1,
        ge=0,
        le=1,
        description="time in which one image gets features; others do if patches alone do not tell; 0: all do [s]",
    )
    camera_wait: float = Field(
        0.05,
        ge=0,
        le=10,
        description="of several cameras, time to wait for the images of the others after the first image [s]",
    )
    map_path: MapPath = _map_path("map")
    map_frame: FrameNameOrEmpty = Field("", description="name of the map frame; empty: the one in the map")
    use_imu: bool = Field(False, description="use the gyroscope on imu for the predictions of turns")
    provider: Provider = Field("cpu", description="what the network runs on")
    threads: int = Field(2, ge=0, le=1024, description="CPU cores that one image may use; 0: all")
    device_index: int = Field(0, ge=0, le=1024, description="number of the GPU")
    weights: str = Field("", description="network that `vizloc export pixloc` wrote; empty: the package's")
    publish_fix: bool = Field(False, description="publish pose on pose/fix and pose/geo, too, if the map has a datum")
    debug_image: bool = Field(False, description="publish ~/debug/image: the landmarks' motion during the alignment")
    max_submap_distance: float = Field(
        8.0,
        gt=0,
        le=1000,
        description="distance from where landmarks were requested beyond which they are not used [m]; more than twice "
        "the map server's submap.refresh_distance",
    )
    tracker: TrackerOptions = TrackerOptions()

    @property
    def device(self) -> Device:
        """Device of the network."""
        return Device(provider=self.provider, threads=self.threads, index=self.device_index)


HFNET, VISUAL_MAP_SERVER, LOCALIZER, TRACKER = "hfnet", "visual_map_server", "localizer", "pixloc_tracker"
LOCALIZING = (HFNET, VISUAL_MAP_SERVER, LOCALIZER)
NODES = (*LOCALIZING, TRACKER)
WITHOUT_TRACKER = "--without-tracker"  # argument of vizloc_node
SHARED_TOPICS = ("map/served", "map/followed", "tracker/state", "localization/pose")  # by hfnets of all cameras


def topic_of(camera: str, topic: str) -> str:
    """Topic of a camera of a rig; that of the only camera has no namespace."""
    return f"{camera}/{topic}" if camera else topic


# By the nodes' names. A section ``/**`` of a parameter file is for all of them.
NODE_OPTIONS: dict[str, type[NodeOptions]] = {
    HFNET: HfnetOptions,
    VISUAL_MAP_SERVER: VisualMapServerOptions,
    LOCALIZER: LocalizerOptions,
    TRACKER: TrackerNodeOptions,
}
# Former names of nodes, with the present ones. The first was that of nav2's map server, too.
RENAMED_NODES = {"map_server": VISUAL_MAP_SERVER}
