"""Calibration files: what camera_calibration and camera_info_manager write, and what must be refused by name."""

from pathlib import Path

import pytest

from vizloc_ros.datasets.camera_info_yaml import read_camera_info
from vizloc_ros.errors import CameraError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import DistortedCamera

OST = """\
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [400.5    ,   0.     , 322.     ,
           0.     , 401.     , 238.     ,
           0.     ,   0.     ,   1.     ]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.28, 0.07, 2e-04, 1e-05, 0.000000]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1., 0., 0., 0., 1., 0., 0., 0., 1.]
projection_matrix:
  rows: 3
  cols: 4
  data: [390., 0., 322., 0., 0., 391., 238., 0., 0., 0., 1., 0.]
"""
ECHO = """\
header:
  stamp: {sec: 3, nanosec: 5}
  frame_id: camera
height: 480
width: 640
distortion_model: fisheye
d: [-0.01, 0.002, 0.0, 0.0]
k:
- 400.5
- 0.0
- 322.0
- 0.0
- 401.0
- 238.0
- 0.0
- 0.0
- 1.0
binning_x: 2
binning_y: 2
roi: {x_offset: 100, y_offset: 0, height: 480, width: 400, do_rectify: true}
---
height: 1
"""
PINHOLE = PinholeCamera(640, 480, 400.5, 401.0, 322.0, 238.0)
D = (-0.28, 0.07, 2e-04, 1e-05, 0.0)


def read(text: str, folder: Path) -> DistortedCamera:
    path = folder / "ost.yaml"
    path.write_text(text)
    return read_camera_info(path)


def test_the_file_of_camera_calibration_is_read_with_its_small_numbers(tmp_path: Path) -> None:
    assert read(OST, tmp_path) == DistortedCamera(PINHOLE, D)  # YAML 1.1 reads 2e-04 as a text


@pytest.mark.parametrize(
    "text",
    [OST.replace("distortion_model: plumb_bob\n", ""), OST.replace("distortion_model", "camera_model"), f"\ufeff{OST}"],
    ids=["no model", "old name", "byte order mark"],
)
def test_old_files_are_read_too(text: str, tmp_path: Path) -> None:
    assert read(text, tmp_path) == DistortedCamera(PINHOLE, D)


def test_a_printed_message_is_read_with_its_region_and_binning(tmp_path: Path) -> None:
    camera = read(ECHO, tmp_path)
    assert camera.pinhole == PinholeCamera(200, 240, 200.25, 200.5, 111.0, 119.0)
    assert (camera.model, camera.distortion) == ("equidistant", (-0.01, 0.002, 0.0, 0.0))
    assert camera.whole == DistortedCamera(PINHOLE, camera.distortion, "equidistant")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no calibration; expected the YAML file of camera_calibration"),
        ("[1, 2]", "no calibration"),
        ("a: [1", "not YAML"),
        ("%YAML:1.0\n---\ncamera_matrix: !!opencv-matrix\n", "not YAML"),
        (OST.replace("image_width: 640", "image_width: wide"), "image_width is 'wide', not a whole number"),
        (OST.replace("image_width: 640\n", ""), "image_width is None"),
        (OST.replace("401.     ,", "about,"), "camera_matrix is .*; it must be a list of numbers"),
        (OST.replace("camera_matrix", "camera"), "camera_matrix is missing"),
        (OST.replace("400.5", "0.0"), r"k has focal length \(0, 401\)"),
        (OST.replace("plumb_bob", "thin_prism"), "'thin_prism' is not known"),
        ("cam0:\n  intrinsics: [400, 400, 320, 240]\n", "distortion_coefficients is missing"),
    ],
)
def test_what_is_no_calibration_is_refused_with_the_name_of_the_file(text: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=rf"(?s)ost\.yaml: .*{named}"):
        read(text, tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"none\.yaml: cannot be read"):
        read_camera_info(tmp_path / "none.yaml")
