"""Splits of a sequence by number, time and distance."""

from pathlib import Path

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.listed import ListedImage, sequence_parts
from vizloc_ros.datasets.record import Mounting
from vizloc_ros.datasets.splits import sequence_splits
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import DistortedCamera

STAMPS = [10**18 + 500_000_000 * index for index in range(6)]  # every half second
POSES = [Rigid3d(Rotation3d(), np.array([0.0, 2.0 * index, 0])) for index in range(6)]  # two meters each


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1-3", [1, 2, 3]), ("0.5s-1.5s", [1, 2, 3]), ("1s-99s", [2, 3, 4, 5]), ("4m-8.1m", [2, 3, 4])],
)
def test_both_ends_of_a_range_are_included(text: str, expected: list[int]) -> None:
    assert sequence_splits({"part": text}, STAMPS, POSES, "x:")["part"] == expected


def test_images_without_a_pose_lie_between_those_beside_them() -> None:
    poses = [POSES[0], None, None, POSES[3], POSES[4], None]
    assert sequence_splits({"part": "1m-5m"}, STAMPS, poses, "x:")["part"] == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1s-3", "write the frames as FIRST-LAST, for example part=90-230, or 12.5s-60s, or 0m-250m"),
        ("1.5-3", "write the frames as FIRST-LAST"),
        ("3s-4s", "part=3s-4s; the sequence has the frames 0s-2.50s"),
        ("4-6", "part=4-6; the sequence has the frames 0-5"),
    ],
)
def test_a_range_that_is_none_is_named(text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        sequence_splits({"part": text}, STAMPS, POSES, "x:")


def test_a_distance_needs_poses() -> None:
    with pytest.raises(DatasetError, match="part=0m-5m; the sequence has no pose"):
        sequence_splits({"part": "0m-5m"}, STAMPS, [None] * 6, "x:")


def test_ranges_count_the_images_of_the_first_camera_and_others_follow_by_time() -> None:
    lens = DistortedCamera(PinholeCamera(64, 40, 50.0, 50.0, 31.5, 19.5))
    images = [
        ListedImage(Path(f"{camera}{i}"), f"{camera}{i}", 100 * i + delay, lens, None, "x", Mounting(camera))
        for i in range(6)
        for camera, delay in (("left", 0), ("right", 1))
    ]
    parts = sequence_parts(images, {"query": "2-4"}, "x:")
    assert [image.name for image in parts["query"]] == ["left2", "right2", "left3", "right3", "left4", "right4"]
    assert len(parts["all"]) == 12
