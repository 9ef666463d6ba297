"""TUM RGB-D: a pose and a distorted pixel by hand, interpolated ground truth, and what is said when broken."""

from pathlib import Path

import numpy as np
import pytest
from reprojection import assert_seen_at_spot, spot
from sfm_helpers import pattern, posed, write_image

from vizloc_ros.errors import DatasetError
from vizloc_ros.readers import open_dataset

RGB = """# color images
# file: 'rgbd_dataset_freiburg1_desk.bag'
# timestamp filename
1305031452.791720 rgb/1305031452.791720.png
1305031452.823674 rgb/1305031452.823674.png
1305031452.859642 rgb/1305031452.859642.png
"""
# The first image lies between two poses 60 degrees apart; the second has a pose of its own, 90 degrees about x.
TRUTH = """# ground truth trajectory
# file: 'rgbd_dataset_freiburg1_desk.bag'
# timestamp tx ty tz qx qy qz qw
1305031452.7867 1 2 3 0 0 0 1
1305031452.7967 1 3 3 0 0 0.5 0.8660
1305031452.8236740 1 2 3 0.7071 0 0 0.7071
1305031453.9236 1 2 3 0 0 0 1
"""


@pytest.fixture
def tum(tmp_path: Path) -> Path:
    folder = tmp_path / "rgbd_dataset_freiburg1_desk"
    for name in ("1305031452.791720", "1305031452.823674", "1305031452.859642"):
        write_image(folder / f"rgb/{name}.png", pattern((640, 480)))
    (folder / "rgb.txt").write_text(RGB)
    (folder / "groundtruth.txt").write_text(TRUTH)
    return folder


def test_poses_are_interpolated_at_the_images(tum: Path) -> None:
    dataset = open_dataset(f"tum:{tum}")
    assert (dataset.name, tuple(dataset.splits)) == (f"tum:{tum}", ("all", "posed"))
    first, exact, lost = dataset.records("all")
    assert (first.name, first.timestamp_ns) == ("rgb/1305031452.791720.png", 1305031452_791720000)
    # 5.02 ms of 10 ms: y = 2.502, and 0.502 * 60 = 30.12 degrees about z.
    np.testing.assert_allclose(posed(first).translation, [1, 2.502, 3], atol=1e-9)
    cosine, sine = np.cos(np.radians(30.12)), np.sin(np.radians(30.12))
    np.testing.assert_allclose(posed(first).rotation.matrix()[0], [cosine, -sine, 0], atol=1e-4)
    np.testing.assert_allclose(posed(exact).rotation.matrix()[:, 2], [0, -1, 0], atol=1e-9)
    assert lost.world_from_cam is None  # the neighbors of its time are 1.1 s apart


def test_a_distorted_pixel_by_hand(tum: Path) -> None:
    # 90 deg about x: (x, y, z) of the camera is (x, -z, y) of the world. The point (1.4, 0, 2.8) less (1, 2, 3) is
    # (0.4, -2, -0.2), in the camera (0.4, -0.2, 2): at (0.2, -0.1), r2 = 0.05.
    # radial = 1 + 0.2624 * 0.05 - 0.9531 * 0.0025 + 1.1633 * 0.000125 = 1.0108826625
    # x' = 0.2 * radial + 2 * -0.0054 * (0.2 * -0.1) + 0.0026 * (0.05 + 0.08) = 0.2027305
    # y' = -0.1 * radial - 0.0054 * (0.05 + 0.02) + 2 * 0.0026 * (0.2 * -0.1) = -0.1015703
    write_image(
        tum / "rgb/1305031452.823674.png", spot((640, 480), 517.3 * 0.2027305 + 318.6, 516.5 * -0.1015703 + 255.3)
    )
    record = open_dataset(f"tum:{tum}").records("all")[1]
    assert_seen_at_spot(record, (1.4, 0.0, 2.8))


def test_splits_are_ranges_of_images(tum: Path) -> None:
    dataset = open_dataset(f"tum:{tum}?map=0-1&query=2-2")
    assert {split: len(dataset.records(split)) for split in dataset.splits} == {
        "all": 3,
        "posed": 2,
        "map": 2,
        "query": 1,
    }
    assert [record.split for record in dataset.records("query")] == ["query"]
    assert len(open_dataset(f"tum:{tum}?map=0-2").records("map")) == 2  # the third has no pose


def test_the_camera_is_that_of_the_folder_or_the_option(tum: Path) -> None:
    raw = open_dataset(f"tum:{tum}?camera=ros").records("all")[0].camera
    assert (raw.fx, raw.fy, raw.cx, raw.cy) == (525.0, 525.0, 319.5, 239.5)
    renamed = tum.rename(tum.parent / "rgbd_dataset_freiburg3_walking_xyz")
    third = open_dataset(f"tum:{renamed}").records("all")[0].camera
    assert (third.fx, third.fy, third.cx, third.cy) == (535.4, 539.2, 320.1, 247.6)
    second = open_dataset(f"tum:{renamed}?camera=freiburg2").records("all")[0]
    assert 480 < second.camera.fx < 560
    assert second.read_image().shape == (480, 640)


def test_sequences_without_ground_truth_are_unposed(tum: Path) -> None:
    (tum / "groundtruth.txt").unlink()
    assert all(record.world_from_cam is None for record in open_dataset(f"tum:{tum}").records("all"))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("rgb.txt", "# nothing\n", r"rgb.txt: there is no image in it; expected lines 'timestamp filename'"),
        ("rgb.txt", "1.5\n", r"rgb.txt:1: 1 values; expected 'timestamp filename'"),
        ("rgb.txt", "\n1305031452791720000 a.png\n", r"rgb.txt:2: the timestamp is .*; it must be in seconds"),
        ("groundtruth.txt", "1.5 1 2 3 0 0 0\n", r"groundtruth.txt:1: 7 values; expected 'timestamp tx ty tz qx"),
        ("groundtruth.txt", "1.5 1 2 3 0 0 1 1\n", r"groundtruth.txt:1: the quaternion qx qy qz qw has the norm"),
        ("groundtruth.txt", "1.5 1 two 3 0 0 0 1\n", r"groundtruth.txt:1: ty is 'two', not a number"),
    ],
)
def test_broken_files_are_named(tum: Path, file: str, text: str, message: str) -> None:
    (tum / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"tum:{tum}")


def test_what_is_missing_is_named(tum: Path) -> None:
    with pytest.raises(DatasetError, match=r"tum:.*: camera=kinect; the benchmark has the cameras freiburg1, freib"):
        open_dataset(f"tum:{tum}?camera=kinect")
    with pytest.raises(DatasetError, match=r"map=0-3; the sequence has the frames 0-2"):
        open_dataset(f"tum:{tum}?map=0-3")
    (tum / "rgb/1305031452.823674.png").unlink()
    with pytest.raises(DatasetError, match=r"rgb.txt:5: there is no image .*823674.png: unpack the dataset again"):
        open_dataset(f"tum:{tum}").records("all")
    other = tum.rename(tum.parent / "desk")
    with pytest.raises(DatasetError, match=rf"no camera; write tum:{other}\?camera=NAME, of freiburg1, freiburg2"):
        open_dataset(f"tum:{other}")
    (other / "rgb.txt").unlink()
    with pytest.raises(DatasetError, match=r"desk: there is no rgb.txt in it; it should be a sequence of TUM RGB-D"):
        open_dataset(f"tum:{other}?camera=kinect")
    with pytest.raises(DatasetError, match=r"nowhere: no such folder; it should be a sequence of TUM RGB-D"):
        open_dataset(f"tum:{tum.parent / 'nowhere'}")
