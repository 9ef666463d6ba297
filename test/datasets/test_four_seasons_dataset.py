"""4Seasons: a scaled pose and a pixel by hand, both cameras, a common world, and what is said when broken."""

from pathlib import Path

import numpy as np
import pytest
from reprojection import assert_seen_at_spot, spot
from sfm_helpers import pattern, posed, write_image

from vizloc_ros.errors import DatasetError
from vizloc_ros.readers import open_dataset

SIZE = (160, 80)  # a fifth of the dataset's
H = "0.70710678118"
IDS = (1602143848000000000, 1602143848033333300, 1602143848066666600, 1602143849000000000)
TIMES = "".join(f"{stamp} {stamp / 1e9:.9f} 1.5\n" for stamp in IDS)
POSES = f"""# frame_id, translation vector, rotation quaternion, scale, fusion quality
{IDS[0]},1.0,2.0,3.0,0.0,0.0,0.0,1.0,2.0,1,3
{IDS[2]},2.0,2.0,3.0,0.0,0.0,0.0,1.0,2.0,1,3
"""
# The odometry's world is the GNSS's, turned by 90 degrees about x and shifted by (10, 20, 30).
TRANSFORMATIONS = f"""# transform_S_AS: translation vector, rotation quaternion
0.000000,0.000000,0.000000,0.000000,0.000000,0.000000,1.000000

# TS_cam_imu: translation vector, rotation quaternion
0.175412,0.003689,-0.058106,-0.007202,0.708623,-0.705546,-0.002350

# transform_w_gpsw: translation vector, rotation quaternion
10.0,20.0,30.0,{H},0.0,0.0,{H}

# transform_gps_imu: translation vector, rotation quaternion
0.000000,0.000000,0.000000,0.000000,0.000000,0.000000,1.000000

# transform_e_gpsw: translation vector, rotation quaternion
4172814.0,857504.0,4731704.0,0.0,0.0,0.0,1.0

# GNSS scale
0.969397
"""


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    folder = tmp_path / "recording_2020-10-08_09-57-28"
    for camera in ("cam0", "cam1"):
        for stamp in IDS:
            write_image(folder / f"undistorted_images/{camera}/{stamp}.png", pattern(SIZE))
    (folder / "times.txt").write_text(TIMES)
    (folder / "GNSSPoses.txt").write_text(POSES)
    (folder / "Transformations.txt").write_text(TRANSFORMATIONS)
    calibration = tmp_path / "calibration"
    calibration.mkdir()
    for index in (0, 1):
        (calibration / f"undistorted_calib_{index}.txt").write_text(
            "Pinhole 100.0 100.0 84.0 33.0 0.0 0.0 0.0 0.0\n160 80\ncrop\n160 80\n"
        )
    (calibration / "undistorted_calib_stereo.txt").write_text("1 0 0 -0.3\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    return folder


def test_a_scaled_pose_and_a_pixel_by_hand(recording: Path) -> None:
    # Scaled, the camera is at (2, 4, 6) in the odometry's world. Less (10, 20, 30): (-8, -16, -24); turned back by 90
    # degrees about x, (x, y, z) is (x, z, -y): (-8, -24, 16). The camera's z is the world's y, its y is -z.
    # The camera's (1, -0.5, 4) is at 100 * 0.25 + 84 = 109, 100 * -0.125 + 33 = 20.5.
    write_image(recording / f"undistorted_images/cam0/{IDS[0]}.png", spot(SIZE, 109.0, 20.5))
    dataset = open_dataset(f"4seasons:{recording}")
    assert (dataset.name, tuple(dataset.splits)) == (f"4seasons:{recording}", ("all", "posed"))
    first, between, second, later = dataset.records("all")
    assert (first.name, first.timestamp_ns) == (f"undistorted_images/cam0/{IDS[0]}.png", IDS[0])
    np.testing.assert_allclose(posed(first).translation, [-8, -24, 16], atol=1e-8)
    assert_seen_at_spot(first, (-8 + 1, -24 + 4, 16 + 0.5), tolerance=0.01)
    np.testing.assert_allclose(posed(between).translation, [-7, -24, 16], atol=1e-6)
    np.testing.assert_allclose(posed(second).translation, [-6, -24, 16], atol=1e-8)
    assert later.world_from_cam is None


def test_the_right_camera_is_right_of_the_left(recording: Path) -> None:
    dataset = open_dataset(f"4seasons:{recording}?camera=cam0,cam1&map=0-3")
    left, right = dataset.records("map")[:2]
    assert right.name == f"undistorted_images/cam1/{IDS[0]}.png"
    np.testing.assert_allclose(posed(left).inverse() * posed(right).translation, [0.3, 0, 0], atol=1e-9)


def test_recordings_share_the_world_of_one(recording: Path) -> None:
    other = recording.parent / "recording_2021-01-07_13-30-07"
    other.mkdir()
    (other / "Transformations.txt").write_text(TRANSFORMATIONS.replace("4172814.0,", "4172810.0,"))
    first = open_dataset(f"4seasons:{recording}?world={other}").records("posed")[0]
    np.testing.assert_allclose(posed(first).translation, [-4, -24, 16], atol=1e-6)


def test_recordings_without_poses_are_unposed(recording: Path) -> None:
    (recording / "GNSSPoses.txt").unlink()
    (recording.parent / "calibration").rename(recording / "Calibration")
    dataset = open_dataset(f"4seasons:{recording}?query=1-2")
    assert [record.world_from_cam for record in dataset.records("query")] == [None, None]
    assert tuple(dataset.splits) == ("all", "query")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("times.txt", "", r"times.txt: there is no image in it; expected lines 'frame_id timestamp exposure'"),
        ("times.txt", "1602143848.0 1 1\n", r"times.txt:1: the frame_id is '1602143848.0', not a whole number of nano"),
        ("GNSSPoses.txt", "1,2,3,4,0,0,0,1\n", r"GNSSPoses.txt:1: 8 values; expected 'frame_id, tx, ty, tz, qx, qy"),
        ("GNSSPoses.txt", "1,2,3,4,0,0,0,2,1\n", r"GNSSPoses.txt:1: the quaternion qx qy qz qw has the norm 2"),
        (
            "Transformations.txt",
            TRANSFORMATIONS.replace("transform_S_AS", "transform"),
            r"Transformations.txt: there is no transform_S_AS; expected '# transform_S_AS: ...' and a line below it",
        ),
        (
            "Transformations.txt",
            TRANSFORMATIONS.replace("10.0,", ""),
            r"Transformations.txt: transform_w_gpsw has 6 values; expected 'tx,ty,tz,qx,qy,qz,qw'",
        ),
        (
            "../calibration/undistorted_calib_0.txt",
            "EquiDistant 1 1 1 1 0 0 0 0\n160 80\n",
            r"undistorted_calib_0.txt: no camera of undistorted images; expected the lines 'Pinhole fx fy cx cy",
        ),
        ("../calibration/undistorted_calib_0.txt", "Pinhole 0 1 1 1\n9 9\n", r"undistorted_calib_0.txt: the camera's"),
        ("../calibration/undistorted_calib_stereo.txt", "1 0 0\n", r"calib_stereo.txt: 3 values; expected the 16 of"),
    ],
)
def test_broken_files_are_named(recording: Path, file: str, text: str, message: str) -> None:
    (recording / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"4seasons:{recording}?camera=cam0,cam1")


def test_what_is_missing_is_named(recording: Path) -> None:
    with pytest.raises(DatasetError, match=r"4seasons:.*: camera=cam2; there is cam0, cam1"):
        open_dataset(f"4seasons:{recording}?camera=cam2")
    with pytest.raises(DatasetError, match=r"nowhere/Transformations.txt: cannot be read"):
        open_dataset(f"4seasons:{recording}?world=nowhere")
    with pytest.raises(DatasetError, match=r"nowhere: there is no undistorted_calib_0.txt; unpack calibration.zip"):
        open_dataset(f"4seasons:{recording}?calibration=nowhere")
    (recording / f"undistorted_images/cam0/{IDS[1]}.png").unlink()
    with pytest.raises(DatasetError, match=r"times.txt:2: there is no image .*: unpack its stereo images again"):
        open_dataset(f"4seasons:{recording}").records("all")
