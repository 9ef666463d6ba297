"""The camera of a bag: found by itself where one fits, else chosen; what is missing is named with the option for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_helpers import CAMERA_INFO, IMAGE, TF_STATIC, TRUTH, changed, copied, keep, renamed, rewrite, without
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.bags.bag_camera import REPEATED, UNSTAMPED, open_camera
from vizloc_ros.bags.bag_messages import header, make, pose_message, stamp_ns_of, transform_message
from vizloc_ros.bags.bag_options import BagOptions, parse_base_from_cam
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import BagError, CameraError, ConfigError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.trajectory import Trajectory

pytestmark = pytest.mark.e2e

CAMERA = PinholeCamera(64, 40, 50.0, 51.0, 31.5, 19.5)
BASE_FROM_CAM = Rigid3d(Rotation3d(np.array([-np.pi / 2, 0, 0])), np.array([1.0, 0, 1.5]))
START_NS = 1_700_000_000_000_000_000
COUNT = 6
DEPTH, RAW = "/camera/depth/image_raw", "/camera/image"
FRAME = "camera_optical_frame"


def make_record(index: int) -> Record:
    image = np.random.default_rng(index).integers(0, 255, (40, 64), np.uint8)
    pose = Rigid3d(Rotation3d(np.array([0, 0.1 * index, 0])), np.array([index, 2.0, 3.0]))
    return Record(f"{index}.png", START_NS + index * 100_000_000, CAMERA, "query", pose, lambda: image)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "bag"
    write_bag([make_record(index) for index in range(COUNT)], path, base_from_cam=BASE_FROM_CAM)
    return path


@pytest.fixture
def bag(good: Path, tmp_path: Path) -> Callable[..., Path]:
    return lambda *changes: rewrite(good, tmp_path / "bag", *changes)


def also(name: str, make_more: Callable[[Any], list[tuple[str, Any]]]) -> Any:
    """The bag with more messages beside each one of a topic."""
    return lambda topic, message, index: [(topic, message), *(make_more(message) if topic == name else [])]


def compressed(image: Any) -> Any:
    data = cv2.imencode(".png", image.data.reshape(image.height, image.width))[1].reshape(-1)
    return make("sensor_msgs/msg/CompressedImage", header=image.header, format="mono8; png compressed mono8", data=data)


def depth(image: Any) -> Any:
    data = np.zeros(64 * 40 * 2, np.uint8)
    return copied(image, encoding="16UC1", step=128, data=data)


COMPRESSED_DEPTH = make(
    "sensor_msgs/msg/CompressedImage",
    header=header(START_NS, FRAME),
    format="16UC1; compressedDepth png",
    data=np.zeros(9, np.uint8),
)


def test_a_good_bag_gives_records_with_calibration_and_poses(good: Path) -> None:
    camera = open_camera(good)
    records = camera.records()
    assert (camera.topics.image, camera.topics.camera_info, camera.frame) == (IMAGE, CAMERA_INFO, FRAME)
    assert camera.is_transform_heard
    assert pose_error(camera.frame_from_cam("base_link"), BASE_FROM_CAM) == pytest.approx((0, 0), abs=1e-6)
    assert not camera.index.left_out
    for index, record in enumerate(records):
        original = make_record(index)
        assert (record.timestamp_ns, record.camera) == (original.timestamp_ns, CAMERA)
        assert record.world_from_cam is not None
        assert original.world_from_cam is not None
        assert pose_error(record.world_from_cam, original.world_from_cam) == pytest.approx((0, 0), abs=1e-5)
        np.testing.assert_array_equal(record.read_image(), original.read_image())


@pytest.mark.parametrize(
    ("more", "image", "camera_info"),
    [
        (lambda m: [(DEPTH, depth(m))], RAW, CAMERA_INFO),
        (lambda m: [(f"{DEPTH}/compressedDepth", COMPRESSED_DEPTH)], RAW, CAMERA_INFO),
        (
            lambda m: [("/range", copied(m, encoding="32FC1", step=256, data=np.zeros(10240, np.uint8)))],
            RAW,
            CAMERA_INFO,
        ),
        (lambda m: [(DEPTH, m)], RAW, CAMERA_INFO),
        (lambda m: [(f"{RAW}/compressed", compressed(m))], RAW, CAMERA_INFO),
        (lambda m: [("/camera/image_rect", m)], RAW, CAMERA_INFO),
        (lambda m: [("/other/image", m)], RAW, CAMERA_INFO),  # without a calibration
        (lambda m: [("/pixloc_tracker/debug/image", m)], RAW, CAMERA_INFO),
    ],
    ids=[
        "depth",
        "compressedDepth",
        "float",
        "depth of 8 bits",
        "compressed",
        "rectified",
        "no calibration",
        "debug image",
    ],
)
def test_what_else_is_in_the_bag_does_not_disturb(bag: Any, more: Any, image: str, camera_info: str) -> None:
    camera = open_camera(bag(also(IMAGE, more)))
    assert (camera.topics.image, camera.topics.camera_info) == (image, camera_info)


@pytest.mark.parametrize("topic", ["/depth_camera/color/image_raw", "/depth_camera/ir/image_raw"])
def test_pictures_of_a_depth_camera_are_taken(bag: Any, topic: str) -> None:
    def renamed(name: str, message: Any, _: int) -> list[tuple[str, Any]]:
        if name == IMAGE:
            return [(topic, message if "color" in topic else depth(message))]
        return [(f"{topic.rpartition('/')[0]}/camera_info" if name.endswith("camera_info") else name, message)]

    assert open_camera(bag(renamed)).topics.image == topic


def test_compressed_images_alone_are_taken_whatever_their_topic_is_called(bag: Any) -> None:
    path = bag(lambda topic, m, _: [("/camera/jpeg", compressed(m)) if topic == IMAGE else (topic, m)])
    camera = open_camera(path)
    assert (camera.topics.image, camera.topics.is_compressed) == ("/camera/jpeg", True)
    np.testing.assert_array_equal(camera.records()[2].read_image(), make_record(2).read_image())


@pytest.mark.parametrize(
    "name", ["/camera/image/camera_info", "/camera/image_info", "/front/calibration", "/other/camera_info"]
)
def test_camera_info_under_another_name_is_found_if_it_is_the_only_one(bag: Any, name: str) -> None:
    assert open_camera(bag(renamed(camera_info=name))).topics.camera_info == name


def test_of_several_camera_infos_the_one_of_that_size_and_frame_is_taken(bag: Any) -> None:
    def more(info: Any) -> list[tuple[str, Any]]:
        other_frame = copied(info, header=header(stamp_ns_of(info.header), "rear"))
        return [("/a/info", copied(info, width=128, height=80)), ("/b/info", other_frame)]

    path = bag(also(CAMERA_INFO, more), renamed(camera_info="/c/info"))
    assert open_camera(path).topics.camera_info == "/c/info"


def two_cameras(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
    other = {IMAGE: "/rear/image_raw", CAMERA_INFO: "/rear/camera_info"}
    return [(topic, message), *([(other[topic], message)] if topic in other else [])]


def test_of_two_cameras_one_is_chosen(bag: Any, good: Path) -> None:
    path = bag(two_cameras)
    with pytest.raises(
        BagError, match=r"images of 2 cameras: choose one with --image-topic: /camera/image, /rear/image"
    ):
        open_camera(path)
    camera = open_camera(path, BagOptions(image_topic="/rear/image_raw"))
    assert (camera.topics.image, camera.topics.camera_info) == ("/rear/image_raw", "/rear/camera_info")
    assert open_camera(path, BagOptions(camera_info_topic="/rear/camera_info")).topics.image == "/rear/image_raw"
    with pytest.raises(
        BagError, match=r"--image-topic /left is not in it; image topics: /camera/image, /rear/image_raw"
    ):
        open_camera(path, BagOptions(image_topic="/left"))
    with pytest.raises(BagError, match=r"--image-topic /tf_static has the type tf2_msgs/msg/TFMessage"):
        open_camera(path, BagOptions(image_topic=TF_STATIC))
    with pytest.raises(
        BagError, match=r"--camera-info-topic /x has no camera_info; there are: /camera/camera_info, /rear"
    ):
        open_camera(path, BagOptions(camera_info_topic="/x", image_topic=IMAGE))


def test_a_bag_without_a_camera_says_what_it_has(bag: Any, good: Path, tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"no camera's image in it; its image topics show something else: /camera/depth"):
        open_camera(bag(lambda topic, m, _: [(DEPTH, depth(m)) if topic == IMAGE else (topic, m)]))
    with pytest.raises(BagError, match=r"no camera's image in it; topics: /tf_static, /camera/camera_info"):
        open_camera(rewrite(good, tmp_path / "none", without(IMAGE)))


CALIBRATION = """image_width: 64
image_height: 40
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [50.0, 0.0, 31.5, 0.0, 51.0, 19.5, 0.0, 0.0, 1.0]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.0, 0.0, 0.0, 0.0, 0.0]}
"""


def test_a_calibration_file_replaces_camera_info(bag: Any, tmp_path: Path) -> None:
    path, file = bag(without(CAMERA_INFO)), tmp_path / "front.yaml"
    with pytest.raises(BagError, match=r"/camera/image needs its calibration .* no camera_info.*--calibration"):
        open_camera(path)
    file.write_text(CALIBRATION)
    camera = open_camera(path, BagOptions(calibration=file))
    assert (camera.topics.camera_info, camera.frame) == ("", FRAME)
    assert [record.camera for record in camera.records()] == [CAMERA] * COUNT
    with pytest.raises(CameraError, match=r"nowhere\.yaml"):
        open_camera(path, BagOptions(calibration=tmp_path / "nowhere.yaml"))


def test_a_calibration_file_chooses_the_camera_of_its_size(bag: Any, tmp_path: Path) -> None:
    path = bag(also(IMAGE, lambda m: [("/rear/image", copied(m, width=32, height=20))]))
    file = tmp_path / "front.yaml"
    file.write_text(CALIBRATION)
    assert open_camera(path, BagOptions(calibration=file)).topics.image == IMAGE


@pytest.mark.parametrize(
    ("change", "options", "heard"),
    [
        (renamed(tf_static="/robot1/tf_static"), BagOptions(), False),
        (without(TF_STATIC), BagOptions(base_from_cam=BASE_FROM_CAM), False),
        (keep, BagOptions(base_from_cam=BASE_FROM_CAM), False),
        (keep, BagOptions(), True),
    ],
    ids=["namespaced", "option instead", "option before /tf_static", "/tf_static"],
)
def test_where_the_pose_of_the_camera_on_the_vehicle_comes_from(
    bag: Any, change: Any, options: BagOptions, heard: bool
) -> None:
    camera = open_camera(bag(change), options)
    assert pose_error(camera.frame_from_cam("base_link"), BASE_FROM_CAM) == pytest.approx((0, 0), abs=1e-6)
    assert camera.is_transform_heard is heard


def test_another_base_frame_is_offered_and_taken(bag: Any) -> None:
    def base_footprint(message: Any, _: int) -> None:
        message.transforms[0].header.frame_id = "base_footprint"

    path = bag(changed(TF_STATIC, base_footprint))
    expected = r"no transform base_link -> camera_optical_frame; the frames connected.*base_footprint.*--base-frame"
    with pytest.raises(BagError, match=expected):
        open_camera(path).frame_from_cam("base_link")
    camera = open_camera(path, BagOptions(base_frame="base_footprint"))
    assert pose_error(camera.frame_from_cam("base_footprint"), BASE_FROM_CAM) == pytest.approx((0, 0), abs=1e-6)


@pytest.mark.parametrize("moves", [False, True])
def test_transforms_that_never_change_on_tf_are_static(bag: Any, moves: bool) -> None:
    def on_tf(image: Any) -> list[tuple[str, Any]]:
        time_s = (stamp_ns_of(image.header) - START_NS) * 1e-9
        pose = Rigid3d(BASE_FROM_CAM.rotation, np.array([1.0 + moves * time_s, 0, 1.5]))
        base = header(stamp_ns_of(image.header), "base_link")
        odometry = Rigid3d(Rotation3d(), np.array([time_s, 0, 0]))
        return [
            ("/tf", transform_message(pose, FRAME, base)),
            ("/tf", transform_message(odometry, "base_link", header(stamp_ns_of(image.header), "odom"))),
        ]

    camera = open_camera(bag(without(TF_STATIC), also(IMAGE, on_tf)))
    if moves:
        with pytest.raises(BagError, match="--base-from-cam"):
            camera.frame_from_cam("base_link")
    else:
        assert pose_error(camera.frame_from_cam("base_link"), BASE_FROM_CAM) == pytest.approx((0, 0), abs=1e-6)
        with pytest.raises(BagError, match="no transform odom"):
            camera.frame_from_cam("odom")


def test_images_and_camera_info_without_a_frame_need_the_option(bag: Any) -> None:
    def no_frame(message: Any, _: int) -> None:
        message.header.frame_id = ""

    camera = open_camera(bag(changed(IMAGE, no_frame), changed(CAMERA_INFO, no_frame)))
    with pytest.raises(
        BagError, match=r"base_link -> \(empty\); its images and camera_info have no frame_id.*--base-from"
    ):
        camera.frame_from_cam("base_link")


@pytest.mark.parametrize("text", ["1 2 3", "1 2 3 0 0 0 2", "a b c d e f g", "1 2 3 0 0 0 nan"])
def test_what_is_no_pose_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="x y z qx qy qz qw"):
        parse_base_from_cam(text)


def test_a_pose_is_parsed_with_blanks_or_commas() -> None:
    expected = Rigid3d(Rotation3d(np.array([0, 0, 0.6, 0.8])), np.array([1.0, -2, 0.5]))
    for text in ("1 -2 0.5 0 0 0.6 0.8", "1, -2, 0.5, 0, 0, 0.6, 0.8"):
        pose = parse_base_from_cam(text)
        assert pose is not None
        assert pose_error(pose, expected) == pytest.approx((0, 0), abs=1e-6)
    assert parse_base_from_cam(" ") is None


def test_stamps_of_zero_and_repeated_ones_are_counted(bag: Any) -> None:
    def stamps(image: Any, index: int) -> None:
        image.header = header({1: 0, 2: 0, 4: START_NS + 300_000_000}.get(index, stamp_ns_of(image.header)), FRAME)

    camera = open_camera(bag(changed(IMAGE, stamps)))
    assert camera.index.left_out == {UNSTAMPED: 2, REPEATED: 1}
    assert camera.index.num_images == COUNT
    assert [record.timestamp_ns - START_NS for record in camera.records()] == [0, 300_000_000, 500_000_000]
    np.testing.assert_array_equal(camera.records()[1].read_image(), make_record(3).read_image())


def half_size(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
    """The second half of the drive with images of half the size; camera_info follows."""
    if index < COUNT // 2:
        return [(topic, message)]
    if topic == IMAGE:
        small = message.data.reshape(40, 64)[::2, ::2]
        message = copied(message, width=32, height=20, step=32, data=np.ascontiguousarray(small).reshape(-1))
    elif topic == CAMERA_INFO:
        k = np.array([25, 0, 15.5, 0, 25.5, 9.5, 0, 0, 1])
        message = copied(message, width=32, height=20, k=k, p=np.zeros(12))
    return [(topic, message)]


def test_images_that_change_their_size_have_the_calibration_of_their_time(bag: Any) -> None:
    records = open_camera(bag(half_size)).records()
    assert [record.camera.size for record in records] == [(64, 40)] * 3 + [(32, 20)] * 3
    assert [record.read_image().shape for record in records] == [(40, 64)] * 3 + [(20, 32)] * 3


def test_images_that_change_their_size_without_a_calibration_are_refused_when_they_are_read(bag: Any) -> None:
    path = bag(lambda topic, m, i: [(topic, m)] if topic == CAMERA_INFO else half_size(topic, m, i))
    records = open_camera(path).records()
    assert records[0].read_image().shape == (40, 64)
    with pytest.raises(CameraError, match="is for 64x40 but the image is 32x20"):
        records[-1].read_image()


def trajectory(kind: str, frame: str, every_ms: int = 70) -> Any:
    """The ground truth as another topic, of another frame, at other times."""

    def more(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
        if topic != TRUTH or index:
            return [] if topic == TRUTH else [(topic, message)]
        return [
            ("/trajectory", pose_at(kind, frame, START_NS - 50_000_000 + n * every_ms * 1_000_000)) for n in range(12)
        ]

    return more


def pose_at(kind: str, frame: str, stamp_ns: int) -> Any:
    seconds = (stamp_ns - START_NS) * 1e-9
    world_from_cam = Rigid3d(Rotation3d(np.array([0, seconds, 0])), np.array([10 * seconds, 2.0, 3.0]))
    world_from_frame = world_from_cam if frame == FRAME else world_from_cam * BASE_FROM_CAM.inverse()
    stamped = pose_message(world_from_frame, header(stamp_ns, "map"))
    if kind == "PoseStamped":
        return stamped
    covariance = make("geometry_msgs/msg/PoseWithCovariance", pose=stamped.pose, covariance=np.zeros(36))
    if kind == "PoseWithCovarianceStamped":
        return make("geometry_msgs/msg/PoseWithCovarianceStamped", header=stamped.header, pose=covariance)
    zero = make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    twist = make("geometry_msgs/msg/Twist", linear=zero, angular=zero)
    return make(
        "nav_msgs/msg/Odometry",
        header=stamped.header,
        child_frame_id=frame,
        pose=covariance,
        twist=make("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
    )


@pytest.mark.parametrize(
    ("kind", "frame", "option"),
    [
        ("PoseStamped", "base_link", ""),
        ("PoseWithCovarianceStamped", FRAME, FRAME),
        ("Odometry", FRAME, ""),
        ("Odometry", "base_link", ""),
    ],
)
def test_a_trajectory_is_interpolated_and_moved_to_the_camera(bag: Any, kind: str, frame: str, option: str) -> None:
    camera = open_camera(bag(trajectory(kind, frame)), BagOptions(truth_topic="/trajectory", truth_frame=option))
    assert camera.truth.description == f"/trajectory, those of {frame}"
    for index, record in enumerate(camera.records()):
        expected = Rigid3d(Rotation3d(np.array([0, 0.1 * index, 0])), np.array([index, 2.0, 3.0]))
        assert record.world_from_cam is not None
        translation, rotation = pose_error(record.world_from_cam, expected)
        assert translation < 0.01  # on a screw motion instead of a line
        assert rotation < 1e-4


def test_a_trajectory_that_is_not_there_is_answered_with_those_there_are(bag: Any) -> None:
    path = bag(trajectory("Odometry", "base_link"))
    assert {record.world_from_cam for record in open_camera(path).records()} == {None}
    with pytest.raises(BagError, match=r"--truth-topic /gps has no poses; topics of poses: /trajectory"):
        open_camera(path, BagOptions(truth_topic="/gps")).records()


def test_no_pose_is_made_up_in_a_gap_before_and_after() -> None:
    second = 1_000_000_000
    poses = {n * second: Rigid3d(Rotation3d(), np.array([n, 0.0, 0])) for n in (0, 1, 5)}
    track = Trajectory.of(poses, max_gap_ns=second)
    assert [track.at(stamp) is None for stamp in (-1, 0, second // 2, second, second + 1, 5 * second, 6 * second)] == [
        *(True, False, False, False, True, False, True)
    ]
    halfway = track.at(second // 2)
    assert halfway is not None
    np.testing.assert_allclose(halfway.translation, [0.5, 0, 0])
    assert Trajectory.of({}).at(0) is None
