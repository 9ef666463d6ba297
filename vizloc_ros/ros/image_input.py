"""Images of a camera with its calibration: their subscription, and their decoding and rectification.

After rectification every camera is a pinhole camera.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.covered_lens import CoveredLens
from vizloc_ros.datasets.frozen_images import FrozenImages
from vizloc_ros.datasets.image_headers import MAX_MESSAGE_PIXELS
from vizloc_ros.datasets.image_messages import ImageDecoder, check_damage, check_exposure
from vizloc_ros.datasets.lenses import rectifier as rectifier_of
from vizloc_ros.errors import CameraError, UncalibratedError
from vizloc_ros.geometry.calibration_guard import CalibrationGuard
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.camera_info import camera_frame, camera_of_message, frame_difference
from vizloc_ros.geometry.rectification import DistortedCamera, rectified_camera, require_size
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.messages import stamp_to_ns
from vizloc_ros.ros.node_options import topic_of
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import SENSOR
from vizloc_ros.ros.stamp_guard import StampGuard, Verdict
from vizloc_ros.ros.subscriptions import subscribe_to_either
from vizloc_ros.timing import Stopwatch
from vizloc_ros.wording import name_text

IMAGE_PUBLISHERS = "image_publishers"  # key of the diagnostics
_MAX_AHEAD = 0.5  # s; clocks of two hosts differ, and with use_sim_time the clock ticks
_HOUR = 3600.0  # s


class ImageInput:
    """Images of a camera, from ``image`` (or ``image/compressed``) and ``camera_info``, on both sides of a queue.

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
        *,
        camera: str = "",
        on_change: Callable[[], None] | None = None,
        withhold_frozen: bool = False,
        stable_messages: int = 10,
        max_pixels: int = MAX_MESSAGE_PIXELS,
    ) -> None:
        """Subscribe the node to both topics.

        Args:
            node: the node.
            transport: ``raw`` or ``compressed``.
            silence_timeout: time without an image after which diagnostics warn [s].
            max_age: age of an arriving image, by its stamp, above which diagnostics warn [s]; 0: none.
            submit: receiver of the images with a valid stamp; the node's ``submit`` by default.
            on_jump: called when the time has jumped back, before the image is dropped.
            camera: namespace of both topics; empty for the only camera.
            on_change: called when a camera_info differs from those before.
            withhold_frozen: refuse an image that is the one before again.
            stable_messages: messages in a row after which a changed camera_info is used.
            max_pixels: pixels above which an image or camera_info is refused.
        """
        self._node, self._submit, self._on_jump = node, submit or node.submit, on_jump
        self._on_change = on_change
        self._max_age = max_age
        self._rectified: PinholeCamera | None = None
        self._info_frame = self._difference = ""
        self._info_topic = node.resolve_topic_name(topic_of(camera, "camera_info"))
        missing = f"no message on {self._info_topic} yet: images cannot be used"
        self._calibration = CalibrationGuard(stable_messages, missing)
        self._covered = CoveredLens()
        self._frozen = FrozenImages() if withhold_frozen else None
        self._stamps = StampGuard()
        compressed = transport == "compressed"
        self._topic = topic_of(camera, "image/compressed" if compressed else "image")
        node.diagnostics.expect(self._topic, silence_timeout, "is the camera driver running, is the topic remapped?")
        image_topic = node.resolve_topic_name(self._topic)  # as remapped; count_publishers does not do that
        self._decoder, self._max_pixels = ImageDecoder(image_topic, self._warn, max_pixels), max_pixels
        node.diagnostics.watch(IMAGE_PUBLISHERS, lambda: node.count_publishers(image_topic))
        subscribe_to_either(node, CameraInfo, topic_of(camera, "camera_info"), self._on_camera_info, SENSOR)
        node.create_subscription(CompressedImage if compressed else Image, self._topic, self._on_image, SENSOR)

    @property
    def camera(self) -> PinholeCamera | None:
        """Camera of the rectified images; None without a valid camera_info."""
        return self._rectified if self._calibration.camera is not None else None

    def decode_and_rectify(
        self, msg: Image | CompressedImage, stopwatch: Stopwatch, prefix: str
    ) -> tuple[UInt8, PinholeCamera]:
        """Return the (H, W) gray image without distortion, and its camera. For the node's worker.

        An image without a ``frame_id`` gets that of camera_info.

        Args:
            msg: the message.
            stopwatch: receives the stages ``PREFIX_decode`` and ``PREFIX_rectify``.
            prefix: beginning of the stages' names.

        Raises:
            CameraError: there is no calibration yet, or it is invalid, changes, or is of another image size.
            FrozenCameraError: the image is the one before again.
            ImageError: the image cannot be decoded, is damaged, or shows nothing.
        """
        camera = self._calibration.camera
        if camera is None:
            raise CameraError(self._calibration.problem)
        self._set_frame(msg)
        with stopwatch(f"{prefix}_decode"):
            if (size := self._decoder.size(msg)) is not None:
                require_size(rectified_camera(camera.of_size(size)), size)  # before it is decoded
            gray = self._decoder.gray(msg)
            check_exposure(gray)
            check_damage(gray, msg)
            if self._frozen is not None:
                self._frozen.check(gray, stamp_to_ns(msg.header.stamp))
            if covered := self._covered.check(gray):
                self._warn(covered)
        with stopwatch(f"{prefix}_rectify"):
            rectifier = rectifier_of(camera.of_size((gray.shape[1], gray.shape[0])))
            image, self._rectified = rectifier.rectify(gray), rectifier.rectified
            return image, rectifier.rectified

    def _on_camera_info(self, msg: CameraInfo) -> None:
        self._info_frame = msg.header.frame_id
        try:
            camera = camera_of_message(msg)
            self._require_possible_size(camera)
            rectified = rectified_camera(camera)
        except CameraError as error:
            problem = f"{self._info_topic}: {error}"
            if isinstance(error, UncalibratedError):
                problem += "; images can be used once a calibrated camera_info comes"
            self._calibration.refuse(CameraError(problem))
            self._node.diagnostics.report(Level.ERROR, problem)
            return
        was_used = self._calibration.camera is not None
        self._notice(self._calibration.offer(camera))
        if self._calibration.camera is not None:
            self._rectified = rectified
        elif was_used and self._on_change is not None:
            self._on_change()

    def _require_possible_size(self, camera: DistortedCamera) -> None:
        """Raise ``CameraError`` for a camera of more pixels than an image may have."""
        width, height = (camera.whole or camera).pinhole.size
        if width * height > self._max_pixels:
            raise CameraError(
                f"width and height are {width}x{height}, above the limit of {self._max_pixels:,} pixels: they must be "
                "the image's, or raise the parameter max_image_pixels"
            )

    def _notice(self, change: str) -> None:
        if change:
            self._node.diagnostics.notice(change)
            self._node.get_logger().warning(change)

    def _set_frame(self, msg: Image | CompressedImage) -> None:
        """Give an image without a frame that of camera_info, and name a difference of the two once."""
        difference = frame_difference(msg.header.frame_id, self._info_frame)
        msg.header.frame_id = camera_frame(msg.header.frame_id, self._info_frame)
        if difference != self._difference:
            self._difference = difference
            self._node.diagnostics.set_value("camera_info_frame", name_text(self._info_frame))
            if difference:
                self._node.diagnostics.notice(difference)
                self._node.get_logger().warning(difference)

    def _on_image(self, msg: Image | CompressedImage) -> None:
        self._node.diagnostics.seen(self._topic)
        stamp_ns = stamp_to_ns(msg.header.stamp)
        check = self._stamps.check(stamp_ns)
        if check.ok:
            if self._frozen is not None:
                self._frozen.receive(msg.data, stamp_ns)
            self._notice(self._calibration.saw_image())
            self._check_age(stamp_ns)
            self._submit(msg)
            return
        if check.verdict is Verdict.JUMPED_BACK and self._on_jump is not None:
            self._on_jump()
        self._node.diagnostics.count("received")
        self._node.reject(check.message, Level.WARN)
        if check.verdict is Verdict.AHEAD:
            self._check_age(stamp_ns)

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
