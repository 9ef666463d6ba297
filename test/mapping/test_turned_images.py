"""A build from pictures that are stored turned, with an EXIF orientation, and the poses of the upright ones."""

import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d
from sfm_helpers import posed

from vizloc_ros.datasets.folder import COLUMNS
from vizloc_ros.datasets.parsing import format_timestamp
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import MapError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.readers import open_dataset

pytestmark = pytest.mark.e2e

SIDE = 260  # px; square, so that a turned image has the size of its calibration
ASIDE = np.radians(30)  # the camera looks to the side: straight ahead, a turn changes no epipolar line
STORED = {1: 0, 3: 2, 6: 1, 8: 3}  # counterclockwise quarters from the upright image to the stored one


def jpeg_with_exif(image: np.ndarray, orientation: int) -> bytes:
    data = bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def write_route(folder: Path, street: SyntheticStreet, orientation: int) -> None:
    """Posed folder whose poses and intrinsics are of the upright images."""
    wide = street.camera
    camera = PinholeCamera(SIDE, SIDE, 1.4 * wide.fx, 1.4 * wide.fx, 125.0, 135.0)
    aside = Rotation3d(np.array([0.0, ASIDE, 0.0]))
    homography = camera.matrix @ aside.matrix().T @ np.linalg.inv(wide.matrix)
    rows = [",".join(COLUMNS)]
    for i, record in enumerate(street.records("map")[:16]):
        pose = posed(record) * Rigid3d(aside, np.zeros(3))
        upright = cv2.warpPerspective(record.read_image(), homography, camera.size, flags=cv2.INTER_CUBIC)
        data = jpeg_with_exif(np.ascontiguousarray(np.rot90(upright, STORED[orientation])), orientation)
        (folder / f"{i}.jpg").write_bytes(data)
        shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)  # OpenCV turns it as viewers do
        assert np.abs(shown.astype(float) - upright).mean() < 3
        values = (*pose.translation, *pose.rotation.quat)
        rows.append(f"{i}.jpg,map,{format_timestamp(record.timestamp_ns)},{','.join(f'{v:.9f}' for v in values)}")
    (folder / "poses.csv").write_text("\n".join(rows) + "\n")
    numbers = (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
    (folder / "intrinsics.txt").write_text(" ".join(map(str, numbers)) + "\n")


@pytest.mark.parametrize("orientation", STORED)
def test_a_build_names_the_orientation(street: SyntheticStreet, tmp_path: Path, orientation: int) -> None:
    write_route(tmp_path, street, orientation)
    dataset = open_dataset(f"folder:{tmp_path}")
    try:
        extractor = open_extractor("rootsift", {"max_keypoints": 600})
        warnings = build_map(dataset.records("map"), extractor, tmp_path / "map", dataset=dataset.name).warnings
    except MapError as error:
        warnings = [str(error)]
    text = " ".join(warnings)
    assert "quaternion" not in text
    if orientation == 1:
        assert "turned" not in text
        return
    assert re.search(
        rf"turned images: .* are those of an image as viewers show it with the EXIF.* {orientation} ", text
    )
    tagged = "16 of the 16 images have an EXIF orientation, which is not applied: 0.jpg has the EXIF orientation"
    assert f"{tagged} {orientation} " in text
