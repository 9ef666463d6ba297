"""EuRoC: a pose through the body and a distorted pixel by hand, both cameras, and what is said when broken."""

from pathlib import Path

import numpy as np
import pytest
from reprojection import assert_seen_at_spot, spot
from sfm_helpers import pattern, posed, write_image

from vizloc_ros.errors import DatasetError
from vizloc_ros.readers import open_dataset

# The published calibration of cam0, but for a rotation that is easy to invert: camera z is the body's x.
SENSOR = """# General sensor definitions.
sensor_type: camera
comment: VI-Sensor cam0 (MT9M034)

# Sensor extrinsics wrt. the body-frame.
T_BS:
  cols: 4
  rows: 4
  data: [0.0, 0.0, 1.0, 0.1,
        -1.0, 0.0, 0.0, 0.2,
         0.0, -1.0, 0.0, 0.3,
         0.0, 0.0, 0.0, 1.0]

# Camera specific definitions.
rate_hz: 20
resolution: [752, 480]
camera_model: pinhole
intrinsics: [458.654, 457.296, 367.215, 248.375] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05]
"""
FIRST, SECOND = 1403636579763555584, 1403636579813555456
DATA = f"#timestamp [ns],filename\r\n{FIRST},{FIRST}.png\r\n{SECOND},{SECOND}.png\r\n"
H = "0.70710678118"
# Turned by 90 degrees about z at the first image. The second image is 0.3 of the way between two later poses.
TRUTH = f"""#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z [], v_RS_R_x
{FIRST},5,6,7,{H},0,0,{H},0.5
{SECOND - 3000000},1,2,3,1,0,0,0,0.5
{SECOND + 7000000},2,2,3,1,0,0,0,0.5
"""


@pytest.fixture
def euroc(tmp_path: Path) -> Path:
    mav = tmp_path / "V1_01_easy" / "mav0"
    for camera in ("cam0", "cam1"):
        for stamp in (FIRST, SECOND):
            write_image(mav / camera / "data" / f"{stamp}.png", pattern((752, 480)))
        (mav / camera / "data.csv").write_text(DATA)
        (mav / camera / "sensor.yaml").write_text(SENSOR)
    (mav / "state_groundtruth_estimate0").mkdir()
    (mav / "state_groundtruth_estimate0" / "data.csv").write_text(TRUTH)
    return mav.parent


def test_a_pose_through_the_body_and_a_distorted_pixel_by_hand(euroc: Path) -> None:
    # The camera is at (0.1, 0.2, 0.3) in the body; turned by 90 degrees, (-0.2, 0.1, 0.3) from the body's (5, 6, 7).
    # It looks along the body's x, the world's y; its x is the body's -y, the world's x; its y is the world's -z.
    # The camera's (0.8, 0.4, 2): at (0.4, 0.2), r2 = 0.2, radial = 1 - 0.28340811 * 0.2 + 0.07395907 * 0.04.
    # x' = 0.4 * 0.9462767 + 2 p1 * 0.08 + p2 (0.2 + 0.32) = 0.3785508; y' = 0.2 * 0.9462767 + p1 (0.2 + 0.08) + ...
    image = spot((752, 480), 458.654 * 0.3785508 + 367.215, 457.296 * 0.1893124 + 248.375)
    write_image(euroc / f"mav0/cam0/data/{FIRST}.png", image)
    dataset = open_dataset(f"euroc:{euroc}")
    assert (dataset.name, tuple(dataset.splits)) == (f"euroc:{euroc}", ("all",))
    record, later = dataset.records("all")
    assert (record.name, record.timestamp_ns) == (f"cam0/data/{FIRST}.png", FIRST)
    np.testing.assert_allclose(posed(record).translation, [4.8, 6.1, 7.3], atol=1e-9)
    assert_seen_at_spot(record, (4.8 + 0.8, 6.1 + 2, 7.3 - 0.4))
    np.testing.assert_allclose(posed(later).translation, [1 + 0.3 + 0.1, 2.2, 3.3], atol=1e-9)


def test_cameras_are_chosen(euroc: Path) -> None:
    both = open_dataset(f"euroc:{euroc / 'mav0'}?camera=cam0,cam1&map=0-0").records("map")
    assert [record.name for record in both] == [f"{camera}/data/{FIRST}.png" for camera in ("cam0", "cam1")]
    (right,) = open_dataset(f"euroc:{euroc}?camera=cam1&query=1-1").records("query")
    assert right.name == f"cam1/data/{SECOND}.png"


def test_images_before_the_ground_truth_are_unposed(euroc: Path) -> None:
    truth = euroc / "mav0/state_groundtruth_estimate0/data.csv"
    truth.write_text("\n".join(line for line in TRUTH.splitlines() if not line.startswith(str(FIRST))))
    dataset = open_dataset(f"euroc:{euroc}?map=0-1")
    assert [record.world_from_cam is None for record in dataset.records("all")] == [True, False]
    assert [len(dataset.records(split)) for split in ("posed", "map")] == [1, 1]
    truth.unlink()
    assert tuple(open_dataset(f"euroc:{euroc}").splits) == ("all",)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("cam0/data.csv", f"{FIRST},", "", r"cam0/data.csv:2: 1 values; expected 'timestamp \[ns\],filename'"),
        ("cam0/data.csv", f"{FIRST},", "14.5,", r"data.csv:2: the timestamp is '14.5', not a whole number of nanosec"),
        ("cam0/data.csv", DATA, "#timestamp [ns],filename\n", r"cam0/data.csv: there is no image in it"),
        ("cam0/sensor.yaml", "resolution: [752, 480]", "", r"sensor.yaml: resolution is None; it must be a list of 2"),
        ("cam0/sensor.yaml", "458.654, ", "", r"sensor.yaml: intrinsics is \[457.296, .*; it must be a list of 4"),
        ("cam0/sensor.yaml", "0.0, 0.0, 1.0, 0.1", "0.0, 0.0, 2.0, 0.1", r"sensor.yaml: T_BS: columns 1-3 of the 4x4"),
        ("cam0/sensor.yaml", "T_BS", "T_SB", r"sensor.yaml: T_BS: data is None; it must be a list of 16 numbers"),
        ("cam0/sensor.yaml", "radial-tangential", "lens", r"sensor.yaml: distortion_model 'lens' is not known"),
        ("cam0/sensor.yaml", "T_BS:", "T_BS: [", r"sensor.yaml: not YAML: while parsing"),
        ("cam0/sensor.yaml", SENSOR, "", r"sensor.yaml: no calibration; expected T_BS, resolution"),
        (
            "state_groundtruth_estimate0/data.csv",
            f"{H},0,0,{H},0.5",
            H,
            r"data.csv:2: 5 values; expected 'timestamp, p",
        ),
        (
            "state_groundtruth_estimate0/data.csv",
            f"{H},0,0,{H}",
            "1,0,0,1",
            r"data.csv:2: the quaternion .* norm 1.414",
        ),
    ],
)
def test_broken_files_are_named(euroc: Path, file: str, old: str, new: str, message: str) -> None:
    path = euroc / "mav0" / file
    text = path.read_bytes().decode()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"euroc:{euroc}")


def test_what_is_missing_is_named(euroc: Path) -> None:
    with pytest.raises(DatasetError, match=r"euroc:.*: camera=cam2; there is cam0, cam1"):
        open_dataset(f"euroc:{euroc}?camera=cam2")
    with pytest.raises(DatasetError, match=r"cam0/mav0: there is no cam0/data.csv in it; it should be mav0 of a seq"):
        open_dataset(f"euroc:{euroc / 'mav0/cam0'}")
    (euroc / "mav0/cam0/sensor.yaml").unlink()
    with pytest.raises(DatasetError, match=r"cam0/sensor.yaml: cannot be read: No such file"):
        open_dataset(f"euroc:{euroc}")
    (euroc / f"mav0/cam1/data/{FIRST}.png").unlink()
    with pytest.raises(DatasetError, match=r"cam1/data.csv:2: there is no image .*png: unpack the dataset again"):
        open_dataset(f"euroc:{euroc}?camera=cam1").records("all")
