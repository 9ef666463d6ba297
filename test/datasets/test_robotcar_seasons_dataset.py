"""RobotCar Seasons 1 and 2: poses and pixels by hand, its splits, and what is said when broken."""

from pathlib import Path

import numpy as np
import pycolmap
import pytest
from pycolmap import Rigid3d, Rotation3d
from reprojection import assert_seen_at_spot, spot
from sfm_helpers import posed, write_image, write_model

from vizloc_ros.errors import DatasetError
from vizloc_ros.readers import open_dataset

H = "0.7071067811865476"
# The dataset's own intrinsics of the three cameras.
CENTERS = {"left": (500.107605, 511.461426), "rear": (508.222931, 498.187378), "right": (502.503754, 490.259033)}
MAP, LATER, NIGHT, TRAIN = 1417176458999821, 1417176459124750, 1418235223450115, 1418235392061935
# The first image looks along the world's -x: 90 deg about y.
NVM = f"""NVM_V3

4
./overcast-reference/rear/{MAP}.png 400 {H} 0 {H} 0 5 6 7 0 0
./overcast-reference/left/{MAP}.png 400 1 0 0 0 5 6 8 0 0
./overcast-reference/right/{MAP}.png 400 1 0 0 0 5 6 6 0 0
./overcast-reference/rear/{LATER}.png 400 1 0 0 0 5 9 7 0 0

0
"""
# rear of the training image: 90 deg about x, y to z; at (10, 20, 30).
MATRIX = "1 0 0 10 0 0 -1 20 0 1 0 30 0 0 0 1"
QUERY_NAMES = [f"{c}/{camera}/{s}" for c, s in (("night", NIGHT), ("rain", TRAIN)) for camera in CENTERS]


@pytest.fixture
def seasons(tmp_path: Path) -> Path:
    """A reference drive of two times, and two queries; one has a pose in version 2."""
    blank = np.zeros((1024, 1024), np.uint8)
    for name in [*QUERY_NAMES, *(f"overcast-reference/{c}/{MAP}" for c in CENTERS), f"overcast-reference/rear/{LATER}"]:
        write_image(tmp_path / "images" / f"{name}.jpg", blank)
    (tmp_path / "intrinsics").mkdir()
    (tmp_path / "extrinsics").mkdir()
    for camera, (cx, cy) in CENTERS.items():
        text = f"fx 400.000000\nfy 400.000000\ncx {cx}\ncy {cy}\n"
        (tmp_path / "intrinsics" / f"{camera}_intrinsics.txt").write_text(text)
        text = f"1,0,0,{list(CENTERS).index(camera)}\n0,1,0,0\n0,0,1,0\n0,0,0,1\n"
        (tmp_path / "extrinsics" / f"{camera}_extrinsics.txt").write_text(text)
    (tmp_path / "3D-models/all-merged").mkdir(parents=True)
    (tmp_path / "3D-models/all-merged/all.nvm").write_text(NVM)
    return tmp_path


def make_version_2(seasons: Path) -> None:
    (seasons / "robotcar_v2_train.txt").write_text(f"rain/rear/{TRAIN}.jpg {MATRIX}\n")
    (seasons / "robotcar_v2_test.txt").write_text(f"rear/{NIGHT}.png\nrear/1418755264041247.png\n")  # as published


def names(root: Path, options: str, split: str) -> list[str]:
    return [record.name for record in open_dataset(f"robotcar-seasons:{root}{options}").records(split)]


def test_a_pose_of_the_model_and_a_pixel_by_hand(seasons: Path) -> None:
    # The model's rotation takes (1, 0, 0) to (0, 0, -1): p = c + (-4, 1, 0.5) is at (0.5, 1, 4) in the camera.
    # Pixel: 400 * 0.5 / 4 + 508.222931 and 400 * 1 / 4 + 498.187378, less COLMAP's half pixel.
    path = seasons / "images" / f"overcast-reference/rear/{MAP}.jpg"
    write_image(path, spot((1024, 1024), 50 + 508.222931 - 0.5, 100 + 498.187378 - 0.5))
    first, second = open_dataset(f"robotcar-seasons:{seasons}?camera=rear").records("map")
    assert (first.name, first.timestamp_ns) == (f"overcast-reference/rear/{MAP}.jpg", MAP * 1000)
    np.testing.assert_allclose(posed(first).translation, [5, 6, 7])
    np.testing.assert_allclose(posed(first).inverse() * np.array([1, 7, 7.5]), [0.5, 1, 4], atol=1e-12)
    assert_seen_at_spot(first, (1, 7, 7.5))
    np.testing.assert_allclose(posed(second).translation, [5, 9, 7])
    assert second.camera.size == (1024, 1024)


def test_version_1_has_conditions_without_poses(seasons: Path) -> None:
    dataset = open_dataset(f"robotcar-seasons:{seasons}")
    assert dataset.name == f"robotcar-seasons:{seasons}"
    assert tuple(dataset.splits) == ("map", "query", "night", "rain")
    assert len(dataset.records("map")) == 4
    assert [record.name for record in dataset.records("query")] == [f"{name}.jpg" for name in QUERY_NAMES]
    assert all(record.world_from_cam is None for record in dataset.records("query"))
    assert names(seasons, "?camera=left,right", "night") == [f"night/{c}/{NIGHT}.jpg" for c in ("left", "right")]


def test_version_2_has_rear_images_with_poses(seasons: Path) -> None:
    make_version_2(seasons)
    dataset = open_dataset(f"robotcar-seasons:{seasons}")
    assert tuple(dataset.splits) == ("map", "query", "night", "rain", "train", "test")
    (train,) = dataset.records("train")
    assert train.name == f"rain/rear/{TRAIN}.jpg"
    np.testing.assert_allclose(posed(train).translation, [10, 20, 30])
    np.testing.assert_allclose(posed(train) * np.array([0, 0, 1]), [10, 19, 30])  # world_from_cam: z to -y
    assert names(seasons, "", "test") == [f"night/rear/{NIGHT}.jpg"]  # the images of dusk are not unpacked
    poses = {record.name: record.world_from_cam for record in dataset.records("rain")}
    assert [name for name, pose in poses.items() if pose is not None] == [train.name]


@pytest.mark.parametrize(
    ("rig", "left"),
    [
        # In the model, left is (0, 0, 1) from rear, which the rotation of rear takes to (1, 0, 0); R = (H, 0, -H, 0).
        ("map", [11, 20, 30]),
        # In the extrinsics, left is 1 m along -x of rear, without rotation.
        ("published", [9, 20, 30]),
    ],
)
def test_poses_of_left_and_right_come_through_a_rig(seasons: Path, rig: str, left: list[float]) -> None:
    make_version_2(seasons)
    records = open_dataset(f"robotcar-seasons:{seasons}?rig={rig}").records("train")
    assert [record.name for record in records] == [f"rain/{camera}/{TRAIN}.jpg" for camera in CENTERS]
    np.testing.assert_allclose(posed(records[0]).translation, left, atol=1e-9)


def test_one_location_has_a_model_and_queries_of_its_own(seasons: Path) -> None:
    camera = pycolmap.Camera(camera_id=2, model="SIMPLE_RADIAL", width=1024, height=1024, params=[400, 508.2, 498.2, 0])
    cam_from_world = Rigid3d(Rotation3d(), np.array([-1.0, -2, -3]))
    model = {f"overcast-reference/rear/{LATER}.png": (camera, cam_from_world)}
    for location, binary in ((25, False), (26, True)):
        folder = seasons / "3D-models/individual/colmap_reconstructions" / f"{location:03d}_aligned"
        write_model(folder, model, binary=binary)
        queries = seasons / "3D-models/individual/queries_per_location"
        queries.mkdir(exist_ok=True)
        (queries / f"queries_location_{location:03d}.txt").write_text(
            f"night/rear/{NIGHT}.jpg\nsnow/rear/1422953632700784.jpg\n"
        )
        dataset = open_dataset(f"robotcar-seasons:{seasons}?location={location}")
        (record,) = dataset.records("map")
        np.testing.assert_allclose(posed(record).translation, [1, 2, 3])
        assert tuple(dataset.splits) == ("map", "query", "night")  # snow is not unpacked
    (seasons / "3D-models/all-merged/all.nvm").unlink()
    assert names(seasons, "", "map") == [f"overcast-reference/rear/{LATER}.jpg"]  # of all locations together
    own = "?model=3D-models/individual/colmap_reconstructions/026_aligned"
    assert names(seasons, own, "map") == [f"overcast-reference/rear/{LATER}.jpg"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "3D-models/all-merged/all.nvm",
            "NVM_V3\n1\nphoto.png 1 1 0 0 0 0 0 0 0 0\n",
            r"all.nvm:3: 'photo.png' is no im",
        ),
        (
            "3D-models/all-merged/all.nvm",
            NVM.removesuffix("\n0\n").replace("4\n.", "5\n."),
            r"all.nvm: 4 images, but its header announces 5",
        ),
        (
            "intrinsics/rear_intrinsics.txt",
            "fx 400\nfy 400\ncx 508\n",
            r"rear_intrinsics.txt: expected the lines fx VALUE",
        ),
        (
            "intrinsics/left_intrinsics.txt",
            "fx 0\nfy 400\ncx 8\ncy 9\n",
            r"left_intrinsics.txt: the camera's focal length",
        ),
        (
            "intrinsics/left_intrinsics.txt",
            "fx f\nfy 400\ncx 8\ncy 9\n",
            r"left_intrinsics.txt:1: fx is 'f', not a number",
        ),
        ("robotcar_v2_train.txt", "rain/rear/1.jpg 1 0 0\n", r"train.txt:1: 3 values; expected the 16 of a 4x4 matrix"),
        (
            "robotcar_v2_train.txt",
            f"rain/rear/1.jpg 9{MATRIX}\n",
            r"train.txt:1: columns 1-3 of the 4x4 matrix are not a",
        ),
        (
            "robotcar_v2_train.txt",
            f"rain/rear/1.jpg {MATRIX[:-1]}2\n",
            r"train.txt:1: the last row of the 4x4 matrix must",
        ),
        ("robotcar_v2_train.txt", f"rain/rear/1.jpg {MATRIX}\n" * 2, r"train.txt:2: image .* is already in .*txt:1"),
        (
            "robotcar_v2_train.txt",
            f"rain/front/1.jpg {MATRIX}\n",
            r"train.txt:1: 'rain/front/1.jpg' is no image of RobotC",
        ),
        ("robotcar_v2_train.txt", "", r"train.txt: there is no image in it; expected lines of a name and the 16"),
        ("robotcar_v2_test.txt", "", r"test.txt: there is no image in it; expected one name a line"),
        ("robotcar_v2_test.txt", "front/1.png\n", r"test.txt:1: 'front/1.png' is no .*; expected CAMERA/TIME.png"),
        ("images/night/rear/photo.jpg", "", r"photo.jpg: 'night/rear/photo.jpg' is no image of RobotCar Seasons"),
    ],
)
def test_broken_files_are_named(seasons: Path, file: str, text: str, message: str) -> None:
    (seasons / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"robotcar-seasons:{seasons}")


@pytest.mark.parametrize(
    ("missing", "options", "message"),
    [
        (
            "3D-models/all-merged/all.nvm",
            "",
            r"all.nvm: there is no 3D model; download 3D-models/all-merged/all.nvm, or",
        ),
        ("intrinsics/rear_intrinsics.txt", "", r"rear_intrinsics.txt: cannot be read: No such file"),
        ("extrinsics/rear_extrinsics.txt", "?rig=published", r"rear_extrinsics.txt: cannot be read: No such file"),
        (None, "?location=25", r"025_aligned: there is no 3D model"),
        (None, "?location=50", r"location=50; locations have the numbers 1 to 49"),
        (None, "?model=sfm", r"sfm: there is no 3D model"),
        (None, "?camera=front", r"camera=front; there is left, rear, right"),
        (None, "?rig=mine", r"rig=mine; there is map, published"),
        (None, "?slice=3", r"there is no option slice; there is location, camera, model, rig"),
    ],
)
def test_incomplete_and_wrong_trees_are_named(seasons: Path, missing: str | None, options: str, message: str) -> None:
    if missing is not None:
        (seasons / missing).unlink()
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"robotcar-seasons:{seasons}{options}")


def test_a_missing_image_or_folder_is_named(seasons: Path, tmp_path: Path) -> None:
    (seasons / "images" / f"overcast-reference/rear/{MAP}.jpg").unlink()
    with pytest.raises(DatasetError, match=rf"there is no image .*rear/{MAP}.jpg: unpack its condition"):
        open_dataset(f"robotcar-seasons:{seasons}").records("map")
    with pytest.raises(DatasetError, match=r"nowhere: no such folder; it should be RobotCar Seasons with images/over"):
        open_dataset(f"robotcar-seasons:{tmp_path / 'nowhere'}")
    only_rear = NVM.replace("4\n.", "1\n.")
    (seasons / "3D-models/all-merged/all.nvm").write_text(only_rear)
    with pytest.raises(DatasetError, match=r"rig=map needs times with images of the rear and another camera"):
        open_dataset(f"robotcar-seasons:{seasons}?rig=map")
