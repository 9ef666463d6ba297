"""The raw Oxford RobotCar: poses and pixels by hand, Bayer images, lookup tables, and what is said when broken."""

import shutil
from math import pi
from pathlib import Path

import cv2
import numpy as np
import pytest
from reprojection import assert_seen_at_spot, spot
from sfm_helpers import posed, write_image

from vizloc_ros.datasets.robotcar import RobotcarDataset
from vizloc_ros.datasets.robotcar_poses import ORIGIN, read_drive_poses, read_extrinsics
from vizloc_ros.errors import DatasetError, ImageError
from vizloc_ros.readers import open_dataset

SIZE = (96, 64)
MODEL = """50.000000 50.000000 48.000000 32.000000
0.000000 -0.000000 1.000000 0.000000
1.000000 0.000000 -0.000000 {baseline}
0.000000 1.000000 0.000000 0.000000
0.000000 0.000000 0.000000 1.000000
"""
MODELS = {"stereo_narrow_left": 0.0, "stereo_wide_right": 0.24, "mono_left": 0.0}
# The SDK's own extrinsics of the left camera; those of the inertial sensor without its small angles.
EXTRINSICS = {
    "stereo": "0 0 0 0 0 0",
    "mono_left": "-0.0905 1.6375 0.2803 0.2079 -0.2339 1.2321",
    "ins": "-1.7 0 1.2 0 0 0",
}
INS = (
    "timestamp,ins_status,latitude,longitude,altitude,northing,easting,down,utm_zone,velocity_north,velocity_east,"
    "velocity_down,roll,pitch,yaw"
)
RTK = INS.replace("ins_status,", "")
T = 1417176458000000  # us
DRIVE = "2014-11-28-12-07-13"
# 100 m north and 50 m east of the origin, 1 m above it, driving east.
POSITION, LATER = "5735100,620050,-111", "5735100,620052,-111"
MIDDLE = (52.7, 100.0, 2.2)  # east, north, up of the camera: 51 + 1.7, 100, 1 + 1.2


def ins_row(stamp: int, position: str, yaw: float, status: str = "INS_SOLUTION_GOOD", angles: str = "0,0") -> str:
    return f"{stamp},{status},51.7,-1.2,111,{position},30U,0,0,0,{angles},{yaw!r}"


def rtk_row(stamp: int, position: str, yaw: float) -> str:
    return ins_row(stamp, position, yaw).replace("INS_SOLUTION_GOOD,", "")


def write_table(models: Path, name: str) -> None:
    """Lookup table that takes the center (48, 32) to (48, 34) and grows distances from it to 1.1 times."""
    columns, rows = np.meshgrid(np.arange(SIZE[0], dtype=float), np.arange(SIZE[1], dtype=float))
    table = np.concatenate([(48 + 1.1 * (columns - 48)).ravel(), (34 + 1.1 * (rows - 32)).ravel()])
    table.astype("<f8").tofile(models / f"{name}_distortion_lut.bin")


def write_sdk(folder: Path) -> None:
    (folder / "models").mkdir(parents=True)
    (folder / "extrinsics").mkdir()
    for name, baseline in MODELS.items():
        (folder / "models" / f"{name}.txt").write_text(MODEL.format(baseline=baseline))
        write_table(folder / "models", name)
    for name, text in EXTRINSICS.items():
        (folder / "extrinsics" / f"{name}.txt").write_text(f"{text}\n")


def write_drive(folder: Path, start: int = T) -> None:
    stamps = [start + 100_000, start + 900_000, start + 1_000_000]
    lines = f"{stamps[0]} 1\n{stamps[1]} 1\n{stamps[2]} 2\n"
    for sensor, images in (("stereo", ("stereo/centre", "stereo/right")), ("mono_left", ("mono_left",))):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{sensor}.timestamps").write_text(lines)
        for image in images:
            for stamp in stamps[:2]:  # the second part of the drive was not downloaded
                write_image(folder / image / f"{stamp}.png", np.zeros(SIZE[::-1], np.uint8))
    (folder / "gps").mkdir()
    rows = [
        INS,
        ins_row(start, POSITION, pi / 2),
        ins_row(start + 100_001, "0,0,0", 0.0, "INS_BAD_GPS_AGREE"),
        ins_row(start + 200_000, LATER, pi / 2),
    ]
    (folder / "gps/ins.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A drive of three images, of which the first has a pose and the last is not there; and the SDK beside it."""
    write_sdk(tmp_path / "robotcar-dataset-sdk")
    write_drive(tmp_path / DRIVE)
    return tmp_path / DRIVE


def test_a_pose_from_utm_and_a_pixel_through_the_table_by_hand(drive: Path) -> None:
    # The camera looks east: x is south, y is down. 10 m ahead, 2 m right and 1 m below is at (58, 37) in the rectified
    # image and at 48 + 1.1 * 10, 34 + 1.1 * 5 in the raw one.
    write_image(drive / f"stereo/centre/{T + 100_000}.png", spot(SIZE, 59, 39.5))
    dataset = open_dataset(f"robotcar:{drive}")
    assert isinstance(dataset, RobotcarDataset)
    assert (dataset.name, dataset.origin) == (f"robotcar:{drive}", (620000.0, 5735000.0, 110.0))
    assert tuple(dataset.splits) == ("all", "posed")
    record, unposed = dataset.records("all")
    assert (record.name, record.timestamp_ns) == (f"stereo/centre/{T + 100_000}.png", (T + 100_000) * 1000)
    assert unposed.world_from_cam is None  # after the last pose
    # The sensor is interpolated to 51 m east; the camera is 1.7 m ahead of it and 1.2 m above.
    np.testing.assert_allclose(posed(record).translation, MIDDLE, atol=1e-9)
    np.testing.assert_allclose(posed(record).rotation.matrix(), [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-12)
    assert_seen_at_spot(record, (MIDDLE[0] + 10, MIDDLE[1] - 2, MIDDLE[2] - 1))
    assert [r.name for r in dataset.records("posed")] == [record.name]


def test_cameras_have_their_place_on_the_car(drive: Path) -> None:
    records = open_dataset(f"robotcar:{drive}?camera=stereo_right,stereo_centre").records("posed")
    assert [record.name.split("/")[1] for record in records] == ["centre", "right"]
    np.testing.assert_allclose(posed(records[1]).translation, [52.7, 100 - 0.24, 2.2], atol=1e-9)  # right is south
    (left,) = open_dataset(f"robotcar:{drive}?camera=mono_left").records("posed")
    # The file is the vehicle in the camera's frame: the camera is behind the stereo camera and left, as on the car, and
    # looks left and down. East is ahead, and north is left.
    ahead, to_left, _ = posed(left).translation - np.array(MIDDLE)
    assert -1.7 < ahead < -1.4
    assert 0.4 < to_left < 0.8
    forward = posed(left).rotation.matrix()[:, 2]
    assert forward[1] > 0.9
    assert forward[2] < -0.1


def test_the_yaw_of_rtk_is_turned_to_the_direction_of_driving(drive: Path) -> None:
    for offset in (-pi / 2, pi / 2, 0.0):
        rows = [RTK, rtk_row(T, POSITION, pi / 2 + offset), rtk_row(T + 200_000, LATER, pi / 2 + offset)]
        (drive / "gps/rtk.csv").write_text("\n".join(rows))
        (drive / "gps/ins.csv").unlink(missing_ok=True)
        record = open_dataset(f"robotcar:{drive}").records("posed")[0]
        np.testing.assert_allclose(posed(record).translation, MIDDLE, atol=1e-9)


def test_rtk_is_preferred_and_found_where_it_is_unpacked(drive: Path) -> None:
    rtk = drive.parent / "rtk" / DRIVE / "rtk.csv"
    rtk.parent.mkdir(parents=True)
    rtk.write_text(
        "\n".join([RTK, rtk_row(T, "5735100,620060,-111", pi / 2), rtk_row(T + 2000, "5735100,620061,-111", 1.6)])
    )
    assert tuple(open_dataset(f"robotcar:{drive}").splits) == ("all",)  # no image within these poses
    assert tuple(open_dataset(f"robotcar:{drive}?poses=ins").splits) == ("all", "posed")
    assert tuple(open_dataset(f"robotcar:{drive}?poses=gps/ins.csv").splits) == ("all", "posed")


def test_drives_share_one_world(drive: Path) -> None:
    write_drive(drive.parent / "2014-12-09-13-21-02", T + 10**12)
    spec = f"robotcar:{drive.parent}?map={DRIVE}&query=2014-12-09-13-21-02&origin=620000,5735100,110"
    dataset = open_dataset(spec)
    assert {split: [r.name.split("/")[0] for r in dataset.records(split)] for split in dataset.splits} == {
        "map": [DRIVE],
        "query": ["2014-12-09-13-21-02"] * 2,
    }
    for split in dataset.splits:
        np.testing.assert_allclose(posed(dataset.records(split)[0]).translation, [52.7, 0, 2.2], atol=1e-9)


def test_poses_are_interpolated_but_not_across_gaps(tmp_path: Path) -> None:
    rows = [
        INS,
        ins_row(T, "5735000,620000,-110", 0.0),
        ins_row(T + 200_000, "5735002,620000,-110", 0.0),
        ins_row(T + 400_000, "5735004,620001,-110", 0.4),
        ins_row(T + 1_000_000, "5735010,620001,-110", 0.0),
    ]
    (tmp_path / "ins.csv").write_text("\n".join(rows))
    poses = read_drive_poses(tmp_path / "ins.csv", ORIGIN)
    start, turning, gap, end, before, after = (
        poses.at(1000 * time) for time in (T, T + 300_000, T + 700_000, T + 1_000_000, T - 1, T + 1_000_001)
    )
    assert start is not None
    assert turning is not None
    assert end is not None
    assert (gap, before, after) == (None, None, None)
    np.testing.assert_allclose(turning.translation, [0.5, 3, 0], atol=1e-6)
    np.testing.assert_allclose(turning.rotation.matrix()[:, 0], [np.sin(0.2), np.cos(0.2), 0], atol=1e-6)  # clockwise
    np.testing.assert_allclose(end.translation, [1, 10, 0], atol=1e-9)


def test_roll_pitch_and_yaw_turn_about_x_then_y_then_z(tmp_path: Path) -> None:
    (tmp_path / "ins.txt").write_text(f"1 2 3 {pi / 2} 0 {pi / 2}\n")
    pose = read_extrinsics(tmp_path / "ins.txt")
    # Roll takes y to z; yaw takes x to y and leaves z.
    np.testing.assert_allclose(pose * np.array([0, 1, 0]), [1, 2, 4], atol=1e-12)
    np.testing.assert_allclose(pose * np.array([1, 0, 0]), [1, 3, 3], atol=1e-12)


@pytest.mark.parametrize(
    ("camera", "folder", "red"), [("stereo_centre", "stereo/centre", 1), ("mono_left", "mono_left", 0)]
)
def test_bayer_images_have_the_pattern_of_their_camera(drive: Path, camera: str, folder: str, red: int) -> None:
    """A red scene: stereo images begin with G B, R G, and mono images with R G, G B."""
    raw = np.zeros(SIZE[::-1], np.uint8)
    raw[red::2, 0::2] = 200
    write_image(drive / folder / f"{T + 100_000}.png", raw)
    image = open_dataset(f"robotcar:{drive}?camera={camera}").records("all")[0].read_image()
    assert image.shape == (64, 96, 3)
    np.testing.assert_array_equal(image[10:50, 10:80].reshape(-1, 3), np.full((40 * 70, 3), [0, 0, 200]))


def test_images_that_were_demosaiced_are_taken_as_they_are(drive: Path) -> None:
    color = np.full((64, 96, 3), (10, 20, 30), np.uint8)
    path = drive / f"stereo/centre/{T + 100_000}.png"
    assert cv2.imwrite(str(path), color)
    image = open_dataset(f"robotcar:{drive}").records("all")[0].read_image()
    np.testing.assert_array_equal(image[30, 40], [10, 20, 30])
    write_image(drive / f"stereo/centre/{T + 900_000}.png", np.zeros((10, 20), np.uint8))
    record = open_dataset(f"robotcar:{drive}").records("all")[1]
    with pytest.raises(ImageError, match=r"the image is 20x10 px but the calibration is for 96x64"):
        record.read_image()


SDK, GPS, LIST = "../robotcar-dataset-sdk", "gps/ins.csv", "stereo.timestamps"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            f"{SDK}/models/stereo_narrow_left.txt",
            "50 50 48 32\n",
            r"narrow_left.txt: expected a line 'fx fy cx cy' and",
        ),
        (
            f"{SDK}/models/stereo_narrow_left.txt",
            MODEL.format(baseline=0).replace("50.0", "-50.0"),
            r"txt:1: the camera's f",
        ),
        (f"{SDK}/models/stereo_narrow_left.txt", MODEL.format(baseline=0).replace("1.0", "2.0"), r"are not a rotation"),
        (
            f"{SDK}/models/stereo_narrow_left_distortion_lut.bin",
            "xxxxxxxxxxxxxxxxxxxxxxx",
            r"lut.bin: 23 bytes; the lookup",
        ),
        (f"{SDK}/extrinsics/ins.txt", "1 2 3\n", r"ins.txt: 3 values; expected 'x y z roll pitch yaw'"),
        (f"{SDK}/extrinsics/stereo.txt", "1 2 3 0 0 a\n", r"stereo.txt: a value is 'a', not a number"),
        (LIST, "now 1\n", r"stereo.timestamps:1: the time is 'now'; expected 'MICROSECONDS PART'"),
        (LIST, "", r"stereo.timestamps: there is no time in it; expected lines"),
        (
            LIST,
            "1 1\n",
            r"stereo/centre: no image of .*stereo.timestamps is there, such as TIME.png; unpack a part of 20",
        ),
        (
            GPS,
            "timestamp,latitude\n",
            r"ins.csv:1: the header lacks northing, easting, down, roll, pitch, yaw; expected",
        ),
        (GPS, f"{INS}\n{ins_row(T, POSITION, 0)}\n", r"ins.csv: 1 rows with a good solution; at least 2 are needed"),
        (
            GPS,
            f"{INS}\n{ins_row(T, POSITION, 0)}\n" + ins_row(T, POSITION, 0),
            r"ins.csv:3: the timestamp is not later",
        ),
        (GPS, f"{INS}\n{ins_row(T, POSITION, 0, angles='a,0')}\n", r"ins.csv:2: roll is 'a', not a number"),
        (GPS, f"{INS}\n{T},INS_SOLUTION_GOOD,51\n", r"ins.csv:2: northing is '', not a number"),
    ],
)
def test_broken_files_are_named(drive: Path, file: str, text: str, message: str) -> None:
    (drive / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"robotcar:{drive}")


@pytest.mark.parametrize(
    ("missing", "options", "message"),
    [
        (
            f"{SDK}/models",
            "",
            r"no folders models and extrinsics; clone .*-sdk beside the drive, or give its path, absolute or relative "
            r"to .*: robotcar:.*\?sdk=PATH",
        ),
        (
            f"{SDK}/models/stereo_narrow_left_distortion_lut.bin",
            "",
            r"lut.bin: no such file; it is in the folder models",
        ),
        (
            LIST,
            "",
            r"stereo.timestamps: no such file; expected a drive .*, or several drives .*\?map=DRIVE&query=",
        ),
        (
            None,
            "?cam=mono_rear",
            r"mono_rear: no such folder; cam=FOLDER gives the split 'cam' its drive. The other opt",
        ),
        ("stereo/centre", "", r"stereo/centre: no image of .*stereo.timestamps is there"),
        (GPS, "?poses=ins", r"gps/ins.csv, .*ins.csv: no such file; poses=ins needs it"),
        (None, "?poses=mine.csv", r"mine.csv: no such file; poses=mine.csv needs it"),
        (
            None,
            "?camera=front",
            r"camera=front; the cameras are stereo_left, stereo_centre, stereo_right, mono_left, mono",
        ),
        (None, "?origin=1,2", r"origin=1,2; expected EASTING,NORTHING,ALTITUDE in meters"),
        (None, "?sdk=nowhere", r"nowhere: no folders models and extrinsics"),
        (GPS, "?map=.", r"no image of the map has a pose: there is none of .*/gps/rtk\.csv, .*ins\.csv; "),
        (LIST, "", r"with images of stereo_centre \(there are images of camera=mono_left\)"),
    ],
)
def test_incomplete_and_wrong_trees_are_named(drive: Path, missing: str | None, options: str, message: str) -> None:
    if missing is not None:
        path = drive / missing
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"robotcar:{drive}{options}")


def test_a_drive_without_poses_has_queries(drive: Path) -> None:
    (drive / GPS).unlink()
    dataset = open_dataset(f"robotcar:{drive}")
    assert tuple(dataset.splits) == ("all",)
    assert all(record.world_from_cam is None for record in dataset.records("all"))
    with pytest.raises(DatasetError, match=r"nowhere: no such folder; expected a drive of the Oxford RobotCar"):
        open_dataset("robotcar:nowhere")
