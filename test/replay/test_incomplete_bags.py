"""``vizloc replay`` of a good bag from which parts are taken away: the screen always says why there are no poses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_helpers import (
    CAMERA_INFO,
    IMAGE,
    TF_STATIC,
    TRUTH,
    changed,
    copied,
    renamed,
    rewrite,
    rewrite_as_ros1,
    without,
)
from cli_helpers import Ended, Vizloc

from vizloc_ros.bags.bag_messages import header, stamp_ns_of
from vizloc_ros.bags.writer import write_bag

pytestmark = pytest.mark.ros

COUNT = 6
FRAME = "camera_optical_frame"


@pytest.fixture(scope="module")
def good(street: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "bag"
    write_bag(street.records("query")[2 : 2 + COUNT], path)
    return path


@pytest.fixture
def replay(vizloc: Vizloc, good: Path, street_build: Any, tmp_path: Path) -> Any:
    """Replay of the good bag, changed; what is on the screen, and the report if there is one."""

    def run(*changes: Any, options: tuple[str, ...] = (), ros1: bool = False) -> tuple[Ended, dict[str, Any]]:
        bag = (
            rewrite_as_ros1(good, tmp_path / "bag.bag", *changes) if ros1 else rewrite(good, tmp_path / "bag", *changes)
        )
        out = tmp_path / "out"
        ended = vizloc("replay", bag, street_build[0], "--out", out, "--rate", 0.2, "--composed", *options)
        report = out / "report.json"
        return ended, json.loads(report.read_text()) if report.exists() else {}

    return run


def unstamped(message: Any, index: int) -> None:
    message.header = header(0, message.header.frame_id)


def black(message: Any, index: int) -> None:
    message.data = np.zeros_like(message.data)


def twice_as_wide(message: Any, index: int) -> None:
    message.width *= 2


def uncalibrated(message: Any, index: int) -> None:
    message.k = np.zeros(9)


def other_parent(message: Any, index: int) -> None:
    message.transforms[0].header.frame_id = "base_footprint"


def no_rotation(message: Any, index: int) -> None:
    message.transforms[0].transform.rotation.w = 0.0


def no_frames(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
    if topic in (IMAGE, CAMERA_INFO):
        message.header.frame_id = ""
    return [(topic, message)]


REFUSED = {
    "images": (without(IMAGE), ("no camera's image",)),
    "camera_info": (without(CAMERA_INFO), ("camera_info", "--calibration")),
    "calibration": (changed(CAMERA_INFO, uncalibrated), ("none of the 6 messages is calibrated", "calibrate")),
    "/tf_static": (without(TF_STATIC), ("base_link -> camera_optical_frame", "--base-from-cam")),
    "base_link": (changed(TF_STATIC, other_parent), ("base_footprint", "--base-frame")),
    "rotation": (changed(TF_STATIC, no_rotation), ("norm 1", "--base-from-cam")),
    "frame of the camera": (no_frames, ("(empty)", "--base-from-cam")),
    "all": (lambda topic, m, i: [], ("holds no message",)),
}


@pytest.mark.parametrize("missing", REFUSED)
def test_what_is_missing_is_named_before_the_nodes_start(replay: Any, missing: str) -> None:
    change, words = REFUSED[missing]
    ended, report = replay(change)
    assert ended.code == 1
    assert not report
    for word in words:
        assert word in " ".join(ended.err.split())


UNUSABLE = {
    "light": (changed(IMAGE, black), ("the image is black", "is the lens covered")),
    "calibration of this size": (changed(CAMERA_INFO, twice_as_wide), ("camera_info is for 800x250 but",)),
}


@pytest.mark.parametrize("missing", UNUSABLE)
def test_a_replay_without_poses_gives_the_reasons_with_their_counts(replay: Any, missing: str) -> None:
    change, words = UNUSABLE[missing]
    ended, report = replay(change)
    screen = " ".join(ended.out.split())
    assert ended.code == 1
    assert f"None of {COUNT} images got a pose" in screen
    assert (report["num_images"], report["num_poses"]) == (COUNT, 0)
    assert report["dropped"] >= 0
    for word in words:
        assert word in screen
    counts = list(report["reasons"].values())
    assert counts[0] >= COUNT - 2  # a count of the last second may be missing
    assert max(counts) <= COUNT


def test_images_without_a_stamp_are_counted(replay: Any) -> None:
    """All but the first: a recording may begin at 0."""
    ended, report = replay(changed(IMAGE, unstamped))
    assert (report["num_images"], report["dropped"]) == (COUNT, 0)
    assert report["num_poses"] <= 1
    assert f"{COUNT - 1}  the bag: images without a stamp" in ended.out
    assert "the camera driver must fill in header.stamp" in " ".join(ended.out.split())


def test_repeated_stamps_are_counted_and_no_image_is_dropped_a_negative_number_of_times(replay: Any) -> None:
    """Three images have the stamp of the first; the others have poses."""

    def some(message: Any, index: int) -> None:
        if 0 < index < 4:
            message.header = header(stamp_of_first[0], FRAME)
        elif index == 0:
            stamp_of_first.append(stamp_ns_of(message.header))

    stamp_of_first: list[int] = []
    ended, report = replay(changed(IMAGE, some))
    assert ended.code == 0, ended.err
    assert report["num_images"] == COUNT
    assert report["num_poses"] == 3
    assert report["dropped"] == 0
    assert report["reasons"]["the bag: images with the stamp of another image"] == 3
    assert "with the stamp of another image" in " ".join(ended.out.split())


def test_a_volatile_tf_static_and_no_ground_truth_are_enough(replay: Any) -> None:
    ended, report = replay(without(TRUTH))
    assert ended.code == 0, ended.out
    assert report["num_poses"] == COUNT
    assert report["recall"] == {}


def test_options_replace_what_a_bag_of_ros_1_lacks(replay: Any, street: Any, tmp_path: Path) -> None:
    """Without camera_info and /tf_static, and with the images under another name beside those of a second camera."""
    c = street.records("query")[0].camera
    (tmp_path / "front.yaml").write_text(
        f"image_width: {c.width}\nimage_height: {c.height}\n"
        f"camera_matrix: {{rows: 3, cols: 3, data: [{c.fx}, 0.0, {c.cx}, 0.0, {c.fy}, {c.cy}, 0.0, 0.0, 1.0]}}\n"
        "distortion_model: plumb_bob\ndistortion_coefficients: {rows: 1, cols: 5, data: [0.0, 0.0, 0.0, 0.0, 0.0]}\n"
    )

    def rear(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
        black_image = [("/rear/image", copied(message, data=np.zeros_like(message.data)))] if "front" in topic else []
        return [(topic, message), *black_image]

    options = (
        *("--image-topic", "/front/image_raw", "--calibration", str(tmp_path / "front.yaml")),
        *("--base-from-cam", "0.5 0 0 0 0 0 1", "--base-frame", "base_footprint"),
    )
    ended, report = replay(
        without(CAMERA_INFO, TF_STATIC), renamed(image="/front/image_raw"), rear, options=options, ros1=True
    )
    assert ended.code == 0, ended.out
    assert report["num_poses"] == COUNT
    assert report["recall"]["0.25m_2deg"] == 1.0


def test_an_image_size_that_changes_ends_no_replay(replay: Any) -> None:
    """The second half is of another size without a calibration; the overlay is drawn of an image that has one."""

    def smaller(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
        if topic != IMAGE or index < COUNT // 2:
            return [(topic, message)]
        half = np.ascontiguousarray(message.data.reshape(message.height, -1)[: message.height // 2])
        return [(topic, copied(message, height=message.height // 2, data=half.reshape(-1)))]

    ended, report = replay(smaller)
    assert ended.code == 0, ended.err
    assert (report["num_images"], report["num_poses"]) == (COUNT, COUNT // 2)
    assert "camera_info is for 400x250 but the image is 400x125" in " ".join(ended.out.split())
