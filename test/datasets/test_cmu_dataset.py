"""Extended CMU Seasons: what is read, and what is said when broken."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from pycolmap import Rigid3d, Rotation3d
from sfm_helpers import pattern, posed, rays_of, same_pose, write_image

from vizloc_ros.datasets.lenses import distorted_camera, rectifier
from vizloc_ros.errors import DatasetError
from vizloc_ros.readers import open_dataset

# The dataset's own intrinsics.txt, and the example of its README.
INTRINSICS = """# camera model width height fx fy cx cy k1 k2 p1 p2
c0 OPENCV 1024 768 868.993378 866.063001 525.942323 420.042529 -0.399431 0.188924 0.000153 0.000571
c1 OPENCV 1024 768 873.382641 876.489513 529.324138 397.272397 -0.397066 0.181925 0.000176 -0.000579
"""
POSE = "0.636779 0.569692 0.379586 -0.354792 -85.392177 55.210379 -2.980700"
LATER, EARLIER = "img_00122_c0_1303398475046031us.jpg", "img_00122_c1_1303398474779487us.jpg"
POSED, UNPOSED = "img_00200_c0_1283347879534213us.jpg", "img_00201_c1_1283347879634213us.jpg"


@pytest.fixture
def cmu(tmp_path: Path) -> Path:
    """A slice with two images of the reference drive and two of another, one of them posed."""
    folder = tmp_path / "slice22"
    image = cv2.resize(pattern(), (1024, 768))
    for name in (LATER, EARLIER):
        write_image(folder / "database" / name, image)
    for name in (POSED, UNPOSED):
        write_image(folder / "query" / name, image)
    (tmp_path / "intrinsics.txt").write_text(INTRINSICS)
    (folder / "ground-truth-database-images-slice22.txt").write_text(f"{LATER} {POSE}\n{EARLIER} {POSE}\n")
    (folder / "camera-poses").mkdir()
    (folder / "camera-poses" / "slice-22-10-09-01-c0.txt").write_text(f"{POSED} 1 0 0 0 1 2 3\n")
    (folder / "camera-poses" / "slice-22-10-09-01-c1.txt").touch()
    return folder


def test_cmu_yields_its_records(cmu: Path) -> None:
    dataset = open_dataset(f"cmu:{cmu}")
    assert dataset.name == f"cmu:{cmu}"
    assert tuple(dataset.splits) == ("map", "query", "posed", "2010-09-01")
    first, second = dataset.records("map")
    assert (first.name, first.split) == (f"database/{EARLIER}", "map")
    assert first.timestamp_ns == 1303398474779487000
    assert second.name == f"database/{LATER}"
    np.testing.assert_allclose(posed(second).translation, [-85.392177, 55.210379, -2.980700])
    w, x, y, z = 0.636779, 0.569692, 0.379586, -0.354792
    forward = [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]  # last row of cam_from_world
    np.testing.assert_allclose(posed(second).rotation.matrix()[:, 2], forward, atol=1e-5)
    assert [record.world_from_cam is None for record in dataset.records("query")] == [False, True]
    (query,) = dataset.records("posed")
    assert (query.name, query.split) == (f"query/{POSED}", "posed")
    assert same_pose(posed(query), Rigid3d(Rotation3d(), np.array([1.0, 2, 3])))


def test_cmu_images_are_rectified(cmu: Path) -> None:
    for record in open_dataset(f"cmu:{cmu}").records("map"):
        assert record.read_image().shape == (768, 1024)
    camera = pycolmap.Camera(
        model="OPENCV", width=1024, height=768, params=[float(f) for f in INTRINSICS.split()[17:25]]
    )
    (record,) = open_dataset(f"cmu:{cmu}?camera=c0").records("map")
    assert record.camera == rectifier(distorted_camera(camera)).rectified
    rays = rays_of(record.camera)
    seen = camera.img_from_cam(rays) - 0.5
    assert seen.min() > -1.5
    assert (seen < np.array([1024.5, 768.5])).all()  # the rectified view lies inside the image


def test_cmu_takes_one_camera(cmu: Path) -> None:
    dataset = open_dataset(f"cmu:{cmu}?camera=c1")
    assert tuple(dataset.splits) == ("map", "query", "2010-09-01")  # no query of this camera has a pose
    assert [record.name for record in dataset.records("map")] == [f"database/{EARLIER}"]
    assert [record.name for record in dataset.records("query")] == [f"query/{UNPOSED}"]


def test_cmu_slices_without_poses_of_queries_are_unposed(cmu: Path, caplog: pytest.LogCaptureFixture) -> None:
    for file in (cmu / "camera-poses").iterdir():
        file.write_text("")
    dataset = open_dataset(f"cmu:{cmu}")
    assert tuple(dataset.splits) == ("map", "query", "2010-09-01")
    assert all(record.world_from_cam is None for record in dataset.records("query"))
    assert f"{cmu}: no camera-poses/*.txt" in caplog.text


GROUND_TRUTH = "slice22/ground-truth-database-images-slice22.txt"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (GROUND_TRUTH, f"{LATER} 1 0 0 0 1 2\n", r"slice22.txt:1: 7 values; expected 'name qw qx qy qz cx cy cz'"),
        (GROUND_TRUTH, f"\n{LATER} 1 0 0 0 1 two 3\n", r"slice22.txt:2: cy is 'two', not a number"),
        (GROUND_TRUTH, f"{LATER} 1 0 1 0 1 2 3\n", r"slice22.txt:1: the quaternion qw qx qy qz has the norm 1.414"),
        (GROUND_TRUTH, f"{LATER} {POSE}\n" * 2, r"slice22.txt:2: image .* is already in .*slice22.txt:1$"),
        (GROUND_TRUTH, f"photo.jpg {POSE}\n", r"slice22.txt:1: 'photo.jpg' is no image of Extended CMU Seasons; expec"),
        (GROUND_TRUTH, f"img_00001_c7_123us.jpg {POSE}\n", r"slice22.txt:1: .* camera c7; .*intrinsics.txt has c0, c1"),
        ("slice22/camera-poses/a.txt", f"{POSED} 1 0 0 0\n", r"camera-poses/a.txt:1: 5 values; expected 'name qw"),
        ("intrinsics.txt", "c0 OPENCV 1024 768\n", r"intrinsics.txt:1: 4 values; expected 'camera model width height"),
        ("intrinsics.txt", "c0 LENS 9 9 5 5 4 4\n", r"intrinsics.txt:1: the camera model 'LENS' is none of COLMAP's"),
        ("intrinsics.txt", "c0 OPENCV 9 9 5 5 4 4\n", r"intrinsics.txt:1: the camera has 4 parameters; OPENCV takes"),
        ("intrinsics.txt", "c0 PINHOLE 9 9 5 5 four 4\n", r"intrinsics.txt:1: a value is 'four', not a number"),
        ("intrinsics.txt", "c0 PINHOLE 9 -9 5 5 4 4\n", r"intrinsics.txt:1: the image size 9 x -9 is not in whole"),
        ("intrinsics.txt", "c0 PINHOLE 9 9 0 5 4 4\n", r"intrinsics.txt:1: the camera's focal length is \(0, 5\)"),
        ("intrinsics.txt", "# nothing\n", r"intrinsics.txt: there is no camera in it"),
    ],
)
def test_broken_cmu_files_are_named(cmu: Path, file: str, text: str, message: str) -> None:
    (cmu.parent / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"cmu:{cmu}")


def without_intrinsics(folder: Path) -> None:
    (folder.parent / "intrinsics.txt").unlink()


def without_ground_truth(folder: Path) -> None:
    (folder.parent / GROUND_TRUTH).unlink()


def with_a_rectified_query(folder: Path) -> None:
    write_image(folder / "query" / POSED.replace(".jpg", "_rect.jpg"))


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (without_intrinsics, "", r"intrinsics.txt: no such file; it is where the slices are downloaded from"),
        (without_ground_truth, "", r"slice22: 0 files ground-truth-database-images-sliceN.txt; .*unpack it again"),
        (with_a_rectified_query, "", r"us_rect.jpg' is no image of Extended CMU Seasons; expected img_NUMBER"),
        (lambda folder: None, "?camera=c2", r"camera=c2; there is c0, c1"),
        (lambda folder: None, "?slice=3", r"there is no option slice; there is camera"),
    ],
)
def test_incomplete_cmu_slices_are_named(cmu: Path, damage: Callable[[Path], None], options: str, message: str) -> None:
    damage(cmu)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"cmu:{cmu}{options}")


def test_cmu_names_what_is_missing(cmu: Path) -> None:
    dataset = open_dataset(f"cmu:{cmu}")
    with pytest.raises(DatasetError, match=r"has no split 'train'; there are: map, query, posed, 2010-09-01"):
        dataset.records("train")
    (cmu / "database" / EARLIER).unlink()
    with pytest.raises(DatasetError, match=r"slice22.txt:2: there is no image .*c1_1303398474779487us.jpg"):
        dataset.records("map")
    with pytest.raises(DatasetError, match="nowhere: no such folder; it should be a slice of Extended CMU Seasons"):
        open_dataset("cmu:nowhere")
