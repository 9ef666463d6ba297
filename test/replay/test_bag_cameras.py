"""Cameras of bags: the frame, the region and the calibration that the nodes take too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.bags import writer
from vizloc_ros.bags.bag_camera import open_camera
from vizloc_ros.bags.bag_messages import camera_info_message, header, image_message, make
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import BagError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_error

CAMERA = PinholeCamera(64, 40, 50.0, 51.0, 31.5, 19.5)
START_NS = 1_700_000_000_000_000_000
BASE_FROM_CAM = Rigid3d(Rotation3d(np.array([-0.5, 0.5, -0.5, 0.5])), np.array([1.2, 0.0, 1.5]))

Change = Callable[[int, Any], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Function that writes a bag of three images, with changes of each camera_info and image by its index."""

    def write(
        of_info: Change = lambda index, info: None,
        of_image: Change = lambda index, image: None,
        size: tuple[int, int] = CAMERA.size,
    ) -> Path:
        counts = {"info": 0, "image": 0}

        def changed(kind: str, change: Change, message: Any) -> Any:
            change(counts[kind], message)
            counts[kind] += 1
            return message

        monkeypatch.setattr(writer, "camera_info_message", lambda *a: changed("info", of_info, camera_info_message(*a)))
        monkeypatch.setattr(writer, "image_message", lambda *a: changed("image", of_image, image_message(*a)))
        pixels = np.random.default_rng(0).integers(0, 255, size[::-1], np.uint8)
        records = [Record(str(n), START_NS + n * 10**8, CAMERA, "query", None, lambda: pixels) for n in range(3)]
        write_bag(records, tmp_path / "bag", base_from_cam=BASE_FROM_CAM, overwrite="own")
        return tmp_path / "bag"

    return write


def records_of_bag(bag: Path) -> tuple[list[Record], Rigid3d]:
    """Records of a bag, and base_from_cam."""
    camera = open_camera(bag)
    return camera.records(), camera.frame_from_cam("base_link")


def frame(name: str) -> Change:
    return lambda index, message: setattr(message, "header", header(START_NS + index * 10**8, name))


@pytest.mark.parametrize("other", ["camera_link", ""])
def test_the_frame_is_that_of_the_images(write: Callable[..., Path], other: str) -> None:
    bag = write(of_info=frame(other))
    _, base_from_cam = records_of_bag(bag)
    assert max(pose_error(base_from_cam, BASE_FROM_CAM)) < 1e-6
    (note,) = open_camera(bag).notes
    assert (other or "(empty)") in note
    assert "camera_optical_frame" in note


def test_images_without_a_frame_have_that_of_camera_info(write: Callable[..., Path]) -> None:
    _, base_from_cam = records_of_bag(write(of_image=frame("")))
    assert max(pose_error(base_from_cam, BASE_FROM_CAM)) < 1e-6


def test_no_frame_at_all_is_called_empty(write: Callable[..., Path]) -> None:
    with pytest.raises(BagError, match=r"no transform base_link -> \(empty\)"):
        records_of_bag(write(of_info=frame(""), of_image=frame("")))


def test_a_camera_info_without_calibration_is_waited_out(write: Callable[..., Path]) -> None:
    def uncalibrated(index: int, info: Any) -> None:
        if index < 2:
            info.k = np.zeros(9)

    records, _ = records_of_bag(write(of_info=uncalibrated))
    assert [record.camera for record in records] == [CAMERA] * 3

    def never(_: int, info: Any) -> None:
        info.k, info.width, info.height = np.zeros(9), 0, 0

    with pytest.raises(BagError, match=r"camera_info: none of the 3 messages is calibrated"):
        records_of_bag(write(of_info=never))


def test_a_region_and_binning_give_the_camera_of_the_image(write: Callable[..., Path]) -> None:
    def crop(_: int, info: Any) -> None:
        info.roi = make(
            "sensor_msgs/msg/RegionOfInterest", x_offset=40, y_offset=10, height=20, width=24, do_rectify=True
        )
        info.binning_x = info.binning_y = 2

    records, _ = records_of_bag(write(of_info=crop, size=(12, 10)))
    assert records[0].camera == PinholeCamera(12, 10, 25.0, 25.5, -4.25, 4.75)
    assert records[0].read_image().shape == (10, 12)
