"""Offset between the clocks of poses and images: found on a curve of the synthetic street, refused where none is."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_helpers import TRUTH, changed, rewrite
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.bags.bag_messages import header, pose_message, stamp_ns_of
from vizloc_ros.bags.clock_offset import rotation_between
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import open_synthetic
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.readers import open_dataset

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def curve() -> list[Record]:
    """From a straight into the first corner."""
    return open_synthetic("length=30&width=320&height=200").records("map")[24:54]


@pytest.fixture(scope="module")
def good(curve: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("curve") / "bag"
    write_bag(curve, path)
    return path


def late(seconds: float) -> Callable[[Any, int], None]:
    """Poses with later stamps."""

    def change(message: Any, _: int) -> None:
        message.header = header(stamp_ns_of(message.header) + round(seconds * 1e9), message.header.frame_id)

    return change


def still(message: Any, _: int) -> None:
    """Poses that do not turn."""
    message.pose = pose_message(Rigid3d(Rotation3d(), np.zeros(3)), message.header).pose


@pytest.mark.parametrize("seconds", [0.08, -0.13])
def test_the_offset_is_found_within_10_ms(
    good: Path, curve: list[Record], tmp_path: Path, caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    path = rewrite(good, tmp_path / "bag", changed(TRUTH, late(seconds)))
    records = open_dataset(f"bag:{path}?time_offset=auto").records("posed")
    found = re.search(r"time_offset=(-?[\d.]+): poses are stamped (\d+) ms (later|earlier)", caplog.text)
    assert found is not None
    assert float(found[1]) == pytest.approx(seconds, abs=0.01)
    assert (float(found[2]) / 1000, found[3]) == (pytest.approx(abs(float(found[1])), abs=5e-4), side_of(seconds))
    truth = {record.timestamp_ns: record.world_from_cam for record in curve}
    for record in records:
        expected = truth[record.timestamp_ns]
        assert record.world_from_cam is not None
        assert expected is not None
        assert pose_error(record.world_from_cam, expected)[0] < 0.01 * 5.0  # the way at 5 m/s


def side_of(seconds: float) -> str:
    return "later" if seconds > 0 else "earlier"


def test_poses_that_do_not_turn_cannot_tell_the_offset(good: Path, tmp_path: Path) -> None:
    path = rewrite(good, tmp_path / "bag", changed(TRUTH, still))
    with pytest.raises(DatasetError, match=r"time_offset= cannot be told.*Drive curves, or give it in seconds"):
        open_dataset(f"bag:{path}?time_offset=auto")


def test_too_few_images_are_named(curve: list[Record], tmp_path: Path) -> None:
    write_bag(curve[:4], tmp_path / "bag")
    with pytest.raises(DatasetError, match=r"0 pairs of images have poses 0\.5 s around them"):
        open_dataset(f"bag:{tmp_path / 'bag'}?time_offset=auto")


def test_the_rotation_between_two_images(curve: list[Record]) -> None:
    before, after = curve[-2], curve[-1]
    assert before.world_from_cam is not None
    assert after.world_from_cam is not None
    vector = rotation_between(before.read_image(), after.read_image(), before.camera)
    assert vector is not None
    turn = after.world_from_cam.inverse() * before.world_from_cam
    assert np.degrees(turn.rotation.angle()) > 3
    assert pose_error(Rigid3d(Rotation3d(vector), np.zeros(3)), Rigid3d(turn.rotation, np.zeros(3)))[1] < 0.3
    assert rotation_between(np.zeros((200, 320), np.uint8), before.read_image(), before.camera) is None
