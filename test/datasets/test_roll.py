"""Roll about the optical axis: image and pose turn together."""

from zlib import crc32

import cv2
import numpy as np
import pytest

from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.roll import _COS_SIN, ROLL_DEG, roll_image, rolled
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import ImageError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_error


def test_cosines_are_those_of_the_angles() -> None:
    angles = np.radians(ROLL_DEG)
    np.testing.assert_allclose(_COS_SIN, np.stack([np.cos(angles), np.sin(angles)], axis=1), atol=1e-15)


@pytest.mark.parametrize("level", range(1, 6))
@pytest.mark.parametrize("clockwise", [True, False])
def test_a_point_is_seen_where_the_rolled_camera_sees_it(street: SyntheticStreet, level: int, clockwise: bool) -> None:
    record = street.records("map")[3]
    turned = rolled(record, level, clockwise)
    assert record.world_from_cam is not None
    assert turned.world_from_cam is not None
    translation, rotation = pose_error(turned.world_from_cam, record.world_from_cam)
    assert translation == pytest.approx(0, abs=1e-12)
    assert rotation == pytest.approx(ROLL_DEG[level - 1], abs=1e-6)
    image, camera = record.read_image(), record.camera
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    shown = turned.read_image()
    shown = shown if shown.ndim == 2 else cv2.cvtColor(shown, cv2.COLOR_BGR2GRAY)
    turned_from_cam = (turned.world_from_cam.inverse() * record.world_from_cam).rotation.matrix()
    rng, differences = np.random.default_rng(0), []
    for pixel in rng.uniform([150, 80], [250, 170], (200, 2)):
        ray = np.array([(pixel[0] - camera.cx) / camera.fx, (pixel[1] - camera.cy) / camera.fy, 1])
        x, y, _ = turned_from_cam @ ray
        values = [
            float(cv2.getRectSubPix(source, (1, 1), (float(at[0]), float(at[1])))[0, 0])
            for source, at in ((gray, pixel), (shown, (camera.fx * x + camera.cx, camera.fy * y + camera.cy)))
        ]
        differences.append(abs(values[0] - values[1]))
    assert np.median(differences) < 4  # interpolated twice
    assert (np.sign(turned_from_cam[1, 0]) > 0) == clockwise  # x, to the right, turns towards y, down


def test_bytes_are_the_same_everywhere() -> None:
    image = np.random.RandomState(5).randint(0, 256, (40, 60)).astype(np.uint8)
    cos, sin = _COS_SIN[2]
    camera = PinholeCamera(60, 40, 50, 51, 30.25, 19.5)
    turned = roll_image(image, camera, np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]))
    assert crc32(turned.tobytes()) == 1661340238
    assert turned[0, 0] == 0


def test_each_image_has_its_direction(street: SyntheticStreet) -> None:
    records = degrade_records(street.records("map"), Degradation.parse("roll:3"))
    signs = {
        float(np.sign((turned.world_from_cam.inverse() * record.world_from_cam).rotation.matrix()[1, 0]))
        for turned, record in zip(records, street.records("map"), strict=True)
    }
    assert signs == {-1.0, 1.0}


def test_an_image_of_another_size_is_named(street: SyntheticStreet) -> None:
    record = street.records("map")[0]
    small = Record(record.name, 0, record.camera, "map", None, lambda: np.zeros((3, 4), np.uint8))
    with pytest.raises(ImageError, match=f"{record.name}: the image is not of the size"):
        rolled(small, 1, clockwise=True).read_image()
