"""Bags as datasets: cameras, splits, and poses of every kind of topic and file."""

import json
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_helpers import IMAGE, TF_STATIC, TRUTH, Change, copied, rewrite, rewrite_as_ros1, without
from cli_helpers import Vizloc
from pycolmap import Rigid3d, Rotation3d
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2.enums import CompressionMode

from vizloc_ros.bags.bag_messages import fix_message, header, make, pose_message, stamp_ns_of, transform_message
from vizloc_ros.bags.topic_uses import topic_uses
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import Dataset, GnssFix, Mounting, RawImage, Record, fixes_of
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import BODY_FROM_OPTICAL, pose_error
from vizloc_ros.geometry.rectification import DistortedCamera, Rectifier
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.readers import open_dataset

pytestmark = pytest.mark.e2e

LENS = DistortedCamera(PinholeCamera(64, 40, 50.0, 51.0, 31.5, 19.5), (-0.2, 0.05, 0.001, -0.001, 0.0))
RECTIFIER = Rectifier(LENS)
BASE_FROM_CAM = Rigid3d(BODY_FROM_OPTICAL.rotation, np.array([1.0, 0.2, 1.5]))
FRONT = Mounting("", BASE_FROM_CAM)
START_NS, PERIOD_NS = 1_700_000_000_000_000_000, 100_000_000
COUNT = 20
FRAME = "camera_optical_frame"
RADIUS_M, SPEED_MPS = 20.0, 10.0
MAP_FROM_ODOM = Rigid3d(Rotation3d(np.array([0, 0, 0.7])), np.array([5.0, -3.0, 0.0]))


def world_from_base(seconds: float) -> Rigid3d:
    """A drive on a circle, first to the east."""
    turn = SPEED_MPS / RADIUS_M * seconds
    position = RADIUS_M * np.array([np.sin(turn), 1 - np.cos(turn), 0.0])
    return Rigid3d(Rotation3d(np.array([0, 0, turn])), position)


def make_image(index: int) -> Any:
    return np.random.default_rng(index).integers(0, 255, (40, 64), np.uint8)


def make_record(index: int, mounting: Mounting = FRONT) -> Record:
    assert mounting.base_from_cam is not None
    image = make_image(index)
    return Record(
        f"{index}.png",
        START_NS + index * PERIOD_NS,
        RECTIFIER.rectified,
        "query",
        world_from_base(index / 10) * mounting.base_from_cam,
        lambda: RECTIFIER.rectify(image),
        mounting=mounting,
        raw=RawImage(LENS, lambda: image),
    )


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "bag"
    write_bag([make_record(index) for index in range(COUNT)], path)
    return path


@pytest.fixture
def bag(good: Path, tmp_path: Path) -> Callable[..., Path]:
    """One file of mcap, which is opened in a moment."""
    return lambda *changes: rewrite(good, tmp_path / "bag", *changes, storage=StoragePlugin.MCAP) / "bag.mcap"


def with_messages(make_messages: Callable[[], Iterable[tuple[str, Any]]]) -> Change:
    """The bag with messages instead of its ground truth."""

    def change(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
        if topic != TRUTH:
            return [(topic, message)]
        return list(make_messages()) if index == 0 else []

    return change


def at_times(period_ms: int = 30) -> list[tuple[int, float]]:
    """Stamps [ns] and seconds from the first image: from before it to after the last one."""
    return [(START_NS + ms * 1_000_000, ms / 1000) for ms in range(-100, 2200, period_ms)]


def poses() -> list[tuple[str, Any]]:
    return [("/trajectory", pose_message(world_from_base(t), header(stamp, "map"))) for stamp, t in at_times()]


def stamped_later(message: Any, shift_ns: int) -> Any:
    """The message with a later stamp."""
    return copied(message, header=header(stamp_ns_of(message.header) + shift_ns, message.header.frame_id))


def transforms() -> list[tuple[str, Any]]:
    """Odometry of 30 ms, and its correction twice."""
    found = [
        ("/tf", transform_message(MAP_FROM_ODOM.inverse() * world_from_base(t), "base_link", header(stamp, "odom")))
        for stamp, t in at_times()
    ]
    corrections = [
        (
            "/tf",
            transform_message(MAP_FROM_ODOM * Rigid3d(Rotation3d(), np.array([0, 0, dz])), "odom", header(s, "map")),
        )
        for s, dz in ((START_NS - 100_000_000, 0.002), (START_NS, 0.0))
    ]
    return [*corrections, *found]


def fix_of(position: Any, stamp_ns: int) -> GnssFix:
    """Fix near the equator, where WGS 84 is simple: to a millimeter within 50 m."""
    radius = 6378137.0
    north_radius = radius * (1 - 0.00669437999014)
    return GnssFix(
        stamp_ns,
        float(np.degrees(position[1] / north_radius)),
        float(10 + np.degrees(position[0] / radius)),
        float(100 + position[2]),
        (0.02, 0.02, 0.04),
    )


def fixes(antenna: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> list[tuple[str, Any]]:
    return [
        ("/fix", fix_message(fix_of(world_from_base(t) * np.array(antenna), stamp), header(stamp, "gps")))
        for stamp, t in at_times(50)
    ]


def imu(yaw: float = 0.0, topic: str = "/imu", sign: float = 1.0) -> list[tuple[str, Any]]:
    zero = make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    messages = []
    for stamp, t in at_times(10):
        x, y, z, w = Rotation3d(np.array([0, 0, sign * SPEED_MPS / RADIUS_M * t + yaw])).quat
        message = make(
            "sensor_msgs/msg/Imu",
            header=header(stamp, "imu"),
            orientation=make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
            orientation_covariance=np.zeros(9),
            angular_velocity=zero,
            angular_velocity_covariance=np.zeros(9),
            linear_acceleration=zero,
            linear_acceleration_covariance=np.zeros(9),
        )
        messages.append((topic, message))
    return messages


def largest_error(dataset: Dataset, split: str = "all", starts_at: float | None = None) -> tuple[float, float]:
    """Largest errors of the poses [m], [deg], in a world that begins at the vehicle at a time; all images have one."""
    origin = np.zeros(3) if starts_at is None else world_from_base(starts_at).translation
    errors = []
    for record in dataset.records(split):
        assert record.world_from_cam is not None
        truth = world_from_base((record.timestamp_ns - START_NS) / 1e9) * BASE_FROM_CAM
        truth = Rigid3d(truth.rotation, truth.translation - origin)
        errors.append(pose_error(record.world_from_cam, truth))
    translations, rotations = zip(*errors, strict=True)
    return max(translations), max(rotations)


def test_a_bag_gives_images_as_recorded_lenses_poses_and_the_place_of_the_camera(good: Path) -> None:
    dataset = open_dataset(f"bag:{good}")
    assert dataset.splits == ("all", "map", "query")
    for index, record in enumerate(dataset.records("all")):
        assert record.raw is not None
        assert record.mounting.base_from_cam is not None
        assert (record.camera, record.raw.lens) == (RECTIFIER.rectified, LENS)
        np.testing.assert_array_equal(record.raw.read(), make_image(index))
        np.testing.assert_array_equal(record.read_image(), RECTIFIER.rectify(make_image(index)))
        assert pose_error(record.mounting.base_from_cam, BASE_FROM_CAM) == pytest.approx((0, 0), abs=1e-6)
    assert largest_error(dataset, "map") == pytest.approx((0, 0), abs=1e-5)


def test_a_bag_becomes_the_same_bag(good: Path, tmp_path: Path) -> None:
    """With the distortion of its lens, and its ground truth."""
    dataset = open_dataset(f"bag:{good}")
    write_bag(dataset.records("all"), tmp_path / "again")
    again = open_dataset(f"bag:{tmp_path / 'again'}")
    for record, expected in zip(again.records("all"), dataset.records("all"), strict=True):
        assert record.raw is not None
        assert expected.raw is not None
        assert (record.name, record.camera, record.raw.lens) == (expected.name, expected.camera, expected.raw.lens)
        np.testing.assert_array_equal(record.raw.read(), expected.raw.read())
    assert largest_error(again) == pytest.approx((0, 0), abs=1e-5)


@pytest.mark.parametrize("kind", ["mcap", "zstd", "ros1"])
def test_every_storage_gives_the_same_images(good: Path, tmp_path: Path, kind: str) -> None:
    if kind == "ros1":
        path = rewrite_as_ros1(good, tmp_path / "drive.bag")
    elif kind == "mcap":
        path = rewrite(good, tmp_path / "bag", storage=StoragePlugin.MCAP)
    else:
        path = rewrite(good, tmp_path / "bag", compression=CompressionMode.FILE)
    records = open_dataset(f"bag:{path}").records("all")
    for index in (7, 3, 19):  # in any order, from a bag that stays open
        np.testing.assert_array_equal(records[index].read_image(), RECTIFIER.rectify(make_image(index)))


def test_records_go_to_other_processes(good: Path) -> None:
    record = open_dataset(f"bag:{good}").records("all")[4]
    expected = record.read_image()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(record)).read_image(), expected)


@pytest.mark.parametrize(
    ("range_", "expected"),
    [("3-7", range(3, 8)), ("0.25s-0.7s", range(3, 8)), ("0.9m-4m", range(1, 5)), (".5s-9s", range(5, COUNT))],
)
def test_splits_by_number_time_and_distance(good: Path, range_: str, expected: range) -> None:
    """An image every 0.1 s and every meter."""
    dataset = open_dataset(f"bag:{good}?part={range_}&rest=10-19")
    assert dataset.splits == ("all", "part", "rest")
    found = [(record.timestamp_ns - START_NS) // PERIOD_NS for record in dataset.records("part")]
    assert found == list(expected)
    assert {record.split for record in dataset.records("part")} == {"part"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("map=3-2", r"map=3-2; the sequence has the frames 0-19"),
        (
            "map=first",
            r"write the frames as FIRST-LAST.*or 12.5s-60s, or 0m-250m\. The other options are image_topic, ",
        ),
        ("map=5s-6s", r"map=5s-6s; the sequence has the frames 0s-1\.90s"),
        ("map=50m-60m", r"map=50m-60m; the sequence has the frames 0m-18\.8\dm"),
        ("max_gap=wide", r"max_gap is 'wide', not a number"),
        ("image_topic=/left", r"image_topic= /left is not in it; image topics: /camera/image"),
        ("truth_topic=/odom", r"truth_topic= /odom has no poses; topics of poses: /ground_truth/pose"),
        ("poses=nowhere.txt", r"nowhere\.txt: cannot be read"),
        ("image_topic=/camera/image,/b&calibration=1,2,3", r"calibration names 3 and image_topic 2"),
    ],
)
def test_a_wrong_option_is_named(good: Path, options: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"bag:{good}?{options}")


def test_several_cameras_are_one_dataset(tmp_path: Path) -> None:
    rear = Rigid3d(Rotation3d(np.array([0.5, -0.5, -0.5, 0.5])), np.array([0, 0, 1.5]))
    places = (("front", BASE_FROM_CAM), ("rear", rear))
    rig = [make_record(index, Mounting(name, pose)) for index in range(4) for name, pose in places]
    write_bag(rig, tmp_path / "rig")
    path = rewrite(tmp_path / "rig", tmp_path / "bag", storage=StoragePlugin.MCAP) / "bag.mcap"
    with pytest.raises(DatasetError, match=r"images of 2 cameras: choose one with image_topic=: /front/image, /rear"):
        open_dataset(f"bag:{path}")
    records = open_dataset(f"bag:{path}?image_topic=/front/image,/rear/image").records("all")
    assert [record.name.split("/")[0] for record in records] == ["front", "rear"] * 4
    for record, original in zip(records, rig, strict=True):
        assert record.mounting.camera == original.mounting.camera
        assert record.world_from_cam is not None
        assert original.world_from_cam is not None
        assert pose_error(record.world_from_cam, original.world_from_cam) == pytest.approx((0, 0), abs=1e-5)


@pytest.mark.parametrize(
    ("messages", "tolerance"),
    [
        (poses, (0.03, 0.01)),
        (transforms, (0.03, 0.01)),
        (fixes, (0.05, 0.3)),
        (lambda: [*fixes(), *imu()], (0.05, 0.1)),
    ],
    ids=["poses", "tf", "gnss", "gnss and imu"],
)
def test_the_only_poses_of_a_bag_are_taken(bag: Any, messages: Any, tolerance: tuple[float, float]) -> None:
    """Positions between poses lie on a screw motion, within a few mm; headings of chords are those of the middle."""
    topics = {topic for topic, _ in messages()}
    dataset = open_dataset(f"bag:{bag(with_messages(messages))}")
    translation, rotation = largest_error(dataset, starts_at=-0.1 if "/fix" in topics else None)
    assert translation < tolerance[0]
    assert rotation < tolerance[1]


def test_of_several_poses_one_is_chosen(bag: Any) -> None:
    path = bag(with_messages(lambda: [*poses(), *transforms(), *fixes()]))
    with pytest.raises(
        DatasetError, match=r"poses on 3 topics: choose one with truth_topic=, or none: /trajectory, /tf, /fix"
    ):
        open_dataset(f"bag:{path}")
    assert open_dataset(f"bag:{path}?truth_topic=none").records("map") == []
    odometry = open_dataset(f"bag:{path}?truth_topic=/tf&map_frame=odom").records("all")[0].world_from_cam
    assert odometry is not None
    expected = MAP_FROM_ODOM.inverse() * world_from_base(0) * BASE_FROM_CAM
    assert pose_error(odometry, expected) == pytest.approx((0, 0), abs=1e-3)
    with pytest.raises(DatasetError, match=r"/tf does not connect .* map_frame= earth; the frames above it are base_l"):
        open_dataset(f"bag:{path}?truth_topic=/tf&map_frame=earth")


def test_the_antenna_is_not_the_vehicle(bag: Any) -> None:
    """Its place is in /tf_static; it turns with the vehicle."""
    antenna = (-0.5, 0.6, 2.0)

    def place(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
        more = transform_message(Rigid3d(Rotation3d(), np.array(antenna)), "gps", header(START_NS, "base_link"))
        return [(topic, message), *([(TF_STATIC, more)] if topic == TF_STATIC else [])]

    dataset = open_dataset(f"bag:{bag(with_messages(lambda: [*fixes(antenna), *imu()]), place)}")
    first, *others = (record.world_from_cam for record in dataset.records("all"))
    assert first is not None
    # The world begins at the first fix, that of the antenna, 0.1 s before the first image.
    start = world_from_base(-0.1) * np.array(antenna)
    expected = world_from_base(0) * BASE_FROM_CAM
    assert np.linalg.norm(first.translation - (expected.translation - start)) < 0.02
    assert all(other is not None for other in others)


@pytest.mark.parametrize(
    ("messages", "note"),
    [
        (lambda: imu(yaw=2.0), "the Imu's yaw is 115 deg from the motion, and was corrected by that"),
        (lambda: imu(sign=-6.0), "the Imu's yaw does not follow the motion, so it is not used"),
    ],
    ids=["turned", "of other axes"],
)
def test_an_imu_that_is_turned_is_corrected_and_one_that_is_wrong_is_not_used(
    bag: Any, messages: Any, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = open_dataset(f"bag:{bag(with_messages(lambda: [*fixes(), *messages()]))}")
    assert note in caplog.text
    assert largest_error(dataset)[1] < 1.5  # the headings of the first and the last images are those beside them


def test_several_imus_are_named(bag: Any) -> None:
    path = bag(with_messages(lambda: [*fixes(), *imu(), *imu(topic="/imu2", yaw=1.0)]))
    with pytest.raises(DatasetError, match=r"orientations of 2 Imus: choose one with imu_topic=, or none: /imu, /imu2"):
        open_dataset(f"bag:{path}")
    for imu_topic in ("/imu2", "none"):
        assert largest_error(open_dataset(f"bag:{path}?imu_topic={imu_topic}"))[1] < 0.5


def test_fixes_are_those_of_the_split(bag: Any) -> None:
    dataset = open_dataset(
        f"bag:{bag(with_messages(lambda: [*poses(), *fixes()]))}?truth_topic=/trajectory&part=0.5s-1s"
    )
    found = fixes_of(dataset, "part")
    assert [(fix.timestamp_ns - START_NS) // 1_000_000 for fix in found] == list(range(500, 1001, 50))
    assert found[0].std_m == pytest.approx((0.02, 0.02, 0.04))


@pytest.mark.parametrize("kind", ["tum", "csv"])
def test_poses_of_a_file(bag: Any, tmp_path: Path, kind: str) -> None:
    rows = []
    for stamp, t in at_times():
        pose = world_from_base(t) * BASE_FROM_CAM
        rows.append([f"{stamp / 1e9:.9f}", *map(repr, [*pose.translation.tolist(), *pose.rotation.quat.tolist()])])
    file = tmp_path / "poses"
    if kind == "tum":
        file.write_text("# timestamp tx ty tz qx qy qz qw\n" + "\n".join(" ".join(row) for row in rows))
    else:
        lines = [f"x.png,{','.join(row)}" for row in rows] + ["y.png,1.0,,,,,,,"]
        file.write_text("image,timestamp_s,tx,ty,tz,qx,qy,qz,qw\n" + "\n".join(lines))
    path = bag(without(TRUTH))
    assert largest_error(open_dataset(f"bag:{path}?poses={file}")) < (0.03, 0.01)
    in_base = open_dataset(f"bag:{path}?poses={file}&truth_frame=base_link").records("all")[0].world_from_cam
    assert in_base is not None
    assert pose_error(in_base, world_from_base(0) * BASE_FROM_CAM * BASE_FROM_CAM)[0] < 0.03


def test_images_beyond_the_poses_are_not_mapped(bag: Any, good: Path, tmp_path: Path) -> None:
    path, without_poses = bag(with_messages(lambda: poses()[20:])), rewrite(good, tmp_path / "none", without(TRUTH))
    dataset = open_dataset(f"bag:{path}")
    assert dataset.splits == ("all", "posed", "map", "query")
    assert [len(dataset.records(split)) for split in dataset.splits] == [COUNT, 15, 15, COUNT]
    exact = open_dataset(f"bag:{path}?max_gap=0.01&map=0-19").records("map")
    assert [(record.timestamp_ns - START_NS) // PERIOD_NS for record in exact] == [5, 8, 11, 14, 17]
    assert open_dataset(f"bag:{without_poses}").records("map") == []


@pytest.mark.parametrize(
    ("options", "shift_ns", "cause"),
    [
        (
            "",
            10**12,
            r"/trajectory; they are from 1700000999.* s, the images from 1700000000.*: give a time_offset",
        ),
        (
            "?max_gap=0.01",
            5_000_000,
            r"/trajectory; they are 0\.03 s apart, and max_gap=0\.01: raise it",
        ),
    ],
    ids=["another time", "seldom"],
)
def test_poses_that_no_image_can_have_are_an_error(bag: Any, options: str, shift_ns: int, cause: str) -> None:
    def shifted() -> list[tuple[str, Any]]:
        return [
            ("/trajectory", pose_message(world_from_base(t), header(stamp + shift_ns, "map")))
            for stamp, t in at_times()
        ]

    with pytest.raises(DatasetError, match=f"no image has one of the poses of {cause}"):
        open_dataset(f"bag:{bag(with_messages(shifted))}{options}")


def test_poses_with_a_clock_of_their_own(bag: Any) -> None:
    """Stamped 0.25 s later than the images of the same moment."""

    def late() -> list[tuple[str, Any]]:
        return [(topic, stamped_later(message, 250_000_000)) for topic, message in poses()]

    path = bag(with_messages(late))
    assert largest_error(open_dataset(f"bag:{path}?time_offset=0.25"), "map") < (0.03, 0.01)


def test_info_says_what_poses_there_are(bag: Any) -> None:
    path = bag(with_messages(lambda: [*poses(), *transforms(), *fixes(), *imu()]))
    uses = {use.topic: use.use for use in topic_uses(path)}
    assert uses["/trajectory"] == "trajectory (--truth-topic)"
    assert uses["/tf"] == "trajectory (--truth-topic): odom -> base_link, map -> odom"
    assert uses["/fix"].startswith("trajectory (--truth-topic): positions, with the rotations of an Imu")
    assert uses["/imu"] == "rotations of the positions of a GNSS receiver (--imu-topic)"


def test_a_map_is_built_from_a_bag_and_localizes_images_of_it(
    street: SyntheticStreet, vizloc: Vizloc, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_bag(street.records("map")[:7], tmp_path / "drive")
    bag, folder = f"bag:{rewrite_as_ros1(tmp_path / 'drive', tmp_path / 'drive.bag')}", tmp_path / "map"
    options = ("--split", "all", "--every", 2, "--extractor", "rootsift", "--no-pixloc", "--out", folder)
    built = vizloc("map", "build", bag, *options)
    assert built.code == 0, built.err
    assert "poses: /ground_truth/pose, those of the camera" in caplog.text
    localized = vizloc("localize", folder, f"{bag}?query=0.4m-0.6m", "--out", tmp_path / "result")
    assert localized.code == 0, localized.err
    report = json.loads((tmp_path / "result" / "report.json").read_text())
    assert report["recall"]["0.25m_2deg"] == 1
    assert VisualMap.open(folder).info.dataset == bag


def test_compressed_images_of_an_mcap(good: Path, tmp_path: Path) -> None:
    def compress(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
        if topic != IMAGE:
            return [(topic, message)]
        data = cv2.imencode(".png", message.data.reshape(40, 64))[1].reshape(-1)
        kind = "sensor_msgs/msg/CompressedImage"
        return [(f"{topic}/compressed", make(kind, header=message.header, format="png", data=data))]

    path = rewrite(good, tmp_path / "bag", compress, storage=StoragePlugin.MCAP)
    record = open_dataset(f"bag:{path}").records("all")[3]
    np.testing.assert_array_equal(record.read_image(), RECTIFIER.rectify(make_image(3)))
