"""Bags as datasets: images, cameras, lenses, splits and options, in every storage."""

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_helpers import IMAGE, rewrite, rewrite_as_ros1
from circle_drive import (
    BASE_FROM_CAM,
    COUNT,
    LENS,
    PERIOD_NS,
    RECTIFIER,
    START_NS,
    largest_error,
    make_image,
    make_record,
)
from cli_helpers import Vizloc
from pycolmap import Rigid3d, Rotation3d
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2.enums import CompressionMode

from vizloc_ros.bags.bag_messages import make
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import Mounting
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.readers import open_dataset

pytestmark = pytest.mark.e2e


def test_a_bag_gives_images_as_recorded_lenses_poses_and_the_place_of_the_camera(circle: Path) -> None:
    dataset = open_dataset(f"bag:{circle}")
    assert dataset.splits == ("all", "map", "query")
    for index, record in enumerate(dataset.records("all")):
        assert record.raw is not None
        assert record.mounting.base_from_cam is not None
        assert (record.camera, record.raw.lens) == (RECTIFIER.rectified, LENS)
        np.testing.assert_array_equal(record.raw.read(), make_image(index))
        np.testing.assert_array_equal(record.read_image(), RECTIFIER.rectify(make_image(index)))
        assert pose_error(record.mounting.base_from_cam, BASE_FROM_CAM) == pytest.approx((0, 0), abs=1e-6)
    assert largest_error(dataset, "map") == pytest.approx((0, 0), abs=1e-5)


def test_a_bag_becomes_the_same_bag(circle: Path, tmp_path: Path) -> None:
    """With the distortion of its lens, and its ground truth."""
    dataset = open_dataset(f"bag:{circle}")
    write_bag(dataset.records("all"), tmp_path / "again")
    again = open_dataset(f"bag:{tmp_path / 'again'}")
    for record, expected in zip(again.records("all"), dataset.records("all"), strict=True):
        assert record.raw is not None
        assert expected.raw is not None
        assert (record.name, record.camera, record.raw.lens) == (expected.name, expected.camera, expected.raw.lens)
        np.testing.assert_array_equal(record.raw.read(), expected.raw.read())
    assert largest_error(again) == pytest.approx((0, 0), abs=1e-5)


@pytest.mark.parametrize("kind", ["mcap", "zstd", "ros1"])
def test_every_storage_gives_the_same_images(circle: Path, tmp_path: Path, kind: str) -> None:
    if kind == "ros1":
        path = rewrite_as_ros1(circle, tmp_path / "drive.bag")
    elif kind == "mcap":
        path = rewrite(circle, tmp_path / "bag", storage=StoragePlugin.MCAP)
    else:
        path = rewrite(circle, tmp_path / "bag", compression=CompressionMode.FILE)
    records = open_dataset(f"bag:{path}").records("all")
    for index in (7, 3, 19):  # in any order, from a bag that stays open
        np.testing.assert_array_equal(records[index].read_image(), RECTIFIER.rectify(make_image(index)))


def test_records_go_to_other_processes(circle: Path) -> None:
    record = open_dataset(f"bag:{circle}").records("all")[4]
    expected = record.read_image()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(record)).read_image(), expected)


@pytest.mark.parametrize(
    ("range_", "expected"),
    [("3-7", range(3, 8)), ("0.25s-0.7s", range(3, 8)), ("0.9m-4m", range(1, 5)), (".5s-9s", range(5, COUNT))],
)
def test_splits_by_number_time_and_distance(circle: Path, range_: str, expected: range) -> None:
    """An image every 0.1 s and every meter."""
    dataset = open_dataset(f"bag:{circle}?part={range_}&rest=10-19")
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
def test_a_wrong_option_is_named(circle: Path, options: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"bag:{circle}?{options}")


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


def test_compressed_images_of_an_mcap(circle: Path, tmp_path: Path) -> None:
    def compress(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
        if topic != IMAGE:
            return [(topic, message)]
        data = cv2.imencode(".png", message.data.reshape(40, 64))[1].reshape(-1)
        kind = "sensor_msgs/msg/CompressedImage"
        return [(f"{topic}/compressed", make(kind, header=message.header, format="png", data=data))]

    path = rewrite(circle, tmp_path / "bag", compress, storage=StoragePlugin.MCAP)
    record = open_dataset(f"bag:{path}").records("all")[3]
    np.testing.assert_array_equal(record.read_image(), RECTIFIER.rectify(make_image(3)))
