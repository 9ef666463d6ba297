"""Cambridge Landmarks: a pose and a distorted pixel by hand, VisualSFM's lens, and what is said when broken."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from reprojection import assert_seen_at_spot, spot
from sfm_helpers import pattern, posed, write_image

from vizloc_ros.datasets.image_files import image_size
from vizloc_ros.datasets.nvm import nvm_camera
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.readers import open_dataset

SIZE = (480, 270)  # a quarter of the dataset's 1920x1080
H = "0.70710678118"
HEADER = "Visual Landmark Dataset V1\nImageFile, Camera Position [X Y Z W P Q R]\n\n"
# 90 degrees about x, cam_from_world: the world's z, up, is the camera's -y. The camera looks along the world's y.
TRAIN = f"""seq1/frame00002.png 10 20 1.5 {H} {H} 0 0
seq1/frame00001.png 1 2 3 1 0 0 0
seq1/frame00003.png 100000 2 3 1 0 0 0
"""
TEST = "seq2/frame00001.png 1 2 3 1 0 0 0\n"
MODEL = f"""NVM_V3

3
seq1/frame00001.jpg 400 1 0 0 0 1 2 3 0 0
seq1/frame00002.jpg 420 {H} {H} 0 0 10 20 1.5 -0.1 0
seq1/frame00003.jpg 420 1 0 0 0 1 2 3 0.05 0

0
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    scene = tmp_path / "ShopFacade"
    for name in ("seq1/frame00001", "seq1/frame00002", "seq1/frame00003", "seq2/frame00001"):
        write_image(scene / f"{name}.png", pattern(SIZE))
    (scene / "dataset_train.txt").write_text(HEADER + TRAIN)
    (scene / "dataset_test.txt").write_text(HEADER + TEST)
    (scene / "reconstruction.nvm").write_text(MODEL)
    return scene


def test_a_pose_and_a_distorted_pixel_by_hand(shop: Path) -> None:
    # At a raw ray of (0.4, 0.2), r2 = 0.2; VisualSFM's undistorted ray is (1 - 0.1 * 0.2) of it: (0.392, 0.196).
    # Two meters away this is (0.784, 0.392, 2) in the camera: in the world (0.784, 2, -0.392) from its position.
    image = spot(SIZE, 420 * 0.4 + 239.5, 420 * 0.2 + 134.5)
    write_image(shop / "seq1/frame00002.png", image)
    dataset = open_dataset(f"cambridge:{shop}")
    assert (dataset.name, tuple(dataset.splits)) == (f"cambridge:{shop}", ("map", "query"))
    first, record = dataset.records("map")  # without the third, which is 100 km away
    assert (first.name, first.timestamp_ns, record.name, record.timestamp_ns) == (
        "seq1/frame00001.png",
        0,
        "seq1/frame00002.png",
        10**9,
    )
    np.testing.assert_allclose(posed(record).translation, [10, 20, 1.5])
    assert_seen_at_spot(record, (10.784, 22, 1.5 - 0.392))


def test_images_out_of_the_model_have_the_typical_camera(shop: Path) -> None:
    first, _ = open_dataset(f"cambridge:{shop}").records("map")
    assert (first.camera.fx, first.camera.cx, first.camera.cy) == (400, 239.5, 134.5)
    (query,) = open_dataset(f"cambridge:{shop}").records("query")
    assert (query.name, query.camera.fx, query.camera.fy) == ("seq2/frame00001.png", 420, 420)


@pytest.mark.parametrize("radial", [-0.15, -0.05, 0.05, 0.2])
def test_opencv_inverts_the_distortion_of_visualsfm(radial: float) -> None:
    lens = nvm_camera(1670.0, radial, (1920, 1080))
    raw = np.stack(np.meshgrid(np.linspace(0, 1919, 20), np.linspace(0, 1079, 20)), axis=-1).reshape(-1, 2)
    distorted = (raw - [959.5, 539.5]) / 1670.0
    undistorted = distorted * (1 + radial * (distorted**2).sum(axis=1, keepdims=True))
    rays = np.column_stack([undistorted, np.ones(len(raw))])
    pixels, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), lens.pinhole.matrix, lens.coefficients)
    np.testing.assert_allclose(pixels[:, 0], raw, atol=0.05)


def test_a_distortion_that_folds_is_refused() -> None:
    with pytest.raises(CameraError, match="the radial distortion -1 of VisualSFM folds the image over itself"):
        nvm_camera(1000.0, -1.0, (1920, 1080))


def test_the_size_of_an_image_needs_no_decoding(tmp_path: Path) -> None:
    for name in ("image.png", "image.jpg"):
        write_image(tmp_path / name, pattern((123, 45)))
        assert image_size(tmp_path / name) == (123, 45)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("dataset_train.txt", TRAIN, r"dataset_train.txt:1: no list of Cambridge Landmarks; expected the header 'Vis"),
        ("dataset_test.txt", HEADER, r"dataset_test.txt: there is no image in it; expected 3 lines, then 'image X Y"),
        ("dataset_test.txt", HEADER + "a.png 1 2 3\n", r"dataset_test.txt:4: 4 values; expected 'image X Y Z W P Q R'"),
        ("dataset_test.txt", HEADER + "a.png 1 2 3 0 0 0 0\n", r"dataset_test.txt:4: the quaternion .* the norm 0"),
        ("dataset_test.txt", HEADER + "a.png 1 2 3 1 0 0 0\n", r"dataset_test.txt:4: image a.png: .*cannot be read"),
        ("reconstruction.nvm", "NVM_V3\n\n0\n", r"reconstruction.nvm:3: '0'; expected the number of images"),
        ("reconstruction.nvm", MODEL.replace("-0.1", "-9"), r"dataset_train.txt:4: image .*02.png: the radial distor"),
    ],
)
def test_broken_files_are_named(shop: Path, file: str, text: str, message: str) -> None:
    (shop / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"cambridge:{shop}")


def test_what_is_missing_is_named(shop: Path) -> None:
    with pytest.raises(DatasetError, match=r"cambridge:.*: there is no option scale; there is none"):
        open_dataset(f"cambridge:{shop}?scale=2")
    for file in ("reconstruction.nvm", "dataset_train.txt"):
        (shop / file).unlink()
        with pytest.raises(DatasetError, match=rf"{file}: cannot be read: No such file"):
            open_dataset(f"cambridge:{shop}")
