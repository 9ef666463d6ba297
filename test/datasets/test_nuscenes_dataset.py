"""nuScenes: a pose through the vehicle and a pixel by hand, scenes and cameras, and what is said when broken."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reprojection import assert_seen_at_spot, spot
from sfm_helpers import pattern, posed, write_image

from vizloc_ros.errors import DatasetError
from vizloc_ros.readers import open_dataset

SIZE = (160, 90)  # a tenth of the dataset's
H = 0.70710678118
FRONT = "samples/CAM_FRONT/n015-2018-07-24-11-22-45+0800__CAM_FRONT__1532402927612460.jpg"
SWEEP = "sweeps/CAM_FRONT/n015-2018-07-24-11-22-45+0800__CAM_FRONT__1532402927662460.jpg"
BACK = "samples/CAM_BACK/n015-2018-07-24-11-22-45+0800__CAM_BACK__1532402927637525.jpg"
OTHER = "samples/CAM_FRONT/n008-2018-08-01-15-16-36-0400__CAM_FRONT__1533151603512404.jpg"
LIDAR = "samples/LIDAR_TOP/n015-2018-07-24-11-22-45+0800__LIDAR_TOP__1532402927647951.pcd.bin"


def sample_data(name: str, stamp: int, sensor: str, sample: str, is_key_frame: bool = True) -> dict[str, Any]:
    return {
        "token": f"data-{stamp}",
        "sample_token": sample,
        "ego_pose_token": f"pose-{stamp}",
        "calibrated_sensor_token": sensor,
        "timestamp": stamp,
        "fileformat": "jpg",
        "is_key_frame": is_key_frame,
        "width": SIZE[0] if "CAM" in name else 0,
        "height": SIZE[1] if "CAM" in name else 0,
        "filename": name,
        "prev": "",
        "next": "",
    }


def ego_pose(stamp: int, rotation: list[float], translation: list[float]) -> dict[str, Any]:
    return {"token": f"pose-{stamp}", "timestamp": stamp, "rotation": rotation, "translation": translation}


# The front camera looks along the vehicle's x: its axes are the vehicle's -y, -z, x. The back camera looks along -x.
INTRINSIC = [[126.6, 0.0, 81.6], [0.0, 126.6, 49.1], [0.0, 0.0, 1.0]]
TABLES: dict[str, list[dict[str, Any]]] = {
    "sensor": [
        {"token": "front", "channel": "CAM_FRONT", "modality": "camera"},
        {"token": "back", "channel": "CAM_BACK", "modality": "camera"},
        {"token": "top", "channel": "LIDAR_TOP", "modality": "lidar"},
    ],
    "calibrated_sensor": [
        {
            "token": "front-15",
            "sensor_token": "front",
            "translation": [1.7, 0.0, 1.5],
            "rotation": [0.5, -0.5, 0.5, -0.5],
            "camera_intrinsic": INTRINSIC,
        },
        {
            "token": "back-15",
            "sensor_token": "back",
            "translation": [0.0, 0.0, 1.5],
            "rotation": [0.5, -0.5, -0.5, 0.5],
            "camera_intrinsic": INTRINSIC,
        },
        {
            "token": "top-15",
            "sensor_token": "top",
            "translation": [0.9, 0.0, 1.8],
            "rotation": [1.0, 0.0, 0.0, 0.0],
            "camera_intrinsic": [],
        },
    ],
    "log": [
        {"token": "log-15", "logfile": "n015", "vehicle": "n015", "location": "singapore-onenorth"},
        {"token": "log-8", "logfile": "n008", "vehicle": "n008", "location": "boston-seaport"},
    ],
    "scene": [
        {"token": "scene-b", "name": "scene-0655", "log_token": "log-8"},
        {"token": "scene-a", "name": "scene-0061", "log_token": "log-15"},
    ],
    "sample": [
        {"token": "sample-a", "timestamp": 1532402927647951, "scene_token": "scene-a", "prev": "", "next": ""},
        {"token": "sample-b", "timestamp": 1533151603547590, "scene_token": "scene-b", "prev": "", "next": ""},
    ],
    "ego_pose": [
        ego_pose(1532402927612460, [H, 0.0, 0.0, H], [411.0, 1180.0, 0.0]),
        ego_pose(1532402927662460, [H, 0.0, 0.0, H], [411.0, 1181.0, 0.0]),
        ego_pose(1532402927637525, [H, 0.0, 0.0, H], [411.0, 1180.5, 0.0]),
        ego_pose(1533151603512404, [1.0, 0.0, 0.0, 0.0], [10.0, 20.0, 0.0]),
        ego_pose(1532402927647951, [1.0, 0.0, 0.0, 0.0], [10.0, 20.0, 0.0]),
    ],
    "sample_data": [
        sample_data(SWEEP, 1532402927662460, "front-15", "sample-a", is_key_frame=False),
        sample_data(FRONT, 1532402927612460, "front-15", "sample-a"),
        sample_data(BACK, 1532402927637525, "back-15", "sample-a"),
        sample_data(OTHER, 1533151603512404, "front-15", "sample-b"),
        sample_data(LIDAR, 1532402927647951, "top-15", "sample-a"),
    ],
}


@pytest.fixture
def nuscenes(tmp_path: Path) -> Path:
    for name in (FRONT, SWEEP, BACK, OTHER):
        write_image(tmp_path / name, pattern(SIZE))
    (tmp_path / "v1.0-mini").mkdir()
    for name, rows in TABLES.items():
        (tmp_path / "v1.0-mini" / f"{name}.json").write_text(json.dumps(rows, indent=0))
    return tmp_path


def test_a_pose_through_the_vehicle_and_a_pixel_by_hand(nuscenes: Path) -> None:
    # The vehicle's x is the world's y. The camera is 1.7 m ahead and 1.5 m up; its x is the world's x, its y is -z.
    # The camera's (1, -0.5, 5) is at 126.6 * 0.2 + 81.6 = 106.92, 126.6 * -0.1 + 49.1 = 36.44.
    write_image(nuscenes / FRONT.replace("jpg", "png"), spot(SIZE, 106.92, 36.44))
    (nuscenes / FRONT.replace("jpg", "png")).replace(nuscenes / FRONT)  # without loss: the content tells the format
    dataset = open_dataset(f"nuscenes:{nuscenes}")
    assert (dataset.name, tuple(dataset.splits)) == (f"nuscenes:{nuscenes}", ("scene-0061", "scene-0655"))
    front, sweep = dataset.records("scene-0061")
    assert (front.name, front.timestamp_ns, front.camera.size) == (FRONT, 1532402927612460000, SIZE)
    assert sweep.name == SWEEP
    np.testing.assert_allclose(posed(front).translation, [411, 1181.7, 1.5], atol=1e-9)
    assert_seen_at_spot(front, (412, 1186.7, 2.0), tolerance=0.01)


def test_cameras_and_frames_are_chosen(nuscenes: Path) -> None:
    (back,) = open_dataset(f"nuscenes:{nuscenes}?camera=CAM_BACK").records("scene-0061")
    np.testing.assert_allclose(posed(back).rotation.matrix()[:, 2], [0, -1, 0], atol=1e-9)  # against the vehicle's x
    both = open_dataset(f"nuscenes:{nuscenes}?camera=CAM_FRONT,CAM_BACK").records("scene-0061")
    assert [record.name for record in both] == [FRONT, BACK, SWEEP]
    keyframes = open_dataset(f"nuscenes:{nuscenes}?frames=keyframes").records("scene-0061")
    assert [record.name for record in keyframes] == [FRONT]


def test_splits_are_scenes_of_one_world(nuscenes: Path) -> None:
    dataset = open_dataset(f"nuscenes:{nuscenes}?version=v1.0-mini&map=scene-0061&query=scene-0655")
    assert tuple(dataset.splits) == ("scene-0061", "scene-0655", "map", "query")
    assert [record.name for record in dataset.records("query")] == [OTHER]
    with pytest.raises(DatasetError, match=r"map=scene-0061,scene-0655: the scenes are in boston-.*, singapore-onen"):
        open_dataset(f"nuscenes:{nuscenes}?map=scene-0061,scene-0655")


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("scene", "scene-a", "scene-c", r"scene.json: there is no token 'scene-a', which another table has"),
        ("sample_data", '"filename"', '"name"', r"sample_data.json: row 0 lacks filename; it is no table of nuScenes"),
        ("ego_pose", "0.70710678118,", "0.5,", r"ego_pose.json: pose-1532402927662460: the quaternion .* norm 0.866"),
        ("ego_pose", "411.0,", "", r"ego_pose.json: pose-1532402927662460: expected a translation of 3 numbers"),
        ("calibrated_sensor", "126.6,", "-1,", r"calibrated_sensor.json: front-15: camera_intrinsic is no 3x3 matrix"),
        ("calibrated_sensor", "81.6", "", r"calibrated_sensor.json:\d+: not JSON: "),
        ("log", "[", "{}, [", r"log.json:1: not JSON: Extra data"),
    ],
)
def test_broken_tables_are_named(nuscenes: Path, table: str, old: str, new: str, message: str) -> None:
    path = nuscenes / "v1.0-mini" / f"{table}.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"nuscenes:{nuscenes}")


def test_what_is_missing_is_named(nuscenes: Path) -> None:
    with pytest.raises(DatasetError, match=r"nuscenes:.*: camera=CAM_TOP; there is CAM_FRONT, CAM_FRONT_LEFT"):
        open_dataset(f"nuscenes:{nuscenes}?camera=CAM_TOP")
    with pytest.raises(DatasetError, match=r"nuscenes:.*: query=scene-0001; there is scene-0655, scene-0061"):
        open_dataset(f"nuscenes:{nuscenes}?query=scene-0001")
    with pytest.raises(DatasetError, match=r"1 versions .* \(v1.0-mini\); version=v1.0-test is none of them"):
        open_dataset(f"nuscenes:{nuscenes}?version=v1.0-test")
    (nuscenes / SWEEP).unlink()
    with pytest.raises(DatasetError, match=r"data-1532402927662460: there is no image .*: unpack its blobs, or read"):
        open_dataset(f"nuscenes:{nuscenes}").records("scene-0061")
    (nuscenes / "v1.0-mini/ego_pose.json").unlink()
    with pytest.raises(DatasetError, match=r"ego_pose.json: cannot be read: No such file"):
        open_dataset(f"nuscenes:{nuscenes}")
    with pytest.raises(DatasetError, match=r"samples: there is no \*/sample_data.json in it; it should be nuScenes"):
        open_dataset(f"nuscenes:{nuscenes / 'samples'}")
    (nuscenes / "v1.0-test").mkdir()
    (nuscenes / "v1.0-test/sample_data.json").touch()
    with pytest.raises(DatasetError, match=rf"2 versions .*; name one of them: nuscenes:{nuscenes}\?version=v1.0-mini"):
        open_dataset(f"nuscenes:{nuscenes}")
