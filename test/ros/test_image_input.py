"""Input of images in a node: camera_info of either durability, its frame, region, binning, and a late calibration."""

import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from pycolmap import Rigid3d
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_helpers import ros_nodes, spin_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest

from vizloc_ros.errors import CameraError, RosError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.ros import managed_node
from vizloc_ros.ros.extrinsics import CameraExtrinsics, StaticTransforms, tf_message_type
from vizloc_ros.ros.image_input import ImageInput
from vizloc_ros.ros.messages import header_of, rectified_camera_to_msg, transform_to_msg
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import POSE, TF_STATIC
from vizloc_ros.ros.subscriptions import subscribe_to_either
from vizloc_ros.timing import Stopwatch

pytestmark = pytest.mark.ros

CAMERA = PinholeCamera(64, 48, 50.0, 51.0, 31.0, 24.0)
RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
LATCHED, VOLATILE = DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE


def camera_info(frame: str = "camera", camera: PinholeCamera = CAMERA, **changes: Any) -> CameraInfo:
    msg = rectified_camera_to_msg(camera, header_of(1, frame))
    for field, value in changes.items():
        setattr(msg, field, value)
    return msg


def image(frame: str = "camera", size: tuple[int, int] = CAMERA.size) -> Image:
    """Image of noise, so that nobody takes the lens for covered."""
    pixels = np.random.default_rng(0).integers(0, 255, size[::-1], np.uint8)
    msg = Image(header=header_of(2, frame), height=size[1], width=size[0], encoding="mono8", step=size[0])
    msg.data.frombytes(pixels.tobytes())
    return msg


class Input:
    """Image input of a node, a driver beside it, and the node's diagnostics."""

    def __init__(self, driver: Any, node: PipelineNode, arrived: list[CameraInfo]) -> None:
        self.driver, self.node, self._arrived = driver, node, arrived
        self.input = ImageInput(node, "raw", 3.0, 0.0)

    @cached_property
    def _publisher(self) -> Any:
        publisher = self.driver.create_publisher(CameraInfo, "camera_info", 10)

        def is_heard() -> bool:
            publisher.publish(CameraInfo())
            return bool(self._arrived)

        spin_until(is_heard, self.driver, self.node)
        return publisher

    def send(self, *messages: CameraInfo) -> None:
        """Publish calibrations, and wait until the node has heard each."""
        for msg in messages:
            self._publisher.publish(msg)
            spin_until(lambda msg=msg: self._arrived[-1] == msg, self.driver, self.node)

    def decode(self, msg: Image | CompressedImage) -> tuple[Any, PinholeCamera]:
        return self.input.decode_and_rectify(msg, Stopwatch(), "test")

    @property
    def status(self) -> tuple[str, dict[str, str]]:
        status = self.node.diagnostics.take_status()
        return status.message, {pair.key: pair.value for pair in status.values}


@contextmanager
def inputs(monkeypatch: pytest.MonkeyPatch, before: Callable[[Any], Any] = lambda driver: None) -> Iterator[Input]:
    """Context with an image input; ``before`` is called with the driver before the input's node starts."""
    with ros_nodes("driver") as [driver]:
        before(driver)
        monkeypatch.setattr("rclpy.node.get_default_context", lambda *_: driver.context)
        arrived: list[CameraInfo] = []
        receive = ImageInput._on_camera_info
        monkeypatch.setattr(ImageInput, "_on_camera_info", lambda self, msg: (receive(self, msg), arrived.append(msg)))
        node = PipelineNode("camera_user", lambda _: None)
        try:
            yield Input(driver, node, arrived)
        finally:
            node.destroy_node()


@pytest.mark.parametrize("depth", [1, 10])
def test_a_camera_info_published_once_and_latched_before_the_node_is_heard(
    monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    def publish(driver: Any) -> None:
        profile = QoSProfile(depth=depth, reliability=RELIABLE, durability=LATCHED)
        driver.create_publisher(CameraInfo, "camera_info", profile).publish(camera_info())

    with inputs(monkeypatch, publish) as made:
        assert made.input.camera is None
        spin_until(lambda: made.input.camera is not None, made.driver, made.node)
        assert made.input.camera == CAMERA


@pytest.mark.parametrize("reliability", [RELIABLE, BEST_EFFORT])
@pytest.mark.parametrize("durability", [VOLATILE, LATCHED])
def test_a_camera_info_of_any_driver_is_heard(
    monkeypatch: pytest.MonkeyPatch, reliability: ReliabilityPolicy, durability: DurabilityPolicy
) -> None:
    with inputs(monkeypatch) as made:
        profile = QoSProfile(depth=1, reliability=reliability, durability=durability)
        publisher = made.driver.create_publisher(CameraInfo, "camera_info", profile)
        spin_until(lambda: publisher.get_subscription_count() > 0, made.driver, made.node)

        def heard() -> bool:
            publisher.publish(camera_info())
            return made.input.camera is not None

        spin_until(heard, made.driver, made.node)


def test_latched_messages_are_delivered_once_and_those_repeated_by_hand_twice() -> None:
    came: list[float] = []
    with ros_nodes("sender", "receiver") as [sender, receiver]:
        latching = QoSProfile(depth=5, reliability=RELIABLE, durability=LATCHED)
        latched = sender.create_publisher(PoseWithCovarianceStamped, "initialpose", latching)

        def pose(x: float) -> PoseWithCovarianceStamped:
            msg = PoseWithCovarianceStamped()
            msg.pose.pose.position.x = x
            return msg

        latched.publish(pose(1.0))
        subscribe_to_either(
            receiver,
            PoseWithCovarianceStamped,
            "initialpose",
            lambda msg: came.append(msg.pose.pose.position.x),
            POSE,
        )
        spin_until(lambda: came == [1.0], sender, receiver)
        spin_until(lambda: latched.get_subscription_count() == 2, sender, receiver)
        latched.publish(pose(2.0))
        spin_until(lambda: 2.0 in came, sender, receiver)
        volatile = sender.create_publisher(PoseWithCovarianceStamped, "initialpose", POSE)
        spin_until(lambda: volatile.get_subscription_count() == 1, sender, receiver)
        volatile.publish(pose(3.0))
        spin_until(lambda: 3.0 in came, sender, receiver)
        volatile.publish(pose(3.0))  # set by hand a second time: that counts
        spin_until(lambda: came.count(3.0) == 2, sender, receiver)
        latched.publish(pose(4.0))
        spin_until(lambda: 4.0 in came, sender, receiver)
        spin_until(lambda: True, sender, receiver)
    assert came == [1.0, 2.0, 3.0, 3.0, 4.0]


@pytest.mark.parametrize("durability", [VOLATILE, LATCHED])
def test_static_transforms_of_either_durability_are_heard(durability: DurabilityPolicy) -> None:
    messages = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed: run make setup")
    from geometry_msgs.msg import TransformStamped

    transform = TransformStamped(
        header=header_of(1, "base_link"), child_frame_id="camera", transform=transform_to_msg(Rigid3d())
    )
    with ros_nodes("broadcaster", "listener") as [broadcaster, listener]:
        problems: list[str] = []
        transforms = StaticTransforms(listener, problems.append)
        profile = QoSProfile(depth=1, reliability=RELIABLE, durability=durability)
        publisher = broadcaster.create_publisher(tf_message_type(), "/tf_static", profile)
        spin_until(lambda: publisher.get_subscription_count() > 0, broadcaster, listener)
        publisher.publish(messages.TFMessage(transforms=[transform]))
        spin_until(lambda: transforms.lookup("base_link", "camera") is not None, broadcaster, listener)
        assert not problems


def test_the_frame_is_the_images_and_a_difference_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with inputs(monkeypatch) as made:
        made.send(camera_info("camera_link"))
        msg = image("camera_optical")
        made.decode(msg)
        assert msg.header.frame_id == "camera_optical"
        message, values = made.status
        assert "frame_id of the images is camera_optical, of camera_info camera_link: camera_optical is used" in message
        assert values["camera_info_frame"] == "camera_link"
        made.decode(image("camera_optical"))
        assert "frame_id" not in made.status[0]

        unnamed = image("")
        made.decode(unnamed)
        assert unnamed.header.frame_id == "camera_link"
        assert "frame_id of the images is (empty), of camera_info camera_link" in made.status[0]

        made.send(camera_info(""))
        made.decode(image("camera_optical"))
        message, values = made.status
        assert "of camera_info (empty): camera_optical is used" in message
        assert values["camera_info_frame"] == "(empty)"
        made.send(camera_info("/camera"))
        made.decode(image("camera"))
        assert "frame_id" not in made.status[0]


def test_no_frame_at_all_is_called_empty() -> None:
    pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed: run make setup")
    with ros_nodes("localizer") as [node]:
        with pytest.raises(RosError, match=r"base_link -> \(empty\) on /tf_static.*have no frame_id"):
            CameraExtrinsics(node, "base_link", None).base_from_cam("", 0)
        with pytest.raises(RosError, match=r"base_link -> camera on /tf_static.*static_transform_publisher"):
            CameraExtrinsics(node, "base_link", None).base_from_cam("camera", 0)
        assert CameraExtrinsics(node, "base_link", Rigid3d()).base_from_cam("", 0) == Rigid3d()


def test_a_mount_that_moves_on_tf_static_is_followed_and_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed: run make setup")
    with inputs(monkeypatch) as made:
        node, driver = made.node, made.driver
        extrinsics = CameraExtrinsics(node, "base_link", None)
        publisher = driver.create_publisher(tf_message_type(), "/tf_static", TF_STATIC)

        def publish_until(x: float) -> str:
            transform = TransformStamped(child_frame_id="camera", transform=transform_to_msg(Rigid3d()))
            transform.header.frame_id, transform.transform.translation.x = "base_link", x

            def has_moved() -> bool:
                publisher.publish(tf_message_type()(transforms=[transform]))
                found = extrinsics.find("camera")
                return found is not None and found.translation[0] == x

            spin_until(has_moved, driver, node)
            assert extrinsics.base_from_cam("camera", 0).translation[0] == x
            return str(node.diagnostics.take_status().message)

        for x in (0.5, 0.5005):  # half a millimeter is rounding
            assert "has moved" not in publish_until(x)
        assert "transform base_link -> camera on /tf_static has moved by 1.000 m, 0.00 deg; poses follow" in (
            publish_until(1.5005)
        )
        assert "has moved by 1.000 m" in capfd.readouterr().err


def test_whatever_is_wrong_with_its_files_a_node_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that a callback cannot use does not end it either."""
    attempts: list[Exception] = [RecursionError("900 lists in lists"), OSError("cannot be read"), RosError("no map")]
    monkeypatch.setattr(managed_node, "_RETRY_SECONDS", 0.01)

    def load() -> None:
        if attempts:
            raise attempts.pop(0)

    with inputs(monkeypatch) as made:
        monkeypatch.setattr(made.node, "load", load)
        made.node.begin(autostart=True)
        assert made.node.load_error == "internal error, please report it: RecursionError: 900 lists in lists"
        spin_until(lambda: made.node.load_error == "no map", made.driver, made.node)
        spin_until(lambda: made.node.load_error == "", made.driver, made.node)
        made.node.create_subscription(CameraInfo, "faulty", lambda msg: msg.no_such_field, POSE)
        publisher = made.driver.create_publisher(CameraInfo, "faulty", POSE)
        spin_until(lambda: publisher.get_subscription_count() > 0, made.driver, made.node)
        publisher.publish(CameraInfo())
        spin_until(lambda: made.status[1]["rejected"] == "1", made.driver, made.node)


def test_a_camera_info_of_a_huge_image_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its maps for the rectification would take a gigabyte."""
    with inputs(monkeypatch) as made:
        made.send(camera_info(camera=PinholeCamera(16_000, 16_000, 16e3, 16e3, 8e3, 8e3), d=[0.1, 0.0, 0.0, 0.0, 0.0]))
        assert "/camera_info: width and height are 16000x16000, above the limit of 50,000,000 pixels" in made.status[0]


def test_a_compressed_image_of_another_size_than_the_calibrated_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    with inputs(monkeypatch) as made:
        made.send(camera_info())
        data = cv2.imencode(".png", np.zeros((30, 20), np.uint8))[1].tobytes()
        msg = CompressedImage(header=header_of(2, "camera"), format="png", data=array.array("B", data))
        monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
        with pytest.raises(CameraError, match="camera_info is for 64x48 but the image is 20x30"):
            made.decode(msg)


def test_a_region_and_binning_are_those_of_the_image_that_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    region = RegionOfInterest(x_offset=10, y_offset=8, width=40, height=32, do_rectify=True)
    with inputs(monkeypatch) as made:
        made.send(camera_info(roi=region, binning_x=2, binning_y=1))
        rectified, camera = made.decode(image(size=(20, 32)))
        assert rectified.shape == (32, 20)
        assert camera == made.input.camera == PinholeCamera(20, 32, 25.0, 51.0, 10.5, 16.0)
        whole, camera = made.decode(image())  # drivers fill in a region and send the whole image all the same
        assert (whole.shape, camera) == ((48, 64), CAMERA)
        with pytest.raises(CameraError, match="camera_info is for 20x32 but the image is 40x32"):
            made.decode(image(size=(40, 32)))


def test_an_uncalibrated_camera_info_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = CameraInfo(header=header_of(1, "camera"))
    with inputs(monkeypatch) as made:
        with pytest.raises(CameraError, match="no message on /camera_info yet"):
            made.decode(image())
        made.send(camera_info(k=np.zeros(9)), empty)
        with pytest.raises(CameraError, match=r"not calibrated.*can be used once a calibrated camera_info comes"):
            made.decode(image())
        assert "/camera_info: k has focal length (0, 0) px, so the camera is not calibrated" in made.status[0]
        made.send(camera_info())
        assert made.decode(image())[1] == CAMERA
        assert "calibrated" not in made.status[0]


def test_no_driver_warns_of_a_subscription_that_does_not_hear_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with inputs(monkeypatch) as made:
        made.send(camera_info(), camera_info("other"))
        looked = made.node.get_clock().now().nanoseconds + 1_500_000_000
        spin_until(lambda: made.node.get_clock().now().nanoseconds > looked, made.driver, made.node)
    assert "incompatible" not in "".join(capfd.readouterr())


def test_the_profile_of_static_transforms_keeps_its_depth() -> None:
    """Every broadcaster latches its own message."""
    assert TF_STATIC.depth >= 100
