"""Bags: the written messages are read again, and damage is named."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from noise_drive import PERIOD_NS, START_NS, make_records
from pycolmap import Rigid3d, Rotation3d
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from vizloc_ros.bags import bag_camera
from vizloc_ros.bags.bag_messages import TYPES
from vizloc_ros.bags.reader import BagTopic, read_info, read_messages, read_poses
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.bags.written_topics import BagTopics
from vizloc_ros.datasets.corruptions import Degradation
from vizloc_ros.errors import BagError, ImageError, OutputError
from vizloc_ros.geometry.poses import pose_error

pytestmark = pytest.mark.e2e


def test_a_bag_gives_back_what_was_written(bag: Path) -> None:
    records = make_records()
    info = read_info(bag)
    assert (info.start_ns, info.end_ns) == (records[0].timestamp_ns, records[-1].timestamp_ns)
    assert info.topics == {
        "/tf_static": BagTopic("tf2_msgs/msg/TFMessage", 1),
        "/camera/camera_info": BagTopic("sensor_msgs/msg/CameraInfo", 5),
        "/camera/image": BagTopic("sensor_msgs/msg/Image", 5),
        "/ground_truth/pose": BagTopic("geometry_msgs/msg/PoseStamped", 5),
    }
    assert info.num_images == 5
    for record, (stamp_ns, image) in zip(records, read_messages(bag, "/camera/image"), strict=True):
        assert stamp_ns == record.timestamp_ns == image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
        assert (image.encoding, image.step, image.header.frame_id) == ("mono8", 64, "camera_optical_frame")
        np.testing.assert_array_equal(image.data.reshape(40, 64), record.read_image())
    _, camera_info = next(read_messages(bag, "/camera/camera_info"))
    np.testing.assert_array_equal(camera_info.k, [50, 0, 31.5, 0, 51, 19.5, 0, 0, 1])
    np.testing.assert_array_equal(camera_info.p, [50, 0, 31.5, 0, 0, 51, 19.5, 0, 0, 0, 1, 0])
    assert (camera_info.distortion_model, camera_info.d.tolist()) == ("plumb_bob", [0.0] * 5)
    poses = read_poses(bag)
    assert list(poses) == [record.timestamp_ns for record in records]
    for record in records:
        assert record.world_from_cam is not None
        assert pose_error(poses[record.timestamp_ns], record.world_from_cam) == pytest.approx((0, 0), abs=1e-5)


def test_tf_static_is_latched_and_says_where_the_camera_sits(tmp_path: Path) -> None:
    base_from_cam = Rigid3d(Rotation3d(np.array([-np.pi / 2, 0, 0])), np.array([1.0, 0, 1.5]))
    write_bag(make_records(), tmp_path / "bag", base_from_cam=base_from_cam)
    ((stamp_ns, message),) = read_messages(tmp_path / "bag", "/tf_static")
    (transform,) = message.transforms
    assert stamp_ns == START_NS
    assert (transform.header.frame_id, transform.child_frame_id) == ("base_link", "camera_optical_frame")
    assert (transform.transform.translation.x, transform.transform.translation.z) == (1.0, 1.5)
    assert transform.transform.rotation.x == pytest.approx(-np.sqrt(0.5))
    with Reader(tmp_path / "bag") as reader:
        durability = {c.topic: c.ext.offered_qos_profiles[0].durability for c in reader.connections}  # type: ignore[union-attr]
    assert durability.pop("/tf_static") is QosDurability.TRANSIENT_LOCAL
    assert set(durability.values()) == {QosDurability.VOLATILE}


@pytest.mark.parametrize(("file_format", "largest_error"), [("png", 0), ("jpeg", 60)])
def test_compressed_colour_images(tmp_path: Path, file_format: Any, largest_error: int) -> None:
    (record,) = make_records(1, channels=3)
    smooth = cv2.GaussianBlur(record.read_image(), (0, 0), 5)
    write_bag([replace(record, read_image=lambda: smooth)], tmp_path / "bag", compressed=file_format)
    ((_, message),) = read_messages(tmp_path / "bag", "/camera/image/compressed")
    assert message.format == f"bgr8; {file_format} compressed bgr8"
    image = cv2.imdecode(message.data, cv2.IMREAD_UNCHANGED)
    assert np.abs(image.astype(int) - smooth).max() <= largest_error
    assert read_info(tmp_path / "bag").num_images == 1


def test_options_name_topics_and_degrade_images(tmp_path: Path) -> None:
    records = make_records(2, channels=3)
    topics = BagTopics(image="/front/image", ground_truth=None, camera_frame="front")
    write_bag(records, tmp_path / "bag", degradation=Degradation("exposure", 3), topics=topics)
    assert set(read_info(tmp_path / "bag").topics) == {"/tf_static", "/camera/camera_info", "/front/image"}
    _, image = next(read_messages(tmp_path / "bag", "/front/image"))
    assert (image.encoding, image.step, image.header.frame_id) == ("bgr8", 192, "front")
    assert np.abs(image.data.reshape(40, 64, 3) - records[0].read_image().astype(int)).mean() > 20


def test_unposed_images_have_no_ground_truth(tmp_path: Path) -> None:
    first, second = make_records(2)
    write_bag([replace(first, world_from_cam=None), second], tmp_path / "bag")
    assert list(read_poses(tmp_path / "bag")) == [second.timestamp_ns]


def test_a_bag_is_written_whole_or_not_at_all(bag: Path) -> None:
    records = make_records(3)
    with pytest.raises(BagError, match="bag: exists already"):
        write_bag(records, bag)

    def broken() -> Any:
        raise ImageError("2.png: broken")

    with pytest.raises(ImageError, match="broken"):
        write_bag([*records[:2], replace(records[2], read_image=broken)], bag, overwrite="own")
    assert read_info(bag).num_images == 5
    write_bag(records, bag, overwrite="own")
    assert read_info(bag).num_images == 3
    assert [entry.name for entry in bag.parent.iterdir()] == ["bag"]
    with pytest.raises(BagError, match="no image"):
        write_bag([], bag.parent / "empty")
    (bag.parent / "file").touch()
    with pytest.raises(OutputError, match=r"file: cannot be a folder, because .*file is a file"):
        write_bag(records, bag.parent / "file" / "bag")


def test_only_a_bag_that_vizloc_wrote_is_replaced_and_only_with_nothing_else_in_its_folder(tmp_path: Path) -> None:
    records, bag = make_records(2), tmp_path / "bag"
    write_bag(records, bag)
    metadata = (bag / "metadata.yaml").read_text()
    (bag / "notes.txt").write_text("precious")
    with pytest.raises(BagError, match=r"bag: holds notes\.txt, which is not of the bag"):
        write_bag(records, bag, overwrite="any")
    (bag / "notes.txt").unlink()
    (bag / "metadata.yaml").write_text(metadata.replace("written_by", "recorded_by"))
    with pytest.raises(BagError, match="a bag that vizloc has not written"):
        write_bag(records, bag, overwrite="own")
    write_bag(records, bag, overwrite="any")
    for text in ("image: map.pgm\n", "rosbag2_bagfile_information: {}\n", "a: &a [*a]\n"):
        (bag / "metadata.yaml").write_text(text)
        with pytest.raises(BagError, match="is not the folder of a rosbag2, so it is not replaced"):
            write_bag(records, bag, overwrite="any")
    assert (bag / "bag.db3").is_file()


def test_what_is_no_bag_is_named(bag: Path) -> None:
    with pytest.raises(BagError, match="nowhere: there is no such bag"):
        read_info(bag.parent / "nowhere")
    with pytest.raises(BagError, match="not a bag: a folder with metadata"):
        read_info(bag.parent)
    (bag.parent / "text.txt").write_text("hello")
    with pytest.raises(BagError, match=r"text\.txt: not a bag: a folder with metadata"):
        read_info(bag.parent / "text.txt")
    with pytest.raises(BagError, match=rf"metadata.yaml: not a bag: .* Name its folder: {bag}"):
        read_info(bag / "metadata.yaml")
    with Writer(bag.parent / "empty", version=8) as writer:
        writer.add_connection("/a", "std_msgs/msg/Header", typestore=TYPES)
    with pytest.raises(BagError, match="empty: the bag holds no message"):
        read_info(bag.parent / "empty")


def test_a_missing_topic_is_answered_with_those_there_are(bag: Path) -> None:
    with pytest.raises(BagError, match=r"no topic /pose; there are: /camera/camera_info, /camera/image, /ground_tr"):
        list(read_messages(bag, "/pose"))
    with pytest.raises(BagError, match=r"/camera/image has the type sensor_msgs/msg/Image; expected one of"):
        read_poses(bag, "/camera/image")


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_messages_of_a_time_window(bag: Path, storage: str) -> None:
    if storage == "mcap":
        to_mcap(bag, bag := bag.parent / "mcap")
    first, last = START_NS + PERIOD_NS, START_NS + 3 * PERIOD_NS
    times = [time_ns for time_ns, _ in read_messages(bag, "/camera/image", first, last)]
    assert times == [first, first + PERIOD_NS]
    assert list(read_messages(bag, "/camera/image", first + 1, first + 2)) == []


def to_mcap(bag: Path, target: Path) -> None:
    with Reader(bag) as reader, Writer(target, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        copies = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=TYPES) for c in reader.connections}
        for connection, stamp_ns, data in reader.messages():
            writer.write(copies[connection.id], stamp_ns, data)


def test_mcap_and_single_files_are_read_alike(bag: Path) -> None:
    mcap = bag.parent / "mcap"
    to_mcap(bag, mcap)
    for path in (mcap, next(mcap.glob("*.mcap")), next(bag.glob("*.db3"))):
        assert list(read_poses(path)) == list(read_poses(bag))


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_damaged_bag_is_a_bag_error_or_read_well(bag: Path, storage: str) -> None:
    source, damaged = bag, bag.parent / "damaged"
    if storage == "mcap":
        to_mcap(bag, source := bag.parent / "mcap")
    random = np.random.default_rng(0)
    messages: list[str] = []
    for _ in range(60):
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(source, damaged)
        file = random.choice(sorted(damaged.iterdir()))
        data = bytearray(file.read_bytes())
        if random.random() < 0.3:
            del data[random.integers(len(data)) :]
        else:
            for position in random.integers(len(data), size=random.choice([1, 30, 300])):
                data[position] = random.integers(256)
        file.write_bytes(data)
        try:
            read_info(damaged)
            for topic in ("/camera/image", "/tf_static", "/camera/camera_info", "/ground_truth/pose"):
                list(read_messages(damaged, topic))
        except BagError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(str(damaged) in message for message in messages)


def test_an_image_of_a_record_is_found_by_its_time_in_the_bag(tmp_path: Path) -> None:
    """That time is later than the stamp, with another delay for each image; two images may have the same."""
    records = make_records(4)
    write_bag(records, tmp_path / "written")
    bag_times = [START_NS + delay_ns for delay_ns in (500_000_000, 500_000_000, 500_000_001, 900_000_000)]
    with Reader(tmp_path / "written") as reader, Writer(tmp_path / "bag", version=8) as writer:
        copies = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=TYPES) for c in reader.connections}
        for connection, stamp_ns, data in reader.messages():
            writer.write(copies[connection.id], bag_times[(stamp_ns - START_NS) // PERIOD_NS], data)
    camera = bag_camera.open_camera(tmp_path / "bag")
    found = camera.records()
    assert [record.timestamp_ns for record in found] == [record.timestamp_ns for record in records]
    assert pose_error(camera.frame_from_cam("base_link"), Rigid3d()) == pytest.approx((0, 0), abs=1e-6)
    for record, original in zip(found, records, strict=True):
        np.testing.assert_array_equal(record.read_image(), original.read_image())
