"""12-Scenes: a pose and a pixel by hand, frames of the sequences, and what is said when broken."""

from pathlib import Path

import numpy as np
import pytest
from reprojection import assert_seen_at_spot, spot
from sfm_helpers import pattern, posed, write_image

from vizloc_ros.errors import DatasetError
from vizloc_ros.readers import open_dataset

SIZE = (162, 121)  # an eighth of the dataset's
INFO = """m_versionNumber = 4
m_sensorName = StructureSensor
m_colorWidth = 162
m_colorHeight = 121
m_depthWidth = 640
m_depthHeight = 480
m_depthShift = 1000
m_calibrationColorIntrinsic = 143.75 0 80.5 0 0 144.25 60.5 0 0 0 1 0 0 0 0 1
m_calibrationColorExtrinsic = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1
"""
SPLIT = "sequence0 [frames=2]  [start=0 ; end=1] \nsequence1 [frames=2]  [start=2 ; end=3] \n"
# Camera z is the world's y, camera x its x, camera y its -z.
POSE = "1 0 0 0.5\n0 0 1 0.25\n0 -1 0 1.5\n0 0 0 1\n"
NONE = "-1.#INF -1.#INF -1.#INF -1.#INF\n" * 4


@pytest.fixture
def kitchen(tmp_path: Path) -> Path:
    scene = tmp_path / "apt1" / "kitchen"
    for frame, pose in enumerate((POSE, NONE, NONE, POSE)):
        write_image(scene / f"data/frame-{frame:06d}.color.jpg", pattern(SIZE))
        (scene / f"data/frame-{frame:06d}.pose.txt").write_text(pose)
    (scene / "info.txt").write_text(INFO)
    (scene / "split.txt").write_text(SPLIT)
    return scene


def test_a_pose_and_a_pixel_by_hand(kitchen: Path) -> None:
    # The camera's (0.4, -0.2, 2) is (0.9, 2.25, 1.7) in the world, at 143.75 * 0.2 + 80.5 and 144.25 * -0.1 + 60.5.
    write_image(kitchen / "data/frame-000003.color.jpg", spot(SIZE, 109.25, 46.075))
    dataset = open_dataset(f"12scenes:{kitchen}")
    assert (dataset.name, tuple(dataset.splits)) == (f"12scenes:{kitchen}", ("map", "query"))
    (record,) = dataset.records("map")  # the other image has no pose
    assert (record.name, record.timestamp_ns) == ("data/frame-000003.color.jpg", 10**8)
    np.testing.assert_allclose(posed(record).translation, [0.5, 0.25, 1.5])
    assert_seen_at_spot(record, (0.9, 2.25, 1.7))


def test_the_first_sequence_has_the_queries(kitchen: Path) -> None:
    queries = open_dataset(f"12scenes:{kitchen}").records("query")
    assert [record.name for record in queries] == ["data/frame-000000.color.jpg", "data/frame-000001.color.jpg"]
    assert [record.world_from_cam is None for record in queries] == [False, True]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("split.txt", "sequence0\n", r"split.txt:1: 'sequence0'; expected a sequence as 'sequence0 \[frames=357\]"),
        ("split.txt", SPLIT.splitlines()[1], r"split.txt: there is no sequence0, the queries"),
        ("split.txt", SPLIT.replace("end=3", "end=4"), r"frame-000004.pose.txt: cannot be read: No such file"),
        ("info.txt", INFO.replace("m_colorWidth", "m_width"), r"info.txt: there is no m_colorWidth; expected lines"),
        ("info.txt", INFO.replace("143.75 ", ""), r"info.txt: m_calibrationColorIntrinsic: 15 values; expected the 16"),
        ("info.txt", INFO.replace("143.75", "0"), r"info.txt: the camera's focal length is \(0, 144.25\)"),
        ("data/frame-000000.pose.txt", "1 0 0", r"frame-000000.pose.txt: 3 values; expected the 16 of a 4x4 matrix"),
    ],
)
def test_broken_files_are_named(kitchen: Path, file: str, text: str, message: str) -> None:
    (kitchen / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"12scenes:{kitchen}")


def test_what_is_missing_is_named(kitchen: Path) -> None:
    with pytest.raises(DatasetError, match=r"12scenes:.*: there is no option focal; there is none"):
        open_dataset(f"12scenes:{kitchen}?focal=5")
    (kitchen / "data/frame-000000.color.jpg").unlink()
    with pytest.raises(DatasetError, match=r"split.txt:1: there is no image .*frame-000000.color.jpg: unpack"):
        open_dataset(f"12scenes:{kitchen}").records("query")
