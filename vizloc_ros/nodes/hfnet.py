"""The feature node: images in, features and global descriptors out.

Behind this node everything is a pinhole camera: it rectifies each image and publishes the rectified camera with the
features. The extractor is HF-Net or a classical one, as the map demands.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from vizloc_ros.errors import CameraError, ConfigError, FeatureError
from vizloc_ros.features.correction import corrected
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.geometry.rectification import DistortedCamera, Rectifier, camera_from_info
from vizloc_ros.mapping.map_info import MapInfo, feature_number, read_info
from vizloc_ros.mapping.visual_map import open_map_extractor
from vizloc_ros.nodes.clouds import features_to_msg, global_descriptor_to_msg
from vizloc_ros.nodes.conversions import rectified_camera_to_msg, stamp_to_ns
from vizloc_ros.nodes.diagnostics import Level
from vizloc_ros.nodes.images import check_exposure, gray_from_compressed, gray_from_image
from vizloc_ros.nodes.parameters import declare, param
from vizloc_ros.nodes.pipeline_node import PipelineNode
from vizloc_ros.nodes.qos import FEATURES, SENSOR
from vizloc_ros.nodes.runner import run_node
from vizloc_ros.nodes.stamp_guard import StampGuard
from vizloc_ros.stopwatch import Stopwatch


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
    silence_timeout: float = param(3.0, "seconds without an image before diagnostics warn", minimum=0.1, maximum=3600.0)

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


class HfnetNode(PipelineNode):
    """Extracts features from the newest image."""

    def __init__(self) -> None:
        super().__init__("hfnet", self._extract)
        self.parameters = declare(self, HfnetParameters)
        self._extractor: FeatureExtractor | None = None
        self._map: MapInfo | None = None
        self._rectifier: Rectifier | None = None
        self._camera: DistortedCamera | None = None
        self._camera_problem = f"no message on {self.resolve_topic_name('camera_info')} yet: images cannot be used"
        self._stamps = StampGuard()
        self._features = self.create_publisher(PointCloud2, "features", FEATURES)
        self._global_descriptor = self.create_publisher(PointCloud2, "global_descriptor", FEATURES)
        self._rectified = self.create_publisher(CameraInfo, "features/camera_info", FEATURES)
        self.when_possible(self._load_extractor)
        compressed = self.parameters.image_transport == "compressed"
        self._image_topic = "image/compressed" if compressed else "image"
        self.diagnostics.expect(
            self._image_topic, self.parameters.silence_timeout, "is the camera driver running, is the topic remapped?"
        )
        image_topic = self.resolve_topic_name(self._image_topic)  # as remapped; count_publishers does not do that
        self.diagnostics.watch("image_publishers", lambda: self.count_publishers(image_topic))
        self.diagnostics.watch("calibration_shift_px", self._calibration_shift)
        self.diagnostics.watch("features_listeners", self._features.get_subscription_count)
        self.diagnostics.watch("global_descriptor_listeners", self._global_descriptor.get_subscription_count)
        self.create_subscription(CameraInfo, "camera_info", self._on_camera_info, SENSOR)
        self.create_subscription(CompressedImage if compressed else Image, self._image_topic, self._on_image, SENSOR)

    def _load_extractor(self) -> None:
        folder = Path(self.parameters.map_path)
        info = read_info(folder)
        wanted, built_with = self.parameters.extractor, info.extractor.name
        if wanted not in ("", built_with):
            raise FeatureError(
                f"parameter 'extractor' is {wanted}, but {folder} was built with {built_with}: "
                "build the map with that extractor, or leave the parameter empty"
            )
        device = self.parameters.device
        if device.provider == "tensorrt":
            self.get_logger().info("TensorRT builds its engine unless that is in 'engine_cache': this takes minutes")
        extractor = open_map_extractor(folder, info, device)
        for camera in info.cameras[:1]:  # images of this size are the most likely to come
            extractor.warm_up((camera.width, camera.height))
        self._extractor, self._map = extractor, info
        self.diagnostics.set_value("features", extractor.feature_id)
        self.diagnostics.set_value("provider", device.provider)
        self.get_logger().info(f"features: {extractor.feature_id} on {device.provider}")

    def _on_camera_info(self, msg: CameraInfo) -> None:
        roi = (msg.roi.x_offset, msg.roi.y_offset, msg.roi.width, msg.roi.height)
        try:
            camera = camera_from_info(
                msg.width,
                msg.height,
                list(msg.k),
                list(msg.d),
                msg.distortion_model,
                binning=(msg.binning_x, msg.binning_y),
                roi=roi,
            )
            if camera != self._camera or self._rectifier is None:
                self._rectifier, self._camera = Rectifier(camera), camera
        except CameraError as error:
            self._rectifier, self._camera_problem = None, f"{self.resolve_topic_name('camera_info')}: {error}"
            self.diagnostics.report(Level.ERROR, self._camera_problem)

    def _on_image(self, msg: Image | CompressedImage) -> None:
        self.diagnostics.seen(self._image_topic)
        check = self._stamps.check(stamp_to_ns(msg.header.stamp))
        if check.ok:
            self.submit(msg)
        else:
            self.diagnostics.count("received")
            self.reject(check.message, Level.WARN)

    def _extract(self, msg: Any) -> None:
        """Runs in the worker. Raises ``VizlocError`` naming what is wrong with the image or its calibration."""
        extractor, rectifier, info = self._extractor, self._rectifier, self._map
        if extractor is None or info is None:
            raise FeatureError(f"there is no feature extractor: {self.obstacle}")
        if rectifier is None:
            raise CameraError(self._camera_problem)
        stopwatch = Stopwatch()
        with stopwatch("hfnet_total"):
            with stopwatch("hfnet_decode"):
                gray = gray_from_compressed(msg) if isinstance(msg, CompressedImage) else gray_from_image(msg)
                check_exposure(gray)
            with stopwatch("rectify"):
                rectified = rectifier.rectify(gray)
            with stopwatch("extract"):
                features = extractor.extract(rectified)
                camera = rectifier.rectified
                features = corrected(features, info.correction_of(camera), camera)
            if len(features) == 0:
                raise FeatureError("no keypoint in the image: is it out of focus, covered, or without texture?")
            with stopwatch("hfnet_encode"):
                header = msg.header
                messages = (
                    (self._rectified, rectified_camera_to_msg(camera, header)),
                    (
                        self._global_descriptor,
                        global_descriptor_to_msg(
                            features.global_descriptor, feature_number(extractor.feature_id), header
                        ),
                    ),
                    (self._features, features_to_msg(features, header)),
                )
                for publisher, message in messages:
                    self.diagnostics.send(publisher, message)
        self.diagnostics.count("processed")
        self.diagnostics.set_value("keypoints", len(features))
        self.record(stopwatch)

    def _calibration_shift(self) -> float:
        info, rectifier = self._map, self._rectifier
        if info is None or rectifier is None:
            return 0.0
        return info.correction_of(rectifier.rectified).largest_shift(rectifier.rectified)


def main(args: Sequence[str] | None = None) -> None:
    """Runs the node."""
    sys.exit(run_node(HfnetNode, args))


if __name__ == "__main__":
    main()
