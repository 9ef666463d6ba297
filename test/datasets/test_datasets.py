"""Posed folders, KITTI sequences and image files: what is read, and what is said about a broken input."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from repository import DATA, REPOSITORY

from vizloc_ros.datasets.folder import FolderDataset
from vizloc_ros.datasets.image_files import decode_image, read_image
from vizloc_ros.datasets.parsing import format_timestamp, parse_timestamp
from vizloc_ros.datasets.record import every
from vizloc_ros.errors import ConfigError, DatasetError, ImageError
from vizloc_ros.readers import READERS, open_dataset

HEADER = "image,split,timestamp_s,tx,ty,tz,qx,qy,qz,qw"
ROWS = [
    "a.png,map,0.1,1,2,3,0,0,0,1",
    "b.png,map,0.2,1,2,4,0,0.6,0,0.8",
    "c.png,query,1700000000.123456789,,,,,,,",
]


def write_image(path: Path, width: int = 8, height: int = 6, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, channels), np.uint8)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        write_image(tmp_path / f"{name}.png")
    (tmp_path / "intrinsics.txt").write_text("# width height fx fy cx cy\n8 6 5 5.5 3.5 2.5\n")
    (tmp_path / "poses.csv").write_text("\n".join([HEADER, *ROWS]))
    return tmp_path


def test_folder_yields_its_records(folder: Path) -> None:
    dataset = open_dataset(f"folder:{folder}")
    assert dataset.name == f"folder:{folder}"
    assert tuple(dataset.splits) == ("map", "query")
    first, second = dataset.records("map")
    assert (first.name, first.timestamp_ns, first.split) == ("a.png", 100_000_000, "map")
    assert second.world_from_cam is not None
    np.testing.assert_allclose(second.world_from_cam.translation, [1, 2, 4])
    np.testing.assert_allclose(second.world_from_cam * np.array([0, 0, 1.0]), [1.96, 2, 4.28])  # y-rotation of 73.7 deg
    assert (first.camera.width, first.camera.fy, first.camera.cx) == (8, 5.5, 3.5)
    assert first.read_image().shape == (6, 8)
    (query,) = dataset.records("query")
    assert query.world_from_cam is None
    assert query.timestamp_ns == 1_700_000_000_123_456_789  # a float would be off by up to 128 ns


def test_windows_line_endings_bom_blank_lines_and_column_order_are_fine(folder: Path) -> None:
    header = "\ufefftimestamp_s,image,note,split,tx,ty,tz,qw,qx,qy,qz"
    lines = [header, "", "0.5,a.png,hello,,1,2,3,1,0,0,0", ",,,,,,,,,,", ""]
    (folder / "poses.csv").write_bytes("\r\n".join(lines).encode())
    (folder / "intrinsics.txt").write_bytes("\ufeff\r\n8 6 5 5 3.5 2.5 # measured\r\n".encode())
    (record,) = FolderDataset(folder).records("map")
    assert record.world_from_cam is not None
    np.testing.assert_allclose(record.world_from_cam.translation, [1, 2, 3])
    np.testing.assert_allclose(record.world_from_cam.rotation.quat, [0, 0, 0, 1])


def test_an_empty_split_is_map_with_a_pose_and_query_without(folder: Path) -> None:
    (folder / "poses.csv").write_text(f"{HEADER}\na.png,,1,0,0,0,0,0,0,1\nb.png,,2,,,,,,,\n")
    dataset = FolderDataset(folder)
    assert [r.name for r in dataset.records("map")] == ["a.png"]
    assert [r.name for r in dataset.records("query")] == ["b.png"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("d.png,map,0.3,1,2,3,0,0,0", r"poses.csv:5: 9 fields where the header has 10"),
        ("d.png,map,0.3,1,2,three,0,0,0,1", r"poses.csv:5: tz is 'three', not a number"),
        ("d.png,map,0.3,1,nan,3,0,0,0,1", r"poses.csv:5: ty is 'nan'; it must be a finite number"),
        ("d.png,map,0.3,1,2,3,0,0,0,1.01", r"poses.csv:5: the quaternion .* norm 1.01"),
        ("d.png,map,0.3,1,2,3,0,0,0,0", r"poses.csv:5: the quaternion .* norm 0"),
        ("d.png,map,0.3,1,2,3,,,,", r"poses.csv:5: the pose lacks qx, qy, qz, qw"),
        ("a.png,query,1800000000,,,,,,,", r"poses.csv:5: image 'a.png' is already in line 2$"),
        ("d.png,map,0.2,1,2,3,0,0,0,1", r"poses.csv:5: timestamp_s is not later than in line 3"),
        ("d.png,map,soon,1,2,3,0,0,0,1", r"poses.csv:5: timestamp_s is 'soon', not a number"),
        ("d.png,map,,1,2,3,0,0,0,1", r"poses.csv:5: timestamp_s is '', not a number"),
        ("d.png,map,inf,1,2,3,0,0,0,1", r"poses.csv:5: timestamp_s is 'inf'; it must be in seconds"),
        ("d.png,map,1700000000123456789,1,2,3,0,0,0,1", r"poses.csv:5: timestamp_s .* must be in seconds"),
        (",map,0.3,1,2,3,0,0,0,1", r"poses.csv:5: the image's name is empty"),
        ('"d.png,map,0.3,1,2,3,0,0,0,1', r"poses.csv:5: not a comma-separated table"),
    ],
)
def test_a_broken_row_is_named(folder: Path, row: str, message: str) -> None:
    (folder / "poses.csv").write_text("\n".join([HEADER, *ROWS, row]))
    with pytest.raises(DatasetError, match=message) as caught:
        FolderDataset(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,split,timestamp_s,tx,ty,tz,qx,qy,qz\n", r"poses.csv:1: the header lacks qw"),
        (f"{HEADER},tx\n", r"poses.csv:1: the header names tx more than once"),
        (f"{HEADER}\n", r"poses.csv: there is no image"),
        ("", r"poses.csv: there is no image"),
    ],
)
def test_a_broken_header_is_named(folder: Path, text: str, message: str) -> None:
    (folder / "poses.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        FolderDataset(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8 6 5 5 3.5", r"intrinsics.txt:1: 5 values; expected one line 'width height fx fy cx cy'"),
        ("\n8 6 5 f 3.5 2.5", r"intrinsics.txt:2: fy is 'f', not a number"),
        ("8.5 6 5 5 3.5 2.5", r"intrinsics.txt:1: the image size"),
        ("8 6 -5 5 3.5 2.5", r"intrinsics.txt:1: .*focal length"),
        ("8 6 5 5 3 2\n8 6 5 5 3 2", r"intrinsics.txt:2: 2 lines"),
        ("# nothing", r"intrinsics.txt: 0 lines"),
    ],
)
def test_broken_intrinsics_are_named(folder: Path, text: str, message: str) -> None:
    (folder / "intrinsics.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        FolderDataset(folder)


def test_missing_files_are_named(folder: Path) -> None:
    dataset = FolderDataset(folder)
    (folder / "b.png").unlink()
    with pytest.raises(DatasetError, match=r"poses.csv:3: there is no image .*b\.png"):
        dataset.records("map")
    assert len(dataset.records("query")) == 1
    with pytest.raises(DatasetError, match=r"has no split 'train'; there are: map, query"):
        dataset.records("train")
    for name in ("poses.csv", "intrinsics.txt"):
        (folder / name).rename(folder / "aside")
        with pytest.raises(DatasetError, match=rf"{name}: cannot be read: No such file"):
            FolderDataset(folder)
        (folder / "aside").rename(folder / name)
    with pytest.raises(DatasetError, match="nowhere: no such folder"):
        open_dataset("folder:nowhere")
    (folder / "poses.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"poses.csv: not a text file in UTF-8"):
        FolderDataset(folder)


@pytest.mark.parametrize("spec", ["route", "rosbag:route", ""])
def test_an_unknown_reader_is_answered_with_those_there_are(spec: str) -> None:
    with pytest.raises(DatasetError, match=r"folder, kitti, .*, synthetic \(docs/datasets.md\)"):
        open_dataset(spec)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def not_an_image(path: Path) -> None:
    path.write_text("hello")


def of_floats(path: Path) -> None:
    path.write_bytes(cv2.imencode(".tiff", np.zeros((6, 8), np.float32))[1].tobytes())


def enlarged(path: Path) -> None:
    write_image(path, width=16)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, r"a\.png: cannot be read"),
        (truncated, r"a\.png: the image is truncated"),
        (emptied, r"a\.png: the image is empty"),
        (not_an_image, r"a\.png: not an image"),
        (of_floats, r"a\.png: the image has float32 pixels"),
        (enlarged, r"a\.png: the image is 16x6 px but the calibration is for 8x6"),
    ],
)
def test_a_broken_image_is_named(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    record = FolderDataset(folder).records("map")[0]
    damage(folder / "a.png")
    with pytest.raises(ImageError, match=message):
        record.read_image()


def test_gray_stays_gray_colour_is_bgr_and_alpha_is_dropped(tmp_path: Path) -> None:
    blue = np.full((4, 5, 3), (255, 10, 0), np.uint8)
    for name, pixels in {"gray": blue[..., 0], "blue": blue, "alpha": np.dstack([blue, blue[..., 0]])}.items():
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), blue[..., 0])
    np.testing.assert_array_equal(read_image(tmp_path / "blue.png"), blue)
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png", (5, 4)), blue)


def test_a_truncated_jpeg_is_refused_whatever_the_decoder_makes_of_it() -> None:
    jpeg = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (60, 80), np.uint8))[1].tobytes()
    assert decode_image(jpeg, "x.jpg").shape == (60, 80)
    with pytest.raises(ImageError, match=r"x\.jpg: the image is truncated"):
        decode_image(jpeg[: len(jpeg) // 2], "x.jpg")


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_timestamps_survive_text_exactly(timestamp_ns: int) -> None:
    assert parse_timestamp(format_timestamp(timestamp_ns), "time", "here") == timestamp_ns


def test_every_keeps_each_nth(folder: Path) -> None:
    records = FolderDataset(folder).records("map") * 3
    assert every(records, 1) == records
    assert every(records, 4) == [records[0], records[4]]
    with pytest.raises(ConfigError, match="every 0"):
        every(records, 0)


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    folder = tmp_path / "sequences" / "00"
    for frame in range(2, 6):
        for camera in (0, 1):
            write_image(folder / f"image_{camera}" / f"{frame:06d}.png")
    (folder / "times.txt").write_text("\n".join(f"{0.1 * i:e}" for i in range(8)))
    calibration = "10 0 3.5 0 0 10 2.5 0 0 0 1 0"
    right = "10 0 3.5 -5.4 0 10 2.5 0 0 0 1 0"  # camera 1 is 0.54 m to the right
    (folder / "calib.txt").write_text(f"P0: {calibration}\nP1: {right}\n")
    (tmp_path / "poses").mkdir()
    turned = "0 0 1 {} 0 1 0 0 -1 0 0 0"  # looks along world x, so its right is world -z
    (tmp_path / "poses" / "00.txt").write_text("\n".join(turned.format(i) for i in range(8)))
    return folder


def test_kitti_yields_its_records(sequence: Path) -> None:
    dataset = open_dataset(f"kitti:{sequence}?map=2-3&query=4-5")
    assert tuple(dataset.splits) == ("all", "map", "query")
    first, second = dataset.records("map")
    assert (first.name, first.timestamp_ns) == ("image_0/000002.png", 200_000_000)
    assert first.camera.size == (8, 6)
    assert first.read_image().shape == (6, 8)
    assert second.world_from_cam is not None
    np.testing.assert_allclose(second.world_from_cam.translation, [3, 0, 0], atol=1e-12)
    np.testing.assert_allclose(second.world_from_cam * np.array([0, 0, 1.0]), [4, 0, 0], atol=1e-12)


def test_kitti_right_camera_stands_at_its_baseline(sequence: Path) -> None:
    (record,) = open_dataset(f"kitti:{sequence}?one=2-2&camera=1").records("one")
    assert record.name == "image_1/000002.png"
    assert record.world_from_cam is not None
    np.testing.assert_allclose(record.world_from_cam.translation, [2, 0, -0.54], atol=1e-12)


def test_kitti_without_poses_is_unposed(sequence: Path) -> None:
    (sequence.parent.parent / "poses" / "00.txt").unlink()
    assert open_dataset(f"kitti:{sequence}?q=2-3").records("q")[0].world_from_cam is None


def test_kitti_misses_images_only_where_they_are_asked_for(sequence: Path) -> None:
    with pytest.raises(DatasetError, match=r"000000\.png: no such image, but frame 0 belongs to the split 'all'"):
        open_dataset(f"kitti:{sequence}").records("all")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("map=2", "FIRST-LAST"),
        ("map=5-2", "frames 0-7"),
        ("map=2-8", "frames 0-7"),
        ("map", "FIRST-LAST"),
        ("camera=7", "cameras 0, 1, 2, 3"),
        ("camera=2", "image_2: there is no PNG"),
    ],
)
def test_kitti_options_are_checked(sequence: Path, options: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"kitti:{sequence}?{options}")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("times.txt", "0\n1\n1\n", r"times.txt:3: the time is not later"),
        ("times.txt", "", r"times.txt: there is no time"),
        ("calib.txt", "P1: 1\n", r"calib.txt: there is no line 'P0:'; there are: P1:"),
        ("calib.txt", "P0: 1 2 3\n", r"calib.txt:1: 3 values"),
        ("calib.txt", "P0: 0 0 3 0 0 10 2 0 0 0 1 0\n", r"calib.txt:1: .*focal length"),
        ("poses.txt", "1 0 0 0 0 1 0 0 0 0 1 0\n", r"poses.txt:1: 1 poses, but times.txt of .* has 8"),
        ("poses.txt", "2 0 0 0 0 1 0 0 0 0 1 0\n", r"poses.txt:1: .* not a rotation"),
        ("poses.txt", "1 0 0 0 0 1 0 0 0 0 x 0\n", r"poses.txt:1: a value is 'x', not a number"),
    ],
)
def test_broken_kitti_files_are_named(sequence: Path, file: str, text: str, message: str) -> None:
    (sequence / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"kitti:{sequence}")


@pytest.mark.skipif(not (DATA / "kitti00").is_dir(), reason=f"the data set {DATA / 'kitti00'} is not there")
def test_kitti00_posed_folder() -> None:
    dataset = open_dataset(f"folder:{DATA / 'kitti00'}")
    assert [len(dataset.records(split)) for split in ("map", "query", "train", "extra")] == [141, 76, 630, 50]
    record = dataset.records("query")[0]
    assert record.name == "image_0/001565.png"
    assert record.read_image().shape == (376, 1241)


def test_every_reader_is_in_the_list_and_has_a_page() -> None:
    table = (REPOSITORY / "docs" / "datasets.md").read_text()
    documented = re.findall(r"^\| `([\w-]+):[^|]*\|[^|]*\| \[[^|]*\) \|$", table, re.MULTILINE)
    assert sorted(documented) == sorted(READERS)


@pytest.mark.parametrize(
    ("file", "likely"),
    [
        ("", "folder:{path}"),
        ("poses.csv", "folder:{path}"),
        ("rgb.txt", "tum:{path}"),
        ("mapping/sensors/sensors.txt", "kapture:{path}"),
        ("v1.0-mini/sample_data.json", "nuscenes:{path}"),
        ("stereo.timestamps", "robotcar:{path}"),
    ],
)
def test_a_path_without_a_reader_gets_the_likely_one(tmp_path: Path, file: str, likely: str) -> None:
    if file:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(DatasetError) as raised:
        open_dataset(str(tmp_path))
    text = str(raised.value)
    assert f"has no reader; write {likely.format(path=tmp_path)}, or another reader: folder, kitti, " in text
    assert len(text.replace(str(tmp_path), "")) < 280


@pytest.mark.parametrize("reader", [reader for reader in READERS if reader != "synthetic"])
def test_a_folder_of_something_else_is_named_before_any_option(tmp_path: Path, reader: str) -> None:
    with pytest.raises(DatasetError) as raised:
        open_dataset(f"{reader}:{tmp_path}")
    first, _, _ = str(raised.value).partition(";")
    assert first.startswith(str(tmp_path))
    assert "=" not in first
