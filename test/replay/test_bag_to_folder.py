"""``vizloc bag to-folder``: a folder that the reader and the map build take; ``vizloc bag info``: the topics."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_helpers import IMAGE, TRUTH, changed, copied, renamed, rewrite, rewrite_as_ros1, without
from cli_helpers import Vizloc

from vizloc_ros.bags.bag_messages import header, make, stamp_ns_of
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.folder import FolderDataset
from vizloc_ros.geometry.poses import pose_error, pose_from_quaternion
from vizloc_ros.mapping.visual_map import VisualMap

pytestmark = pytest.mark.e2e

COUNT = 8


@pytest.fixture(scope="module")
def good(street: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "bag"
    write_bag(street.records("map")[2 : 2 + COUNT], path)
    return path


@pytest.fixture
def bag(good: Path, tmp_path: Path) -> Callable[..., Path]:
    return lambda *changes: rewrite(good, tmp_path / "bag", *changes)


def as_jpeg(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
    if topic != IMAGE:
        return [(topic, message)]
    pixels = message.data.reshape(message.height, message.width, -1)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].reshape(-1)
    compressed = make("sensor_msgs/msg/CompressedImage", header=message.header, format="jpeg", data=data)
    return [(f"{topic}/compressed", compressed)]


@pytest.mark.parametrize("kind", ["raw", "jpeg", "ros1"])
def test_the_folder_has_the_images_and_poses_of_the_bag(
    vizloc: Vizloc, street: Any, good: Path, tmp_path: Path, kind: str
) -> None:
    path = rewrite_as_ros1(good, tmp_path / "bag.bag") if kind == "ros1" else good
    path = rewrite(good, tmp_path / "bag", as_jpeg) if kind == "jpeg" else path
    ended = vizloc("bag", "to-folder", path, "--out", tmp_path / "route")
    assert ended.code == 0, ended.err
    assert f"{COUNT} images written" in ended.out
    records = FolderDataset(tmp_path / "route").records("map")
    for record, expected in zip(records, street.records("map")[2:], strict=False):
        assert (record.timestamp_ns, record.camera) == (expected.timestamp_ns, expected.camera)
        assert record.world_from_cam is not None
        assert pose_error(record.world_from_cam, expected.world_from_cam) == pytest.approx((0, 0), abs=1e-5)
        gray = expected.read_image()
        gray = gray if gray.ndim == 2 else cv2.cvtColor(gray, cv2.COLOR_BGR2GRAY)
        assert np.abs(record.read_image().astype(int) - gray).mean() < (2 if kind == "jpeg" else 0.01)
    assert len(records) == COUNT


def test_poses_of_the_vehicle_are_interpolated_and_moved_to_the_camera(
    vizloc: Vizloc, street: Any, tmp_path: Path
) -> None:
    """From a bag with poses of base_link, which is not the camera, for every other image."""
    base_from_cam = pose_from_quaternion(np.array([1.2, 0.0, 1.5]), np.array([-0.5, 0.5, -0.5, 0.5]))
    records = street.records("map")[:5]
    cam_from_base = base_from_cam.inverse()
    given = [
        replace(one, world_from_cam=None if index % 2 else one.world_from_cam * cam_from_base)
        for index, one in enumerate(records)
    ]
    write_bag(given, tmp_path / "bag", base_from_cam=base_from_cam)
    options = ("--truth-frame", "base_link", "--out", tmp_path / "route")
    ended = vizloc("bag", "to-folder", tmp_path / "bag", *options)
    assert ended.code == 0, ended.err
    assert "poses: /ground_truth/pose, those of base_link" in ended.out
    written = FolderDataset(tmp_path / "route").records("map")
    assert [one.timestamp_ns for one in written] == [one.timestamp_ns for one in records]
    for one, true in zip(written, records, strict=True):
        assert one.world_from_cam is not None
        distance, angle = pose_error(one.world_from_cam, true.world_from_cam)
        assert distance < 0.01
        assert angle < 0.2


def test_a_map_is_built_from_it(vizloc: Vizloc, good: Path, tmp_path: Path) -> None:
    folder = tmp_path / "route"
    assert vizloc("bag", "to-folder", good, "--out", folder, "--split", "lap1").code == 0
    options = ("--split", "lap1", "--extractor", "rootsift", "--out", tmp_path / "map", "--no-pixloc")
    built = vizloc("map", "build", f"folder:{folder}", *options)
    assert built.code == 0, built.err
    assert VisualMap.open(tmp_path / "map").info.keyframes == COUNT


def test_unsorted_repeated_and_missing_stamps_make_a_folder_that_is_sorted(
    vizloc: Vizloc, bag: Any, tmp_path: Path
) -> None:
    """As several threads of a recorder write them."""

    def swapped(message: Any, index: int) -> None:
        offset_ns = {2: 150_000_000, 5: -250_000_000}.get(index, 0)
        stamp = 0 if index == 3 else stamp_ns_of(message.header) + offset_ns
        message.header = header(stamp, message.header.frame_id)

    ended = vizloc("bag", "to-folder", bag(changed(IMAGE, swapped)), "--out", tmp_path / "route")
    assert ended.code == 0, ended.err
    stamps = [record.timestamp_ns for record in FolderDataset(tmp_path / "route").records("map")]
    assert stamps == sorted(stamps)
    assert len(stamps) == COUNT - 1
    assert "1  left out: without a stamp" in ended.out


def test_two_drives_are_two_splits_and_one_is_replaced_only_on_demand(
    vizloc: Vizloc, good: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "route"
    for split, every in (("map", 1), ("query", 2)):
        assert vizloc("bag", "to-folder", good, "--out", folder, "--split", split, "--every", every).code == 0
    refused = vizloc("bag", "to-folder", good, "--out", folder, "--split", "query")
    assert refused.code == 1
    assert "has a split query already" in refused.err
    again = vizloc("bag", "to-folder", good, "--out", folder, "--split", "query", "--every", 4, "--overwrite")
    assert again.code == 0, again.err
    dataset = FolderDataset(folder)
    assert [len(dataset.records(split)) for split in ("map", "query")] == [COUNT, 2]
    assert len(list((folder / "query").iterdir())) == 2
    (folder / "query" / "notes.txt").write_text("precious")
    kept = vizloc("bag", "to-folder", good, "--out", folder, "--split", "query", "--overwrite")
    assert (kept.code, "query: holds notes.txt, which" in kept.err) == (1, True)
    assert (folder / "query" / "notes.txt").read_text() == "precious"
    other = vizloc("bag", "to-folder", good, "--out", folder, "--split", "../up")
    assert (other.code, "--split" in other.err) == (2, True)


def test_images_outside_of_the_trajectory_and_of_another_size_are_left_out_and_counted(
    vizloc: Vizloc, bag: Any, tmp_path: Path
) -> None:
    def odd(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
        if topic == TRUTH and index >= COUNT - 2:
            return []
        if topic == IMAGE and index == 1:
            half = np.ascontiguousarray(message.data.reshape(message.height, -1)[: message.height // 2])
            message = copied(message, height=message.height // 2, data=half.reshape(-1))
        return [(topic, message)]

    ended = vizloc("bag", "to-folder", bag(odd), "--out", tmp_path / "route")
    assert ended.code == 0, ended.err
    screen = " ".join(ended.out.split())
    assert "2 left out: without a pose within 0.5 s around it" in screen
    assert "1 left out: camera_info is for 400x250 but the image is 400x125" in screen
    assert len(FolderDataset(tmp_path / "route").records("map")) == COUNT - 3


def test_without_a_trajectory_the_images_have_no_poses_and_it_says_so(vizloc: Vizloc, bag: Any, tmp_path: Path) -> None:
    ended = vizloc("bag", "to-folder", bag(without(TRUTH)), "--out", tmp_path / "route", "--split", "query")
    assert ended.code == 0, ended.err
    assert (
        "without poses: no topic has any (PoseStamped, PoseWithCovarianceStamped, Odometry, TFMessage, NavSat"
        in ended.out
    )
    assert {record.world_from_cam for record in FolderDataset(tmp_path / "route").records("query")} == {None}


def test_the_only_trajectory_is_taken(vizloc: Vizloc, bag: Any, tmp_path: Path) -> None:
    options = ("--out", tmp_path / "route", "--split", "query")
    ended = vizloc("bag", "to-folder", bag(renamed(truth="/gnss")), *options)
    assert ended.code == 0, ended.err
    assert "poses: /gnss, those of base_link" in ended.out


def test_nothing_is_left_behind_where_no_image_can_be_used(vizloc: Vizloc, bag: Any, tmp_path: Path) -> None:
    def broken(message: Any, index: int) -> None:
        message.encoding = "no_such_encoding"

    ended = vizloc("bag", "to-folder", bag(changed(IMAGE, broken)), "--out", tmp_path / "route")
    assert ended.code == 1
    assert "no_such_encoding" in ended.err
    assert not list((tmp_path / "route").iterdir())


def test_info_lists_topics_with_their_use(vizloc: Vizloc, bag: Any) -> None:
    ended = vizloc("bag", "info", bag(renamed(truth="/gnss")))
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    topics = {line.partition(":")[0]: (line, about) for line, about in zip(lines[::2], lines[1::2], strict=True)}
    use, about = topics["/camera/image"]
    assert use == "/camera/image: camera (--image-topic), calibration on /camera/camera_info"
    assert about.startswith(f"    {COUNT} of sensor_msgs/msg/Image, ")
    assert "trajectory (--truth-topic)" in topics["/gnss"][0]
    assert "pose of the camera" in topics["/tf_static"][0]
