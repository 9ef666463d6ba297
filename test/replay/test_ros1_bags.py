"""Bags of ROS 1 are read as those of ROS 2, and bags that cannot be read are refused with the command that helps."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_helpers import IMAGE, TF1, rewrite, rewrite_as_ros1
from pycolmap import Rigid3d, Rotation3d
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2.enums import CompressionMode

from vizloc_ros.bags.bag_camera import open_camera
from vizloc_ros.bags.opened import open_bag
from vizloc_ros.bags.reader import read_info, read_messages
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import BagError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_error

pytestmark = pytest.mark.e2e

CAMERA = PinholeCamera(64, 40, 50.0, 51.0, 31.5, 19.5)
BASE_FROM_CAM = Rigid3d(Rotation3d(np.array([-np.pi / 2, 0, 0])), np.array([1.0, 0, 1.5]))
START_NS = 1_500_000_000_000_000_000
COUNT = 5


def make_record(index: int) -> Record:
    image = np.random.default_rng(index).integers(0, 255, (40, 64, 3), np.uint8)
    pose = Rigid3d(Rotation3d(np.array([0, 0.1 * index, 0])), np.array([index, 2.0, 3.0]))
    return Record(f"{index}.png", START_NS + index * 100_000_000, CAMERA, "query", pose, lambda: image)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "bag"
    write_bag([make_record(index) for index in range(COUNT)], path, base_from_cam=BASE_FROM_CAM)
    return path


@pytest.fixture(scope="module")
def ros1(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rewrite_as_ros1(good, tmp_path_factory.mktemp("ros1") / "drive.bag")


def test_a_bag_of_ros_1_has_the_same_camera(good: Path, ros1: Path) -> None:
    ours, theirs = open_camera(ros1), open_camera(good)
    assert ours.topics == theirs.topics
    assert pose_error(ours.frame_from_cam("base_link"), BASE_FROM_CAM) == pytest.approx((0, 0), abs=1e-6)
    for record, expected in zip(ours.records(), theirs.records(), strict=True):
        assert (record.name, record.camera) == (expected.name, expected.camera)
        assert record.world_from_cam == expected.world_from_cam
        np.testing.assert_array_equal(record.read_image(), expected.read_image())


def test_its_messages_are_those_of_ros_2(good: Path, ros1: Path) -> None:
    """Bytes included: they are what the player publishes."""
    with open_bag(good) as bag2, open_bag(ros1) as bag1:
        assert bag1.is_ros1
        assert not bag2.is_ros1
        assert bag1.topics == bag2.topics
        assert (bag1.start_ns, bag1.end_ns, bag1.count) == (bag2.start_ns, bag2.end_ns, bag2.count)
        ours = sorted((topic, at, bytes(data)) for topic, at, data in bag1.messages(bag1.topics))
        theirs = sorted((topic, at, bytes(data)) for topic, at, data in bag2.messages(bag2.topics))
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert one[:2] == other[:2]
            assert one[2][4:] == other[2][4:].ljust(len(one[2]) - 4, b"\0")


def test_transforms_of_tf1_become_those_of_tf2(good: Path, tmp_path: Path) -> None:
    path = rewrite_as_ros1(good, tmp_path / "tf1.bag", tf_type=TF1)
    assert read_info(path).topics["/tf_static"].type_name == "tf2_msgs/msg/TFMessage"
    assert pose_error(open_camera(path).frame_from_cam("base_link"), BASE_FROM_CAM) == pytest.approx((0, 0), abs=1e-6)


def test_the_splits_of_one_recording_are_one_bag(good: Path, tmp_path: Path) -> None:
    (tmp_path / "drive").mkdir()
    for part in range(2):

        def half(topic: str, message: Any, index: int, part: int = part) -> list[tuple[str, Any]]:
            return [(topic, message)] if (index >= 3) == bool(part) else []

        rewrite_as_ros1(good, tmp_path / "drive" / f"drive_{part}.bag", half)
    assert [record.timestamp_ns for record in open_camera(tmp_path / "drive").records()] == [
        START_NS + index * 100_000_000 for index in range(COUNT)
    ]


def test_types_that_ros_2_does_not_know_are_listed_and_left_out(good: Path, tmp_path: Path) -> None:
    path = rewrite_as_ros1(good, tmp_path / "own.bag", own_topic="/own")
    assert read_info(path).topics["/own"].type_name == "own_msgs/msg/Thing"
    assert len(open_camera(path).records()) == COUNT
    with pytest.raises(BagError, match="own_msgs/msg/Thing, which is not a standard message"):
        list(read_messages(path, "/own"))


def refusal(path: Path) -> str:
    with pytest.raises(BagError) as refused:
        list(read_messages(path, IMAGE))
    assert str(path) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("suffix", [".bag", ".bag.active"])
def test_a_killed_recording_of_ros_1(ros1: Path, tmp_path: Path, suffix: str) -> None:
    """Its header has not been written again at the end: index_pos is 0."""
    path, data = tmp_path / f"killed{suffix}", bytearray(ros1.read_bytes())
    at = data.index(b"index_pos=") + len(b"index_pos=")
    data[at : at + 8] = bytes(8)
    path.write_bytes(data[: len(data) * 2 // 3])
    assert f"rosbag reindex {path}" in refusal(path)


def test_a_killed_mcap(good: Path, tmp_path: Path) -> None:
    """No footer; and in its folder no metadata.yaml, which is written at the end."""
    folder = rewrite(good, tmp_path / "bag", storage=StoragePlugin.MCAP)
    file = next(folder.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:-300])
    assert f"mcap recover {file} -o {folder}/bag_recovered.mcap" in refusal(folder)
    assert f"mcap recover {file} -o" in refusal(file)
    (folder / "metadata.yaml").unlink()
    assert f"ros2 bag reindex {folder}" in refusal(folder)
    assert f"name its file {file}" in refusal(folder)


def test_a_damaged_or_unfinished_sqlite3_bag(good: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my bag"
    shutil.copytree(good, folder)
    file = next(folder.glob("*.db3"))
    file.write_bytes(file.read_bytes()[:5000])
    assert f"ros2 bag reindex '{folder}'" in refusal(folder)
    assert f"sqlite3 '{file}' .recover" in refusal(file)
    (folder / "metadata.yaml").unlink()
    assert "metadata.yaml is missing" in refusal(folder)


@pytest.mark.parametrize("storage", ["db3", "mcap"])
@pytest.mark.parametrize("suffix", ["zstd", "zst"])
def test_a_lone_compressed_file(tmp_path: Path, storage: str, suffix: str) -> None:
    file = tmp_path / f"drive_0.{storage}.{suffix}"
    file.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    assert f"zstd -d {file} -o {tmp_path}/drive_0.{storage}" in refusal(file)
    assert f"zstd -d {file} && ros2 bag reindex {tmp_path}" in refusal(tmp_path)
    (tmp_path / "metadata.yaml").touch()
    assert f"or name its folder {tmp_path}" in refusal(file)


def test_a_compressed_bag_is_read_and_one_that_was_cut_off_is_refused(good: Path, tmp_path: Path) -> None:
    for mode in (CompressionMode.FILE, CompressionMode.MESSAGE):
        path = rewrite(good, tmp_path / mode.name, compression=mode)
        assert [record.name for record in open_camera(path).records()] == [r.name for r in open_camera(good).records()]
    file = next((tmp_path / "FILE").glob("*.zstd"))
    file.write_bytes(file.read_bytes()[:-1000])
    assert "the bag cannot be read" in refusal(tmp_path / "FILE")
