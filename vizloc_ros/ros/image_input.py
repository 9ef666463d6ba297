"""Images of a camera with its calibration: their subscription, and their decoding and rectification.

After rectification every camera is a pinhole camera.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import CameraError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import DistortedCamera, Rectifier, camera_from_info
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.image_messages import ImageDecoder, check_exposure
from vizloc_ros.ros.messages import stamp_to_ns
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import SENSOR
from vizloc_ros.ros.stamp_guard import StampGuard, Verdict
from vizloc_ros.timing import Stopwatch

IMAGE_PUBLISHERS = "image_publishers"  # key of the diagnostics
_MAX_AHEAD = 0.5  # s; clocks of two hosts differ, and with use_sim_time the clock ticks
_HOUR = 3600.0  # s


class ImageInput:
    """Images of a node, from ``image`` (or ``image/compressed``) and ``camera_info``, on both sides of its queue.

    Before the queue, in the executor's thread, ``_on_image`` checks stamp and age and submits the message. After it, in
    the worker, ``decode_and_rectify`` turns the message into an image.
    """

    def __init__(
        self,
        node: PipelineNode,
        transport: str,
        silence_timeout: float,
        max_age: float,
        submit: Callable[[Any], None] | None = None,
        on_jump: Callable[[], None] | None = None,
    ) -> None:
        """Subscribe the node to both topics.

        Args:
            node: the node.
            transport: ``raw`` or ``compressed``.
            silence_timeout: time without an image after which diagnostics warn [s].
            max_age: age of an arriving image, by its stamp, above which diagnostics warn [s]; 0: none.
            submit: receiver of the images with a valid stamp; the node's ``submit`` by default.
            on_jump: called when the time has jumped back, before the image is dropped.
        """
        self._node, self._submit, self._on_jump = node, submit or node.submit, on_jump
        self._max_age = max_age
        self._rectifier: Rectifier | None = None
        self._camera: DistortedCamera | None = None
        self._problem = f"no message on {node.resolve_topic_name('camera_info')} yet: images cannot be used"
        self._stamps = StampGuard()
        compressed = transport == "compressed"
        self._topic = "image/compressed" if compressed else "image"
        node.diagnostics.expect(self._topic, silence_timeout, "is the camera driver running, is the topic remapped?")
        image_topic = node.resolve_topic_name(self._topic)  # as remapped; count_publishers does not do that
        self._decoder = ImageDecoder(image_topic, self._warn)
        node.diagnostics.watch(IMAGE_PUBLISHERS, lambda: node.count_publishers(image_topic))
        node.create_subscription(CameraInfo, "camera_info", self._on_camera_info, SENSOR)
        node.create_subscription(CompressedImage if compressed else Image, self._topic, self._on_image, SENSOR)

    @property
    def camera(self) -> PinholeCamera | None:
        """Camera of the rectified images; None before the first valid camera_info."""
        rectifier = self._rectifier
        return None if rectifier is None else rectifier.rectified

    def decode_and_rectify(
        self, msg: Image | CompressedImage, stopwatch: Stopwatch, prefix: str
    ) -> tuple[UInt8, PinholeCamera]:
        """Return the (H, W) gray image without distortion, and its camera. For the node's worker.

        Args:
            msg: the message.
            stopwatch: receives the stages ``PREFIX_decode`` and ``PREFIX_rectify``.
            prefix: beginning of the stages' names.

        Raises:
            CameraError: there is no calibration yet, or it is invalid, or of another image size.
            ImageError: the image cannot be decoded, or shows nothing.
        """
        rectifier = self._rectifier
        if rectifier is None:
            raise CameraError(self._problem)
        with stopwatch(f"{prefix}_decode"):
            gray = self._decoder.gray(msg)
            check_exposure(gray)
        with stopwatch(f"{prefix}_rectify"):
            return rectifier.rectify(gray), rectifier.rectified

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
            self._rectifier, self._problem = None, f"{self._node.resolve_topic_name('camera_info')}: {error}"
            self._node.diagnostics.report(Level.ERROR, self._problem)

    def _on_image(self, msg: Image | CompressedImage) -> None:
        self._node.diagnostics.seen(self._topic)
        stamp_ns = stamp_to_ns(msg.header.stamp)
        check = self._stamps.check(stamp_ns)
        if check.ok:
            self._check_age(stamp_ns)
            self._submit(msg)
            return
        if check.verdict is Verdict.JUMPED_BACK and self._on_jump is not None:
            self._on_jump()
        self._node.diagnostics.count("received")
        self._node.reject(check.message, Level.WARN)

    def _check_age(self, stamp_ns: int) -> None:
        """Show the age of an image by the node's clock, and warn if it is too old or from the future."""
        age = self._node.age(stamp_ns)
        if age is None:
            self._warn("use_sim_time is set, but there is no time on /clock: play the bag with --clock")
            return
        self._node.diagnostics.set_value("image_age_s", age)
        if self._max_age and not -_MAX_AHEAD <= age <= self._max_age:
            cause = (
                "is it a recording? Then play it with --clock and set use_sim_time; or the clock of the driver is off"
                if abs(age) > _HOUR
                else "the driver or the network is slow, or the clocks of two hosts differ"
            )
            when = f"{age:.1f} s old" if age > 0 else f"{-age:.1f} s ahead of this node's clock"
            self._warn(f"images on {self._topic} are {when} when they arrive: {cause}")

    def _warn(self, message: str) -> None:
        self._node.diagnostics.report(Level.WARN, message)
        self._node.get_logger().warning(message, throttle_duration_sec=30.0)
