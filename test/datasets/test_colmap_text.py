"""Text files of a COLMAP reconstruction that were edited, cut off or written by a script: file and line are named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from sfm_helpers import pose_of, posed, same_pose, write_image, write_model

from vizloc_ros.datasets.open import open_dataset
from vizloc_ros.errors import DatasetError

CAMERA = pycolmap.Camera(camera_id=8, model="PINHOLE", width=96, height=64, params=[80, 82, 48.5, 32])


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Four images and a model in text files, two of them with keypoints."""
    write_model(tmp_path, {f"{i}.png": (CAMERA, pose_of(i)) for i in range(4)}, binary=False)
    for i in range(4):
        write_image(tmp_path / "images" / f"{i}.png")
    lines = (tmp_path / "images.txt").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith(" 1.png"))
    lines[at + 1] = "10.5 20.25 -1 30 40 7"
    (tmp_path / "images.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "points3D.txt").write_text("# 3D points\n7 1 2 3 0 0 0 0.5 2 1\n")
    return tmp_path


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


def line_of(path: Path, end: str) -> int:
    """Number of the line that ends so."""
    return next(i for i, line in enumerate(path.read_text().splitlines(), start=1) if line.endswith(end))


def test_a_complete_model_is_read(scene: Path) -> None:
    records = open_dataset(f"colmap:{scene}").records("all")
    assert [record.name for record in records] == ["0.png", "1.png", "2.png", "3.png"]
    assert all(same_pose(posed(record), pose_of(i).inverse(), 1e-6) for i, record in enumerate(records))


def test_removed_empty_lines_are_found(scene: Path) -> None:
    edit(scene / "images.txt", lambda lines: [line for line in lines if line.strip()])
    line = line_of(scene / "images.txt", " 1.png")
    with pytest.raises(DatasetError, match=rf"images\.txt:{line}: an image, where the keypoints belong.*image 1\)"):
        open_dataset(f"colmap:{scene}")


def test_the_last_empty_line_counts_too(scene: Path) -> None:
    (scene / "images.txt").write_text((scene / "images.txt").read_text().rstrip("\n") + "\n")
    with pytest.raises(DatasetError, match=r"images\.txt:\d+: the line of keypoints below image 4 is missing"):
        open_dataset(f"colmap:{scene}")


@pytest.mark.parametrize("kept", [0.4, 0.7, 0.9])
@pytest.mark.parametrize("file", ["images", "cameras", "points3D"])
def test_a_file_that_was_cut_off_is_named(scene: Path, file: str, kept: float) -> None:
    path = scene / f"{file}.txt"
    if file == "points3D":
        path.write_text("# Number of points: 3, mean track length: 1\n" + path.read_text() * 3)
    path.write_text(path.read_text()[: int(kept * path.stat().st_size)])
    with pytest.raises(DatasetError, match=rf"{file}\.txt(:\d+)?: .*(cut off|export|missing)|is not in cameras\.txt"):
        open_dataset(f"colmap:{scene}")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("images", None, "0 0 0 0", r"images\.txt:\d+: the quaternion QW QX QY QZ of image 0\.png is zero"),
        ("images", None, "nan 0 0 1", r"images\.txt:\d+: QW is 'nan'; it must be a finite number"),
        ("images", " 8 0.png", " 9 0.png", r"images\.txt:\d+: image 0\.png has camera 9, which is not in cameras\.txt"),
        ("images", "0.png", "0 a.png", r"images\.txt:\d+: COLMAP reads no blanks in a name, such as '0 a\.png': give"),
        ("images", " 8 0.png", " x 0.png", r"images\.txt:\d+: CAMERA_ID is 'x', not a whole number"),
        ("images", "30 40 7", "30 40", r"images\.txt:\d+: 5 fields, where keypoints of three fields each belong"),
        ("cameras", "PINHOLE", "PINHOLES", r"cameras\.txt:\d+: 'PINHOLES' is not a camera model of COLMAP"),
        ("cameras", " 82 ", " ", r"cameras\.txt:\d+: 3 parameters; the camera model PINHOLE needs fx, fy, cx, cy"),
        ("cameras", " 96 ", " wide ", r"cameras\.txt:\d+: WIDTH is 'wide', not a whole number"),
        ("points3D", "0.5 2 1", "0.5 2", r"points3D\.txt:2: the track has 1 fields; it needs two an observation"),
        ("points3D", "7 1 2 3", "7 1 2 inf", r"points3D\.txt:2: Z is 'inf'; it must be a finite number"),
    ],
)
def test_a_malformed_line_is_named(scene: Path, file: str, old: str | None, new: str, message: str) -> None:
    path = scene / f"{file}.txt"
    text = path.read_text()
    if old is None:  # the quaternion of image 0
        fields = text.splitlines()[line_of(path, " 0.png") - 1].split()
        old, new = " ".join(fields[:5]), f"{fields[0]} {new}"
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"colmap:{scene}")


def test_a_quaternion_of_another_norm_is_scaled_as_colmap_does(scene: Path) -> None:
    path = scene / "images.txt"
    fields = path.read_text().splitlines()[line_of(path, " 3.png") - 1].split()
    scaled = [fields[0], *(str(3 * float(value)) for value in fields[1:5]), *fields[5:]]
    path.write_text(path.read_text().replace(" ".join(fields), " ".join(scaled), 1))
    assert same_pose(posed(open_dataset(f"colmap:{scene}").records("all")[3]), pose_of(3).inverse(), 1e-6)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_rotation_that_is_none_in_a_binary_model_is_named(tmp_path: Path, value: float) -> None:
    pose = pose_of(0)
    write_model(tmp_path, {"0.png": (CAMERA, pose)})
    write_image(tmp_path / "images" / "0.png")
    broken = 0
    for path in tmp_path.glob("*.bin"):
        data, before = path.read_bytes(), pose.rotation.quat[[3, 0, 1, 2]].tobytes()
        if before in data:
            path.write_bytes(data.replace(before, np.full(4, value).tobytes()))
            broken += 1
    assert broken
    with pytest.raises(DatasetError, match=r"the pose of image 0\.png has no rotation|COLMAP cannot read"):
        open_dataset(f"colmap:{tmp_path}")
