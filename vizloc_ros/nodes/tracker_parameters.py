"""What can be set of the tracker's node."""

from dataclasses import dataclass

from vizloc_ros.errors import ConfigError
from vizloc_ros.features.device import Device
from vizloc_ros.nodes.mounting import fixed_mounting
from vizloc_ros.nodes.parameters import option, param
from vizloc_ros.pixloc.optimizer.options import AlignmentOptions
from vizloc_ros.pixloc.tracker_options import TrackerOptions
from vizloc_ros.pixloc.verification import VerificationOptions


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
