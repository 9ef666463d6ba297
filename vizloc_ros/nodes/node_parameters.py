"""The parameters of the four nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vizloc_ros.errors import ConfigError
from vizloc_ros.features.device import Device
from vizloc_ros.localization.options import PoseOptions, RetrievalOptions
from vizloc_ros.nodes.mounting import fixed_mounting
from vizloc_ros.nodes.parameters import declare, option, param, parameter_names, warn_of_unknown
from vizloc_ros.pixloc.optimizer.options import AlignmentOptions
from vizloc_ros.pixloc.submap import SubmapOptions
from vizloc_ros.pixloc.tracker_options import TrackerOptions
from vizloc_ros.pixloc.verification import VerificationOptions

T = TypeVar("T")


def declare_parameters(node: Any, parameters_type: type[T]) -> T:
    """Declares a node's parameters and warns of those that were set and that no node here has.

    Raises:
        ConfigError: naming the parameter whose value has the wrong type or is not allowed.
    """
    parameters = declare(node, parameters_type)
    warn_of_unknown(node, {name for one in PARAMETERS.values() for name in parameter_names(one)})
    return parameters


def _max_image_age() -> float:
    return param(
        1.0,
        "age of an arriving image above which diagnostics warn, by its stamp [s]; 0: none",
        minimum=0.0,
        maximum=1e6,
    )


def _submap_option(name: str, *, minimum: float, maximum: float) -> Any:
    """A parameter that is one of ``SubmapOptions``."""
    return option(SubmapOptions, name, minimum=minimum, maximum=maximum)


@dataclass(frozen=True)
class HfnetParameters:
    """Parameters of the feature node."""

    map_path: str = param("", "map whose kind of features the node makes; the folder that `vizloc map build` wrote")
    extractor: str = param("", "feature extractor that the map must have been built with; empty: whichever it was")
    provider: str = param("cpu", "what the network runs on", choices=("cpu", "cuda", "tensorrt"))
    threads: int = param(1, "cores that one image may use on the CPU; 0: all", minimum=0, maximum=1024)
    device_index: int = param(0, "number of the GPU", minimum=0, maximum=1024)
    half: bool = param(False, "let TensorRT compute in 16 bit")
    engine_cache: str = param("", "folder where TensorRT keeps its engines; empty: built at every start, for minutes")
    weights: str = param("", "another export of the map's network, e.g. one of fixed size; empty: as in the map")
    image_transport: str = param("raw", "how images arrive", choices=("raw", "compressed"))
    tracking_period: float = param(
        3.0, "while the tracker is sure, features of one image in so many seconds; 0: of all", minimum=0.0, maximum=60.0
    )
    silence_timeout: float = param(3.0, "seconds without an image before diagnostics warn", minimum=0.1, maximum=3600.0)
    max_image_age: float = _max_image_age()

    def __post_init__(self) -> None:
        if not self.map_path:
            raise ConfigError("parameter 'map_path' is empty: set it to the folder that `vizloc map build` wrote")

    @property
    def device(self) -> Device:
        """What the network runs on."""
        return Device(
            provider=self.provider,
            threads=self.threads,
            index=self.device_index,
            half=self.half,
            engine_cache=Path(self.engine_cache) if self.engine_cache else None,
            weights=Path(self.weights) if self.weights else None,
        )


@dataclass(frozen=True)
class MapServerParameters:
    """Parameters of the map server."""

    map_path: str = param("", "the map: the folder that `vizloc map build` wrote")
    map_frame: str = param("", "name of the map frame; empty: the one in the map")
    verify_map: bool = param(True, "check every byte of the map against its checksums before it is used")
    top_k: int = option(RetrievalOptions, "top_k", minimum=1, maximum=100)
    spacing: float = option(RetrievalOptions, "spacing", minimum=0.0, maximum=100.0)
    descriptors_per_landmark: int = option(RetrievalOptions, "descriptors_per_landmark", minimum=1, maximum=100)
    cluster: bool = option(RetrievalOptions, "cluster")
    search: str = option(RetrievalOptions, "search", choices=("auto", "exact", "faiss"))
    shortlist: int = option(RetrievalOptions, "shortlist", minimum=1, maximum=10_000)
    submap_keyframes: int = _submap_option("keyframes", minimum=1, maximum=200)
    submap_landmarks: int = _submap_option("max_landmarks", minimum=50, maximum=100_000)
    submap_average: int = _submap_option("average", minimum=1, maximum=20)
    submap_refresh_distance: float = _submap_option("refresh_distance", minimum=0.0, maximum=100.0)
    submap_refresh_angle: float = _submap_option("refresh_angle", minimum=0.0, maximum=180.0)
    max_map_points: int = param(200_000, "landmarks shown on map/points, evenly thinned", minimum=1, maximum=5_000_000)

    def __post_init__(self) -> None:
        if not self.map_path:
            raise ConfigError("parameter 'map_path' is empty: set it to the folder that `vizloc map build` wrote")

    @property
    def retrieval_options(self) -> RetrievalOptions:
        """For the finder of places."""
        return RetrievalOptions.model_validate({name: getattr(self, name) for name in RetrievalOptions.model_fields})

    @property
    def submap_options(self) -> SubmapOptions:
        """For the landmarks around the tracker."""
        return SubmapOptions(
            keyframes=self.submap_keyframes,
            max_landmarks=self.submap_landmarks,
            average=self.submap_average,
            refresh_distance=self.submap_refresh_distance,
            refresh_angle=self.submap_refresh_angle,
        )


@dataclass(frozen=True)
class LocalizerParameters:
    """Parameters of the localizer."""

    base_frame: str = param("base_link", "frame whose pose is published")
    base_from_cam: tuple[float, ...] = param(
        (), "camera's optical frame in base_frame: x y z [m] qx qy qz qw; empty: from /tf_static"
    )
    publish_tf: bool = param(False, "publish map -> base_frame on /tf; only where nothing else is its parent (REP 105)")
    path_length: int = param(1000, "poses kept on path; 0: none", minimum=0, maximum=100_000)
    ratio: float = option(PoseOptions, "ratio", minimum=0.1, maximum=1.0)
    max_reprojection_error: float = option(PoseOptions, "max_reprojection_error", minimum=0.1, maximum=100.0)
    min_inliers: int = option(PoseOptions, "min_inliers", minimum=4, maximum=10_000)
    min_inlier_ratio: float = option(PoseOptions, "min_inlier_ratio", minimum=0.0, maximum=1.0)
    sure_inlier_ratio: float = option(PoseOptions, "sure_inlier_ratio", minimum=0.0, maximum=1.0)
    first_keypoints: int = option(PoseOptions, "first_keypoints", minimum=1, maximum=10_000)
    enough_inliers: int = option(PoseOptions, "enough_inliers", minimum=4, maximum=10_000)
    max_position_std: float = option(PoseOptions, "max_position_std", minimum=0.001, maximum=1000.0)
    covariance_scale: float = option(PoseOptions, "covariance_scale", minimum=0.01, maximum=1000.0)
    map_position_std: float = option(PoseOptions, "map_position_std", minimum=0.0, maximum=10.0)
    map_rotation_std: float = option(PoseOptions, "map_rotation_std", minimum=0.0, maximum=10.0)
    max_trials: int = option(PoseOptions, "max_trials", minimum=100, maximum=1_000_000)
    places: str = option(PoseOptions, "places", choices=("first", "best"))
    seed: int = option(PoseOptions, "seed", minimum=0, maximum=2**31 - 1)

    def __post_init__(self) -> None:
        fixed_mounting(self.base_from_cam)  # says so now if it is none

    @property
    def pose_options(self) -> PoseOptions:
        """What the core needs of them."""
        return PoseOptions.model_validate(
            {name: getattr(self, name) for name in PoseOptions.model_fields if hasattr(self, name)}
        )


@dataclass(frozen=True)
class TrackerParameters:
    """Parameters of the tracker."""

    map_path: str = param("", "the map; the folder that `vizloc map build` wrote")
    provider: str = param("cpu", "what the network runs on", choices=("cpu", "cuda", "tensorrt"))
    threads: int = param(2, "cores that one image may use on the CPU; 0: all", minimum=0, maximum=1024)
    device_index: int = param(0, "number of the GPU", minimum=0, maximum=1024)
    weights: str = param("", "network that `vizloc export pixloc` wrote; empty: the package's")
    long_side: int = param(
        640, "an image's longer side is shrunk to this, its area to half the square [px]", minimum=64, maximum=8192
    )
    image_transport: str = param("raw", "how images arrive", choices=("raw", "compressed"))
    silence_timeout: float = param(3.0, "seconds without an image before diagnostics warn", minimum=0.1, maximum=3600.0)
    max_image_age: float = _max_image_age()
    base_frame: str = param("base_link", "frame whose pose is published")
    base_from_cam: tuple[float, ...] = param(
        (), "camera's optical frame in base_frame: x y z [m] qx qy qz qw; empty: from /tf_static"
    )
    use_odometry: bool = param(False, "predict with the vehicle's odometry on odom instead of constant velocity")
    publish_tf: bool = param(
        False, "publish map -> base_frame on /tf, with use_odometry map -> odom; only where nothing else does (REP 105)"
    )
    path_length: int = param(1000, "poses kept on path; 0: none", minimum=0, maximum=100_000)
    debug_image: bool = param(False, "publish ~/debug/image: where the landmarks travelled")
    max_landmarks: int = option(TrackerOptions, "max_landmarks", minimum=50, maximum=100_000)
    lost_after: int = option(TrackerOptions, "lost_after", minimum=1, maximum=1000)
    lost_after_seconds: float = option(TrackerOptions, "lost_after_seconds", minimum=0.05, maximum=60.0)
    disagreement_distance: float = option(TrackerOptions, "disagreement_distance", minimum=0.01, maximum=100.0)
    disagreement_angle: float = option(TrackerOptions, "disagreement_angle", minimum=0.1, maximum=180.0)
    contradictions: int = option(TrackerOptions, "contradictions", minimum=1, maximum=100)
    covariance_scale: float = option(TrackerOptions, "covariance_scale", minimum=0.01, maximum=1000.0)
    min_inlier_share: float = option(VerificationOptions, "min_inlier_share", minimum=0.0, maximum=1.0)
    sure_inlier_share: float = option(VerificationOptions, "sure_inlier_share", minimum=0.0, maximum=1.0)
    min_points: int = option(VerificationOptions, "min_points", minimum=10, maximum=10_000)
    max_position_std: float = option(VerificationOptions, "max_position_std", minimum=0.001, maximum=1000.0)
    max_iterations: int = option(AlignmentOptions, "max_iterations", minimum=1, maximum=1000)

    def __post_init__(self) -> None:
        if not self.map_path:
            raise ConfigError("parameter 'map_path' is empty: set it to the folder that `vizloc map build` wrote")
        fixed_mounting(self.base_from_cam)  # says so now if it is none

    @property
    def device(self) -> Device:
        """What the network runs on."""
        return Device(provider=self.provider, threads=self.threads, index=self.device_index)

    @property
    def options(self) -> TrackerOptions:
        """What the core needs of them."""
        own = {name: getattr(self, name) for name in TrackerOptions.model_fields if hasattr(self, name)}
        verification = {name: getattr(self, name) for name in VerificationOptions.model_fields if hasattr(self, name)}
        return TrackerOptions.model_validate(
            {**own, "verification": verification, "alignment": {"max_iterations": self.max_iterations}}
        )


# By the nodes' names. A section ``/**`` of a parameter file is for all of them.
PARAMETERS: dict[str, type[Any]] = {
    "hfnet": HfnetParameters,
    "map_server": MapServerParameters,
    "localizer": LocalizerParameters,
    "pixloc_tracker": TrackerParameters,
}
