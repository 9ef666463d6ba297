"""Maps of 16-bit images, and of portraits that are stored turned: the same as of upright ones, and of messages."""

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from posed_folder import write_posed_folder
from rolled_records import rolled_by

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.image_messages import ImageDecoder
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.image_localizer import ImageLocalizer
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.readers import open_dataset

pytestmark = pytest.mark.e2e

VIEWERS_TURN_CLOCKWISE = 6


def png_16_bit(image: UInt8) -> bytes:
    """PNG of 16 bits of a sensor of 12; a pixel of full brightness shows them."""
    pixels = image.astype(np.uint16) * 16 + 7
    pixels[0, 0] = 4095
    return bytes(cv2.imencode(".png", pixels)[1])


def jpeg_with_exif(image: UInt8) -> bytes:
    """JPEG that viewers turn by 90 degrees."""
    data = bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, VIEWERS_TURN_CLOCKWISE, 0, 0)
    segment = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def portrait(record: Record) -> Record:
    """The record of a camera that is mounted sideways: its images are portraits that viewers would turn."""
    return rolled_by(record, Roll.CLOCKWISE)


KINDS: dict[str, tuple[Callable[[Record], Record], Callable[[UInt8], bytes], str]] = {
    "16 bit": (partial(rolled_by, roll=Roll.NONE), png_16_bit, ".png"),
    "portrait with EXIF": (portrait, jpeg_with_exif, ".jpg"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_gives_a_map_that_localizes_its_files_and_messages(
    street: SyntheticStreet, tmp_path: Path, kind: str
) -> None:
    taken, encode, suffix = KINDS[kind]
    truth = [taken(r) for r in [*street.records("map")[2:8], street.records("query")[4]]]
    write_posed_folder(tmp_path, truth)
    files = {record.name: tmp_path / f"{record.name}{suffix}" for record in truth}
    for record in truth:
        (tmp_path / f"{record.name}.png").unlink()
        files[record.name].write_bytes(encode(record.read_image()))
    table = tmp_path / "poses.csv"
    table.write_text(table.read_text().replace(".png", suffix))

    dataset = open_dataset(f"folder:{tmp_path}")
    extractor = open_extractor("rootsift", {"max_keypoints": 400})
    report = build_map(dataset.records("map"), extractor, tmp_path / "built", dataset=dataset.name)
    assert report.warnings == []
    (query,) = dataset.records("query")
    decoder = ImageDecoder("/camera/image")
    message = SimpleNamespace(format=suffix[1:], data=files[truth[-1].name].read_bytes())
    np.testing.assert_array_equal(decoder.gray(message), query.read_image())
    if kind == "16 bit":
        np.testing.assert_array_equal(query.read_image().ravel()[1:], truth[-1].read_image().ravel()[1:])
    visual_map = VisualMap.open(tmp_path / "built")
    localizer = ImageLocalizer(visual_map.extractor, HierarchicalLocalizer(visual_map), (Roll.NONE,))
    pose = localizer.localize(query.read_image(), query.camera).outcome.pose
    assert pose is not None
    assert query.world_from_cam is not None
    distance, degrees = pose_error(pose.map_from_cam, query.world_from_cam)
    assert distance < 0.1
    assert degrees < 0.5
