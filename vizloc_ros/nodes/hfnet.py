"""Feature node: images in, features and global descriptors out.

It rectifies each image, and turns that of a rolled camera upright for the network. It publishes the rectified camera
with the features, so that all nodes after it work with a pinhole camera. The extractor is the one that built the map:
HF-Net or a classical one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from sensor_msgs.msg import CameraInfo, PointCloud2

from vizloc_ros.errors import FeatureError
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.features.types import corrected, turned_back
from vizloc_ros.mapping.map_format import MapInfo, feature_number, read_info
from vizloc_ros.mapping.visual_map import open_map_extractor
from vizloc_ros.ros.camera_roll import CameraRoll
from vizloc_ros.ros.clouds import features_to_msg, global_descriptor_to_msg
from vizloc_ros.ros.frame_throttle import FrameThrottle
from vizloc_ros.ros.image_input import ImageInput
from vizloc_ros.ros.messages import rectified_camera_to_msg
from vizloc_ros.ros.node_options import HFNET, HfnetOptions
from vizloc_ros.ros.parameters import declare_options
from vizloc_ros.ros.qos import FEATURES
from vizloc_ros.ros.runner import run_node
from vizloc_ros.ros.served_map import MapUserNode
from vizloc_ros.timing import Stopwatch

# Keys of the diagnostics
FEATURES_LISTENERS = "features_listeners"
GLOBAL_DESCRIPTOR_LISTENERS = "global_descriptor_listeners"


class HfnetNode(MapUserNode):
    """Node that extracts features from the newest image."""

    task = "features"

    def __init__(self) -> None:
        super().__init__(HFNET, self._extract)
        self.options: HfnetOptions = declare_options(self, HfnetOptions, on_change=partial(setattr, self, "options"))
        self._loaded: tuple[FeatureExtractor, MapInfo] | None = None
        self.begin(autostart=self.options.autostart, cpu_affinity=self.options.cpu_affinity)

    def open(self) -> None:
        """Create the topics."""
        self._features = self.create_publisher(PointCloud2, "features", FEATURES)
        self._global_descriptor = self.create_publisher(PointCloud2, "global_descriptor", FEATURES)
        self._camera_info = self.create_publisher(CameraInfo, "features/camera_info", FEATURES)
        self._roll = CameraRoll(self, self.options)
        self._throttle = FrameThrottle(self, self.options.tracking_period)
        # image -> ImageInput -> FrameThrottle -> worker -> _extract
        self._input = ImageInput(
            self,
            self.options.image_transport,
            self.options.silence_timeout,
            self.options.max_image_age,
            self._throttle.submit_if_due,
            withhold_frozen=self.options.withhold_frozen,
            stable_messages=self.options.camera_info_stable,
            max_pixels=self.options.max_image_pixels,
        )
        self.diagnostics.watch("calibration_shift_px", self._calibration_shift)
        self.diagnostics.watch(FEATURES_LISTENERS, self._features.get_subscription_count)
        self.diagnostics.watch(GLOBAL_DESCRIPTOR_LISTENERS, self._global_descriptor.get_subscription_count)
        super().open()

    def unload(self) -> None:
        """Forget the network."""
        self._loaded = None
        super().unload()

    def load(self) -> None:
        """Open the extractor of the map, and let it run once."""
        folder = self.map_path
        info = read_info(folder)
        wanted, built_with = self.options.extractor, info.extractor.name
        if wanted not in ("", built_with):
            raise FeatureError(
                f"parameter 'extractor' is {wanted}, but {folder} was built with {built_with}: "
                "build the map with that extractor, or leave the parameter empty"
            )
        device = self.options.device
        if device.provider == "tensorrt":
            self.get_logger().info("TensorRT builds its engine unless that is in 'engine_cache': this takes minutes")
        extractor = open_map_extractor(folder, info, device)
        for camera in info.cameras[:1]:  # images of this size are the most likely to come
            extractor.warm_up((camera.width, camera.height))
        self._loaded, self.map_number = (extractor, info), info.number
        self.diagnostics.set_value("features", extractor.feature_id)
        self.diagnostics.set_value("provider", device.provider)
        self.get_logger().info(f"features: {extractor.feature_id} on {device.provider}")

    def _extract(self, msg: Any) -> None:
        """Extract and publish the features of an image, in the worker. Raises ``VizlocError`` for an unusable image."""
        if self.is_overdue(msg.header, self.options.deadline):
            return
        if self._loaded is None:
            raise FeatureError(f"there is no feature extractor: {self.load_error}")
        extractor, info = self._loaded
        stopwatch = Stopwatch()
        with stopwatch("hfnet_total"):
            image, camera = self._input.decode_and_rectify(msg, stopwatch, "hfnet")
            roll = self._roll.choose(msg.header)
            with stopwatch("extract"):
                features = turned_back(extractor.extract(roll.turn_image(image)), roll)
                features = corrected(features, info.intrinsics_correction(camera), camera)
            if len(features) == 0:
                raise FeatureError("no keypoint in the image: is it out of focus, covered, or without texture?")
            with stopwatch("hfnet_encode"):
                header = msg.header
                messages = (
                    (self._camera_info, rectified_camera_to_msg(camera, header)),
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
        self.diagnostics.set_value("roll", roll.value)
        self.record(stopwatch)

    def _calibration_shift(self) -> float:
        loaded, camera = self._loaded, self._input.camera
        return 0.0 if loaded is None or camera is None else loaded[1].intrinsics_correction(camera).max_shift(camera)


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run_node(HfnetNode, args))


if __name__ == "__main__":
    main()
