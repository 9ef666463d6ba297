"""Aachen Day-Night: poses of both kinds of model and a distorted pixel by hand, and what is said when broken."""

from pathlib import Path

import numpy as np
import pycolmap
import pytest
from pycolmap import Rigid3d, Rotation3d
from reprojection import assert_seen_at_spot, spot
from sfm_helpers import pattern, posed, write_image, write_model

from vizloc_ros.errors import DatasetError
from vizloc_ros.readers import open_dataset

SIZE = (160, 120)  # a tenth of the camera's
H = 0.7071067811865476
DAY = "queries/day_time_queries_with_intrinsics.txt"
NIGHT = "queries/night_time_queries_with_intrinsics.txt"
MODEL = "3D-models/aachen_v_1_1"
CAMERA = "SIMPLE_RADIAL 160 120 147 80 60 -0.1"
NVM = f"""NVM_V3

2
./db/1000.jpg 147 {H} 0 {H} 0 1 2 3 0.3 0
./sequences/nexus4_sequences/sequence_1/a.jpg 147 1 0 0 0 1 2 3 0 0

0
"""
CAMERAS = f"db/1000.jpg {CAMERA}\nsequences/nexus4_sequences/sequence_1/a.jpg {CAMERA}\n"
# cam_from_world turns 90 degrees about y: (x, y, z) of the world becomes (z, y, -x). The camera is at (1, 2, 3).
SEEN = (1 - 2.0, 2 - 0.4, 3 + 0.8)  # in the camera (0.8, -0.4, 2): at (0.4, -0.2), r2 = 0.2, 1 - 0.1 * 0.2 = 0.98
SPOT = (147 * 0.4 * 0.98 + 80 - 0.5, 147 * -0.2 * 0.98 + 60 - 0.5)  # COLMAP's pixels are half a pixel larger


@pytest.fixture
def aachen(tmp_path: Path) -> Path:
    for name in ("query/day/milestone/b.jpg", "query/day/nexus4/c.jpg", "query/night/nexus5x/d.jpg"):
        write_image(tmp_path / "images_upright" / name, pattern(SIZE))
    write_image(tmp_path / "images_upright/sequences/nexus4_sequences/sequence_1/a.jpg", pattern(SIZE))
    write_image(tmp_path / "images_upright/db/1000.jpg", spot(SIZE, *SPOT))
    (tmp_path / "queries").mkdir()
    (tmp_path / DAY).write_text(f"query/day/nexus4/c.jpg {CAMERA}\nquery/day/milestone/b.jpg {CAMERA}\n")
    (tmp_path / NIGHT).write_text("query/night/nexus5x/d.jpg SIMPLE_RADIAL 160 120 130 80 60 0\n")
    rotation = Rotation3d(np.array([0, H, 0, H]))
    camera = pycolmap.Camera(camera_id=1, model="SIMPLE_RADIAL", width=160, height=120, params=[147, 80, 60, -0.1])
    images = {
        "db/1000.jpg": (camera, Rigid3d(rotation, -(rotation.matrix() @ np.array([1.0, 2.0, 3.0])))),
        "sequences/nexus4_sequences/sequence_1/a.jpg": (camera, Rigid3d()),
    }
    write_model(tmp_path / MODEL, images)
    return tmp_path


def use_visualsfm(aachen: Path, nvm: str, cameras: str) -> None:
    for file in (aachen / MODEL).iterdir():
        file.unlink()
    (aachen / nvm).write_text(NVM)
    (aachen / nvm).with_name(cameras).write_text(CAMERAS)


def test_the_map_is_colmaps_model(aachen: Path) -> None:
    dataset = open_dataset(f"aachen:{aachen}")
    assert (dataset.name, tuple(dataset.splits)) == (f"aachen:{aachen}", ("map", "day", "night", "query"))
    first, second = dataset.records("map")
    assert (first.name, second.name) == ("db/1000.jpg", "sequences/nexus4_sequences/sequence_1/a.jpg")
    np.testing.assert_allclose(posed(first).translation, [1, 2, 3], atol=1e-12)
    assert_seen_at_spot(first, SEEN)


@pytest.mark.parametrize(
    ("nvm", "cameras"),
    [
        (f"{MODEL}/aachen_v_1_1.nvm", "database_intrinsics_v1_1.txt"),
        ("3D-models/aachen_cvpr2018_db.nvm", "database_intrinsics.txt"),
    ],
)
def test_visualsfm_models_take_the_cameras_of_their_list(aachen: Path, nvm: str, cameras: str) -> None:
    use_visualsfm(aachen, nvm, cameras)
    first, second = open_dataset(f"aachen:{aachen}").records("map")
    assert second.name == "sequences/nexus4_sequences/sequence_1/a.jpg"
    np.testing.assert_allclose(posed(first).translation, [1, 2, 3], atol=1e-12)
    assert_seen_at_spot(first, SEEN)


def test_queries_by_day_and_night_are_unposed(aachen: Path) -> None:
    dataset = open_dataset(f"aachen:{aachen}")
    assert [record.name for record in dataset.records("day")] == ["query/day/milestone/b.jpg", "query/day/nexus4/c.jpg"]
    (night,) = dataset.records("night")
    assert (night.camera.fx, night.camera.cx, night.camera.cy) == (130, 79.5, 59.5)
    queries = dataset.records("query")
    assert [record.world_from_cam for record in queries] == [None, None, None]
    assert [record.timestamp_ns for record in queries] == [10**9, 2 * 10**9, 3 * 10**9]  # between db and sequences


def test_images_may_be_below_images(aachen: Path) -> None:
    (aachen / "images").mkdir()
    (aachen / "images_upright").rename(aachen / "images/images_upright")
    (night,) = open_dataset(f"aachen:{aachen}?model=3D-models/aachen_v_1_1").records("night")
    assert night.read_image().shape == (120, 160)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (DAY, "# nothing\n", r"day_time_queries_with_intrinsics.txt: there is no camera in it; expected lines 'image"),
        (NIGHT, "query/night/d.jpg SIMPLE_RADIAL 160 120 130\n", r"night_.*.txt:1: the camera has 1 parameters; SIMP"),
        (NIGHT, "query/night/d.jpg\n", r"night_.*.txt:1: 1 values; expected 'image model width height parameters"),
        (f"{MODEL}/cameras.bin", "", r"cameras.bin: the file is empty"),
    ],
)
def test_broken_files_are_named(aachen: Path, file: str, text: str, message: str) -> None:
    (aachen / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"aachen:{aachen}")


def test_broken_visualsfm_models_are_named(aachen: Path) -> None:
    use_visualsfm(aachen, f"{MODEL}/aachen_v_1_1.nvm", "database_intrinsics_v1_1.txt")
    (aachen / MODEL / "database_intrinsics_v1_1.txt").write_text(CAMERAS.splitlines()[1])
    with pytest.raises(DatasetError, match=r"intrinsics_v1_1.txt: there is no camera of db/1000.jpg, .*v_1_1.nvm:4"):
        open_dataset(f"aachen:{aachen}")


def test_what_is_missing_is_named(aachen: Path) -> None:
    with pytest.raises(DatasetError, match=r"aachen:.*: there is no option camera; there is model"):
        open_dataset(f"aachen:{aachen}?camera=nexus4")
    with pytest.raises(DatasetError, match=r"nowhere: there is no 3D model \(cameras.bin, images.bin, points3D.bin\)"):
        open_dataset(f"aachen:{aachen}?model=nowhere")
    (aachen / "images_upright/db/1000.jpg").unlink()
    with pytest.raises(DatasetError, match=r"aachen_v_1_1: there is no image .*1000.jpg: unpack images/database_and"):
        open_dataset(f"aachen:{aachen}").records("map")
    (aachen / NIGHT).unlink()
    with pytest.raises(DatasetError, match=r"night_time_queries_with_intrinsics.txt: cannot be read"):
        open_dataset(f"aachen:{aachen}")
    with pytest.raises(DatasetError, match=r"images_upright: no such folder; unpack images/database_and_query_images"):
        open_dataset(f"aachen:{aachen / '3D-models'}")
