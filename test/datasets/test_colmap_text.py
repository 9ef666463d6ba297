"""Faults of COLMAP's text files, which COLMAP itself takes for something else; and the same in other text files."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from sfm_helpers import pose_of, posed, same_pose, write_image, write_model

from vizloc_ros.errors import DatasetError
from vizloc_ros.readers import open_dataset

PINHOLE = pycolmap.Camera(camera_id=1, model="PINHOLE", width=96, height=64, params=[80, 82, 48, 32])
CAMERAS = "# Number of cameras: 1\n7 PINHOLE 96 64 80 82 48.5 32\n"
POINTS = "# Number of points: 1\n1 0 0 5 0 0 0 0.4 1 0 2 1\n"
POSE = "0.5 0.5 -0.5 0.5 1 2 {} 7"
COUNT = "# Number of images: 4, mean observations per image: 1.5\n"


def images(points: str = "1.5 2.5 -1 3 4 1\n") -> str:
    """Four images as COLMAP writes them; the last has no points."""
    lines = [f"{i + 1} {POSE.format(i)} {i}.png\n{points if i < 3 else chr(10)}" for i in range(4)]
    return COUNT + "".join(lines)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    for name, text in {"cameras": CAMERAS, "images": images(), "points3D": POINTS}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    for i in range(4):
        write_image(tmp_path / "images" / f"{i}.png")
    return tmp_path


def test_a_text_model_without_faults_is_read(scene: Path) -> None:
    records = open_dataset(f"colmap:{scene}").records("all")
    assert [record.name for record in records] == ["0.png", "1.png", "2.png", "3.png"]
    expected = pycolmap.Rigid3d(pycolmap.Rotation3d(np.array([0.5, -0.5, 0.5, 0.5])), np.array([1.0, 2.0, 3.0]))
    assert same_pose(posed(records[3]), expected.inverse())


def test_empty_lines_and_comments_between_images_are_fine(scene: Path) -> None:
    path = scene / "images.txt"
    path.write_text("# own\n\n" + re.sub(r"(?m)^(\d \d)", r"\n# next\n\1", images()).replace(COUNT, ""))
    assert len(open_dataset(f"colmap:{scene}").records("all")) == 4


def without_empty_lines(text: str) -> str:
    return "".join(line for line in images("\n").splitlines(keepends=True) if line.strip())


FAULTS: dict[str, tuple[str, Callable[[str], str], str]] = {
    "no empty lines": ("images", without_empty_lines, r"images\.txt:3: not the points of 0\.png.*add the empty ones"),
    "no last empty line": (
        "images",
        lambda t: t.rstrip() + "\n",
        r"images\.txt:8: the file ends without the .* 3\.png",
    ),
    "cut off in a pose": ("images", lambda t: t[: t.index("3 0.5") + 12], r"images\.txt:6: 4 values; expected 'IMAGE"),
    "cut off in points": ("images", lambda t: t[: t.rindex("3 4 1") + 3], r"images\.txt:7: not the points of 2\.png"),
    "cut off between images": ("images", lambda t: t[: t.index("3 0.5")], r"images\.txt:1: 4 images, but .* has 2"),
    "zero quaternion": ("images", lambda t: t.replace("3 0.5 0.5 -0.5 0.5", "3 0 0 0 0"), r"images\.txt:6: .* norm 0;"),
    "quaternion of NaN": ("images", lambda t: t.replace("3 0.5 0.5", "3 nan 0.5"), r"images\.txt:6: QW is 'nan'"),
    "translation first": (
        "images",
        lambda t: t.replace("0.5 0.5 -0.5 0.5 1 2 2", "1 2 2 0.5 0.5 -0.5 0.5"),
        r"images\.txt:6: the quaternion QW QX QY QZ has the norm 3\.04",
    ),
    "words in a pose": ("images", lambda t: t.replace("1 2 2 7", "1 x 2 7"), r"images\.txt:6: the translation is 'x'"),
    "an image twice": (
        "images",
        lambda t: t.replace("2.png", "1.png"),
        r"images\.txt:6: image 1\.png is already in line 4",
    ),
    "an id twice": ("images", lambda t: t.replace("3 0.5", "2 0.5"), r"images\.txt:6: IMAGE_ID 2 is already in line 4"),
    "a blank in a name": (
        "images",
        lambda t: t.replace("2.png", "a 2.png"),
        r"images\.txt:6: the name 'a 2.png' has a",
    ),
    "camera cut off": ("cameras", lambda t: t[:-10], r"cameras\.txt:2: 2 parameters; PINHOLE takes fx, fy, cx, cy"),
    "camera too short": ("cameras", lambda t: t[:35], r"cameras\.txt:2: \d values; expected 'CAMERA_ID MODEL"),
    "unknown camera model": (
        "cameras",
        lambda t: t.replace("PINHOLE", "PINHOOL"),
        r"cameras\.txt:2: the camera model 'PI",
    ),
    "size of a camera": ("cameras", lambda t: t.replace(" 64", " -64"), r"cameras\.txt:2: the image size 96 x -64"),
    "cameras lost": ("cameras", lambda t: t.replace(": 1", ": 2"), r"cameras\.txt:1: 2 cameras, but the file has 1"),
    "point cut off": ("points3D", lambda t: t[:-3], r"points3D\.txt:2: 11 values; expected 'POINT3D_ID X Y Z"),
    "words in a point": (
        "points3D",
        lambda t: t.replace("0.4", "?"),
        r"points3D\.txt:2: a value is '\?', not a number",
    ),
    "points lost": ("points3D", lambda t: t[: t.index("1 0 0")], r"points3D\.txt:1: 1 points, but the file has 0"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_line(scene: Path, fault: str) -> None:
    name, change, expected = FAULTS[fault]
    path = scene / f"{name}.txt"
    path.write_text(change(path.read_text()))
    with pytest.raises(DatasetError, match=expected):
        open_dataset(f"colmap:{scene}")


def test_poses_of_frames_are_checked_too(tmp_path: Path) -> None:
    """With rigs, COLMAP takes the poses from frames.txt."""
    write_model(tmp_path, {f"{i}.png": (PINHOLE, pose_of(i)) for i in (1, 2)}, binary=False)
    (tmp_path / "images").mkdir()
    open_dataset(f"colmap:{tmp_path}")
    path = tmp_path / "frames.txt"
    fields = path.read_text().splitlines()[-1].split()
    path.write_text(path.read_text().replace(" ".join(fields[2:6]), "0 0 0 0"))
    with pytest.raises(DatasetError, match=r"frames\.txt:5: the quaternion QW QX QY QZ has the norm 0"):
        open_dataset(f"colmap:{tmp_path}")


def test_a_zero_quaternion_in_a_binary_model_is_named(tmp_path: Path) -> None:
    write_model(tmp_path, {"a.png": (PINHOLE, pose_of(1))})
    (tmp_path / "images").mkdir()
    quaternion = np.roll(pose_of(1).rotation.quat, 1).astype("<f8").tobytes()
    for path in tmp_path.glob("*.bin"):
        path.write_bytes(path.read_bytes().replace(quaternion, bytes(32)))
    with pytest.raises(DatasetError, match=r"image a\.png has no valid pose \(norm of its quaternion 0\)"):
        open_dataset(f"colmap:{tmp_path}")


class TestOtherFiles:
    ROW = "{}.png,map,{},0,0,{},0,0,0,1\n"

    @pytest.fixture
    def route(self, tmp_path: Path) -> Path:
        header = "image,split,timestamp_s,tx,ty,tz,qx,qy,qz,qw\n"
        (tmp_path / "poses.csv").write_text(header + "".join(self.ROW.format(i, i, i) for i in range(3)))
        (tmp_path / "intrinsics.txt").write_text("96 64 80 82 48 32\n")
        return tmp_path

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda t: t[:-4], r"poses\.csv:4: 9 fields where the header has 10"),
            (lambda t: t[:-2], r"poses\.csv:4: the pose lacks qw"),
            (lambda t: t.replace("2,0,0,0,1", "2,0,0,0,0"), r"poses\.csv:4: the quaternion qx qy qz qw has the norm 0"),
            (lambda t: t.replace("2,0,0,0,1", "2,nan,0,0,1"), r"poses\.csv:4: qx is 'nan'; it must be a finite number"),
        ],
    )
    def test_folder(self, route: Path, change: Callable[[str], str], expected: str) -> None:
        path = route / "poses.csv"
        path.write_text(change(path.read_text()))
        with pytest.raises(DatasetError, match=expected):
            open_dataset(f"folder:{route}")

    @pytest.fixture
    def sequence(self, tmp_path: Path) -> Path:
        write_image(tmp_path / "image_0" / "000000.png")
        (tmp_path / "times.txt").write_text("0.0\n0.1\n0.2\n")
        (tmp_path / "calib.txt").write_text("P0: 80 0 48 0 0 82 32 0 0 0 1 0\n")
        (tmp_path / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 3)
        return tmp_path

    @pytest.mark.parametrize(
        ("file", "change", "expected"),
        [
            ("poses", lambda t: t[:-6], r"poses\.txt:3: 9 values; expected the 12 of a 3x4 matrix"),
            ("poses", lambda t: t[:48], r"poses\.txt:2: 2 poses, but times\.txt of .* has 3 images"),
            (
                "poses",
                lambda t: "0 0 0 0 0 0 0 0 0 0 0 0\n" + t[24:],
                r"poses\.txt:1: columns 1-3 .* are not a rotation",
            ),
            ("calib", lambda t: t[:-8], r"calib\.txt:1: 8 values; expected the 12"),
            ("times", lambda t: t[:8], r"poses\.txt:3: 3 poses, but times\.txt of .* has 2 images"),
        ],
    )
    def test_kitti(self, sequence: Path, file: str, change: Callable[[str], str], expected: str) -> None:
        path = sequence / f"{file}.txt"
        path.write_text(change(path.read_text()))
        with pytest.raises(DatasetError, match=expected):
            open_dataset(f"kitti:{sequence}")

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("img_2_c0_2us.jpg 1 0 0 0 1 2", r"ground.*:2: 7 values; expected 'name qw"),
            ("img_2_c0_2us.jpg 0 0 0 0 1 2 3", r"ground.*:2: the quaternion qw qx qy qz has the norm 0"),
        ],
    )
    def test_cmu(self, tmp_path: Path, line: str, expected: str) -> None:
        (tmp_path / "intrinsics.txt").write_text("c0 PINHOLE 96 64 80 82 48 32\n")
        path = tmp_path / "ground-truth-database-images-slice1.txt"
        path.write_text(f"img_1_c0_1us.jpg 1 0 0 0 1 2 3\n{line}\n")
        with pytest.raises(DatasetError, match=expected):
            open_dataset(f"cmu:{tmp_path}")
