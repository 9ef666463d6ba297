"""7-Scenes: a pose and a pixel by hand, its lists of sequences, and what is said when broken."""

from pathlib import Path

import numpy as np
import pytest
from reprojection import assert_seen_at_spot, spot
from sfm_helpers import pattern, posed, write_image

from vizloc_ros.errors import DatasetError
from vizloc_ros.readers import open_dataset

# Tabs, blanks and three digits of exponents, as in the published files. Camera z is the world's -x, camera x its y.
POSE = """ 0.0000000e+000\t 0.0000000e+000\t-1.0000000e+000\t 5.0000000e-001\t
 1.0000000e+000\t 0.0000000e+000\t 0.0000000e+000\t 2.5000000e-001\t
 0.0000000e+000\t-1.0000000e+000\t 0.0000000e+000\t-1.5000000e+000\t
 0.0000000e+000\t 0.0000000e+000\t 0.0000000e+000\t 1.0000000e+000\t
"""


@pytest.fixture
def chess(tmp_path: Path) -> Path:
    scene = tmp_path / "chess"
    for sequence, frame in (("seq-01", 0), ("seq-01", 3), ("seq-02", 0), ("seq-03", 0)):
        write_image(scene / sequence / f"frame-{frame:06d}.color.png", pattern((640, 480)))
        (scene / sequence / f"frame-{frame:06d}.pose.txt").write_text(POSE)
        (scene / sequence / f"frame-{frame:06d}.depth.png").touch()
    (scene / "TrainSplit.txt").write_text("sequence2\r\nsequence1\r\n")
    (scene / "TestSplit.txt").write_text("sequence3\r\n")
    return scene


def test_a_pose_and_a_pixel_by_hand(chess: Path) -> None:
    # The point (-1.5, 0.65, -1.3) less the camera's (0.5, 0.25, -1.5) is (-2, 0.4, 0.2): z = 2, x = 0.4, y = -0.2.
    # 525 * 0.2 + 319.5 = 424.5, 525 * -0.1 + 239.5 = 187: the middle of the image is COLMAP's (320, 240).
    write_image(chess / "seq-03/frame-000000.color.png", spot((640, 480), 424.5, 187.0))
    dataset = open_dataset(f"7scenes:{chess}")
    assert (dataset.name, tuple(dataset.splits)) == (f"7scenes:{chess}", ("map", "query"))
    (query,) = dataset.records("query")
    np.testing.assert_allclose(posed(query).translation, [0.5, 0.25, -1.5])
    assert_seen_at_spot(query, (-1.5, 0.65, -1.3), tolerance=0.01)


def test_lists_name_the_sequences(chess: Path) -> None:
    records = open_dataset(f"7scenes:{chess}").records("map")
    assert [record.name for record in records] == [
        "seq-01/frame-000000.color.png",
        "seq-01/frame-000003.color.png",
        "seq-02/frame-000000.color.png",
    ]
    assert [record.timestamp_ns for record in records] == [1000 * 10**9, 1000 * 10**9 + 10**8, 2000 * 10**9]
    assert open_dataset(f"7scenes:{chess}?focal=585").records("map")[0].camera.fy == 585


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("TrainSplit.txt", "seq-01\n", r"TrainSplit.txt:1: 'seq-01'; expected the name of a sequence, as sequence3"),
        ("TestSplit.txt", "\n", r"TestSplit.txt: there is no sequence in it"),
        ("TestSplit.txt", "sequence14\n", r"TestSplit.txt:1: there is no .*seq-14/frame-000000.*: unpack seq-14.zip"),
        ("seq-03/frame-000000.pose.txt", "1 0 0 0", r"frame-000000.pose.txt: 4 values; expected the 16 of a 4x4"),
        (
            "seq-03/frame-000000.pose.txt",
            POSE.replace(" 1.0", " 1.2", 1),
            r"frame-000000.pose.txt: columns 1-3 of the 4x4 matrix are not a rotation",
        ),
    ],
)
def test_broken_files_are_named(chess: Path, file: str, text: str, message: str) -> None:
    (chess / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"7scenes:{chess}")


def test_what_is_missing_is_named(chess: Path) -> None:
    with pytest.raises(DatasetError, match=r"7scenes:.*: there is no option camera; there is focal"):
        open_dataset(f"7scenes:{chess}?camera=depth")
    with pytest.raises(DatasetError, match=r"7scenes:.*: the camera's focal length is \(-1, -1\)"):
        open_dataset(f"7scenes:{chess}?focal=-1")
    (chess / "seq-03/frame-000000.pose.txt").unlink()
    with pytest.raises(DatasetError, match=r"seq-03/frame-000000.pose.txt: cannot be read: No such file"):
        open_dataset(f"7scenes:{chess}")
    with pytest.raises(DatasetError, match=r"TrainSplit.txt: cannot be read"):
        open_dataset(f"7scenes:{chess.parent}")
