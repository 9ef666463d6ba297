"""kapture: poses and pixels by hand, the layouts of published kaptures, and what is said when broken."""

from pathlib import Path

import numpy as np
import pytest
from reprojection import assert_seen_at_spot, spot
from sfm_helpers import posed, write_image

from vizloc_ros.errors import DatasetError
from vizloc_ros.readers import open_dataset

H = "0.7071067811865476"
SENSORS = """# kapture format: 1.1
# sensor_id, name, sensor_type, [sensor_params]+
left, , camera, OPENCV, 96, 64, 80, 80, 48, 32, -0.2, 0.1, 0.01, -0.02
rear, Grasshopper2, camera, SIMPLE_PINHOLE, 96, 64, 100, 48, 32
phone, , camera, UNKNOWN_CAMERA, 96, 64
gps, , gnss, EPSG:4326
"""
RIGS = f"""# kapture format: 1.1
# rig_id, sensor_id, qw, qx, qy, qz, tx, ty, tz
car, left, {H}, {H}, 0, 0, 0, 0, 0.5
car, rear, 1, 0, 0, 0, 0, 0, 2
car, gps, , , , , 0, 0, 1
"""
TRAJECTORIES = f"""# kapture format: 1.1
# timestamp, device_id, qw, qx, qy, qz, tx, ty, tz
   1417178919, car, {H}, 0, 0, {H}, 1, 2, 3
   1417178920, rear, 1, 0, 0, 0, 7, 8, 9
   1417178920, left, nan, nan, nan, nan, 7, 8, 9
"""
RECORDS = """# kapture format: 1.1
# timestamp, device_id, image_path
1417178920, rear, rear/2.jpg
1417178920, left, left/2.jpg
1417178919, left, left/1.jpg
"""
POINT = (-0.5, 0.4, -2.8)  # in the left camera at (0.6, -0.2, 2)


def write_kapture(folder: Path, records: str = RECORDS, trajectories: str | None = TRAJECTORIES) -> None:
    sensors = folder / "sensors"
    sensors.mkdir(parents=True)
    (sensors / "sensors.txt").write_text(SENSORS)
    (sensors / "rigs.txt").write_text(RIGS)
    if trajectories is not None:
        (sensors / "trajectories.txt").write_text(trajectories)
    (sensors / "records_camera.txt").write_text(records)
    for line in records.splitlines()[2:]:
        write_image(sensors / "records_data" / line.split(", ")[2])


@pytest.fixture
def kapture(tmp_path: Path) -> Path:
    """Kaptures as Naver publishes them: ``mapping`` with a rig, and ``query`` without poses."""
    write_kapture(tmp_path / "mapping")
    write_kapture(
        tmp_path / "query", "# kapture format: 1.1\n#\n1417178990, rear, night/rear/3.jpg\n", trajectories=None
    )
    return tmp_path


def test_published_kaptures_are_a_map_and_queries(kapture: Path) -> None:
    dataset = open_dataset(f"kapture:{kapture}")
    assert dataset.name == f"kapture:{kapture}"
    assert tuple(dataset.splits) == ("map", "unposed", "query")
    left, rear = dataset.records("map")
    assert (left.name, left.timestamp_ns, left.split) == ("left/1.jpg", 1417178919 * 10**9, "map")
    assert rear.name == "rear/2.jpg"
    np.testing.assert_allclose(posed(rear).translation, [-7, -8, -9])  # C = -R^T t
    (unposed,) = dataset.records("unposed")  # it has a position only, and the rig has no pose at its time
    assert (unposed.name, unposed.world_from_cam) == ("left/2.jpg", None)
    (query,) = dataset.records("query")
    assert (query.name, query.world_from_cam) == ("night/rear/3.jpg", None)
    assert query.read_image().shape == (64, 96)
    assert (query.camera.fx, query.camera.cx, query.camera.cy) == (100, 47.5, 31.5)  # COLMAP's pixels are 0.5 larger


def test_a_pose_through_the_rig_and_a_distorted_pixel_by_hand(kapture: Path) -> None:
    # In the rig (90 deg about z): (-b + 1, a + 2, c + 3); in the camera (90 deg about x): (1 - b, -c - 3, a + 2.5).
    # At (0.3, -0.1, 1): r2 = 0.1, radial 1 - 0.02 + 0.001; with p1 and p2: (0.2881, -0.0957).
    image = spot((96, 64), 80 * 0.2881 + 48 - 0.5, 80 * -0.0957 + 32 - 0.5)
    write_image(kapture / "mapping/sensors/records_data/left/1.jpg", image)
    record = open_dataset(f"kapture:{kapture}").records("map")[0]
    np.testing.assert_allclose(posed(record).translation, [-2.5, 1, -3], atol=1e-12)
    np.testing.assert_allclose(posed(record).inverse() * np.array(POINT), [0.6, -0.2, 2], atol=1e-12)
    assert_seen_at_spot(record, POINT)


def test_rigs_may_be_nested(kapture: Path) -> None:
    nested = RIGS.replace("car, left", "head, left") + "car, head, 1, 0, 0, 0, 0, 0, 0\n"
    (kapture / "mapping/sensors/rigs.txt").write_text(nested)
    record = open_dataset(f"kapture:{kapture}").records("map")[0]
    np.testing.assert_allclose(posed(record).translation, [-2.5, 1, -3], atol=1e-12)


def test_one_kapture_is_split_by_its_poses(kapture: Path) -> None:
    dataset = open_dataset(f"kapture:{kapture / 'mapping'}")
    assert {split: [r.name for r in dataset.records(split)] for split in dataset.splits} == {
        "all": ["left/1.jpg", "left/2.jpg", "rear/2.jpg"],
        "map": ["left/1.jpg", "rear/2.jpg"],
        "query": ["left/2.jpg"],
    }
    assert tuple(open_dataset(f"kapture:{kapture / 'query'}").splits) == ("all",)


def test_other_folders_are_splits_of_their_name(kapture: Path) -> None:
    (kapture / "query").rename(kapture / "query_night")
    write_kapture(kapture / "query_day")
    dataset = open_dataset(f"kapture:{kapture}")
    assert tuple(dataset.splits) == ("map", "unposed", "query_day", "posed", "query_night")
    assert [record.name for record in dataset.records("posed")] == ["left/1.jpg", "rear/2.jpg"]


def test_cameras_are_chosen_by_their_ids(kapture: Path) -> None:
    rear = open_dataset(f"kapture:{kapture}?camera=rear")
    assert tuple(rear.splits) == ("map", "query")
    both = open_dataset(f"kapture:{kapture}?camera=left,rear")
    assert [record.name for record in both.records("map")] == ["left/1.jpg", "rear/2.jpg"]
    assert tuple(open_dataset(f"kapture:{kapture}?camera=left").splits) == ("map", "unposed")


@pytest.mark.parametrize(
    ("stamp", "options", "nanoseconds"),
    [
        ("7", "", 7 * 10**9),  # the number of an image: one second apart
        ("1417178919123", "", 1417178919123 * 10**6),
        ("1417178919123456", "", 1417178919123456 * 10**3),
        ("1417178919123456789", "", 1417178919123456789),
        ("7", "?unit=us", 7000),
    ],
)
def test_stamps_have_the_unit_of_their_size(kapture: Path, stamp: str, options: str, nanoseconds: int) -> None:
    (kapture / "query/sensors/records_camera.txt").write_text(f"{stamp}, rear, night/rear/3.jpg\n")
    (record,) = open_dataset(f"kapture:{kapture / 'query'}{options}").records("all")
    assert record.timestamp_ns == nanoseconds


@pytest.mark.parametrize(
    "camera",
    [
        "SIMPLE_PINHOLE, 96, 64, 80, 48, 32",
        "PINHOLE, 96, 64, 80, 81, 48, 32",
        "SIMPLE_RADIAL, 96, 64, 80, 48, 32, -0.1",
        "RADIAL, 96, 64, 80, 48, 32, -0.1, 0.01",
        "OPENCV, 96, 64, 80, 80, 48, 32, -0.1, 0.01, 0.001, 0.001",
        "OPENCV_FISHEYE, 96, 64, 80, 80, 48, 32, 0.01, 0.01, 0.001, 0.001",
        "FULL_OPENCV, 96, 64, 80, 80, 48, 32, -0.1, 0.01, 0.001, 0.001, 0, 0.01, 0, 0",
        "SIMPLE_RADIAL_FISHEYE, 96, 64, 80, 48, 32, 0.01",
        "RADIAL_FISHEYE, 96, 64, 80, 48, 32, 0.01, 0.001",
    ],
)
def test_camera_models_are_read(kapture: Path, camera: str) -> None:
    (kapture / "query/sensors/sensors.txt").write_text(f"rear, , camera, {camera}\n")
    (record,) = open_dataset(f"kapture:{kapture}").records("query")
    assert record.read_image().shape == (64, 96)
    assert 60 < record.camera.fx < 110


FILES = {"sensors": SENSORS, "rigs": RIGS, "trajectories": TRAJECTORIES, "records_camera": RECORDS}


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("sensors", "format: 1.1", "format: 2.0", r"sensors.txt:1: kapture format 2; only version 1 can be read"),
        ("sensors", "rear, Grass", "left, Grass", r"sensors.txt:4: the sensor 'left' is in the file twice"),
        ("sensors", "SIMPLE_PINHOLE", "LENS", r"sensors.txt:4: the camera model 'LENS' is none of kapture's"),
        ("sensors", ", 100, 48, 32", ", 100, 48", r"sensors.txt:4: 2 parameters behind the image size; SIMPLE_PIN"),
        ("sensors", "96, 64, 100", "96.5, 64, 100", r"sensors.txt:4: the image size 96.5 x 64 is not in whole pixels"),
        ("sensors", "96, 64, 100", "96, 64, wide", r"sensors.txt:4: a value is 'wide', not a number"),
        (
            "sensors",
            "gps, , gnss, EPSG:4326",
            "gps",
            r"sensors.txt:6: 1 fields; expected 'sensor_id, name, sensor_type",
        ),
        ("rigs", "car, rear, 1, 0", "car, rear, 1", r"rigs.txt:4: 8 fields; expected 'rig_id, sensor_id, qw, qx"),
        ("rigs", "car, rear, 1", "car, rear, 2", r"rigs.txt:4: the quaternion qw qx qy qz has the norm 2"),
        ("rigs", "car, rear", "car, car", r"rigs.txt: the rig 'car' is mounted on itself"),
        ("trajectories", "1417178920, rear", "14.1, rear", r"trajectories.txt:4: the timestamp is '14.1'; kapture's"),
        (
            "trajectories",
            "1417178920, left",
            "1417178920, rear",
            r"trajectories.txt:5: there is already a pose of 'rear",
        ),
        ("trajectories", "7, 8, 9\n   1", "7, eight, 9\n   1", r"trajectories.txt:4: ty is 'eight', not a number"),
        ("records_camera", "left/2.jpg", "rear/2.jpg", r"records_camera.txt:4: image 'rear/2.jpg' is already in"),
        (
            "records_camera",
            "left, left/2",
            "front, left/2",
            r"records_camera.txt:4: the sensor 'front' is not in sensors",
        ),
        ("records_camera", "left, left/2", "gps, left/2", r"records_camera.txt:4: the sensor 'gps' is no camera"),
        ("records_camera", RECORDS, "# nothing\n", r"records_camera.txt: there is no image in it; expected"),
        (
            "records_camera",
            "1417178919, l",
            "1417178919123456789012, l",
            r"the timestamp 1417178919123456789012 is beyond",
        ),
    ],
)
def test_broken_kaptures_are_named(kapture: Path, file: str, old: str, new: str, message: str) -> None:
    text = FILES[file].replace(old, new)
    assert text != FILES[file]
    (kapture / "mapping/sensors" / f"{file}.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"kapture:{kapture}")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("UNKNOWN_CAMERA, 96, 64", r"sensors.txt:1: UNKNOWN_CAMERA: the kapture has no calibration of this camera"),
        ("FOV, 96, 64, 80, 80, 48, 32, 0.9", r"sensors.txt:1: the camera model FOV cannot be rectified"),
    ],
)
def test_cameras_that_cannot_be_rectified_are_named(kapture: Path, model: str, message: str) -> None:
    (kapture / "query/sensors/sensors.txt").write_text(f"rear, , camera, {model}\n")
    dataset = open_dataset(f"kapture:{kapture}")
    with pytest.raises(DatasetError, match=message):
        dataset.records("query")


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("", "?sensor=left", r"there is no option sensor; there are camera and unit"),
        ("", "?unit=min", r"unit=min; the unit of the stamps is one of s, ms, us, ns"),
        ("", "?camera=front", r"sensors.txt: there is no camera front; there are: left, rear, phone"),
        ("", "?camera=phone", r"camera=phone; no image of .* is from it"),
        ("nowhere", "", r"nowhere: no kapture; expected sensors/sensors.txt in it, or in mapping and query below it"),
    ],
)
def test_wrong_specifications_are_named(kapture: Path, path: str, options: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"kapture:{kapture / path}{options}")


def test_incomplete_kaptures_are_named(kapture: Path) -> None:
    (kapture / "mapping/sensors/records_data/left/1.jpg").unlink()
    with pytest.raises(DatasetError, match=r"records_camera.txt:5: there is no image .*left/1.jpg: unpack or link"):
        open_dataset(f"kapture:{kapture}").records("map")
    write_kapture(kapture / "training")
    with pytest.raises(DatasetError, match=r"mapping and training are both the split 'map'; move one"):
        open_dataset(f"kapture:{kapture}")
    (kapture / "mapping/sensors/records_camera.txt").unlink()
    with pytest.raises(DatasetError, match=r"mapping/sensors/records_camera.txt: cannot be read: No such file"):
        open_dataset(f"kapture:{kapture / 'mapping'}")
