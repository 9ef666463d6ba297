"""The synthetic street as drives of the Oxford RobotCar: read back as it was, mapped, and replayed from its files."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Vizloc
from robotcar_street import write_drive, write_sdk

from vizloc_ros.bags.bag_camera import open_camera
from vizloc_ros.bags.reader import read_messages
from vizloc_ros.datasets.robotcar_poses import ORIGIN
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.readers import open_dataset

MAP_DRIVE, QUERY_DRIVE = "2014-11-28-12-07-13", "2014-12-09-13-21-02"


@pytest.fixture(scope="module")
def robotcar(street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both laps of the street, and the SDK beside them."""
    root: Path = tmp_path_factory.mktemp("robotcar")
    sdk = root / "robotcar-dataset-sdk"
    write_sdk(sdk, street.records("map")[0].camera)
    write_drive(root / MAP_DRIVE, street.records("map"), sdk)
    write_drive(root / QUERY_DRIVE, street.records("query"), sdk)
    return root


def test_poses_and_images_come_back(robotcar: Path, street: SyntheticStreet) -> None:
    dataset = open_dataset(f"robotcar:{robotcar}?map={MAP_DRIVE}&query={QUERY_DRIVE}")
    for split in ("map", "query"):
        records, originals = dataset.records(split), street.records(split)
        assert [r.timestamp_ns for r in records] == [r.timestamp_ns for r in originals]
        for record, original in zip(records, originals, strict=True):
            distance, degrees = pose_error(record.world_from_cam, original.world_from_cam)
            assert distance < 1e-6
            assert degrees < 1e-5
            assert record.camera == original.camera
        inside = np.s_[10:-10, 10:-10]
        difference = records[0].read_image()[inside].mean(axis=2) - originals[0].read_image()[inside]
        assert np.abs(difference).mean() < 4  # twice resampled, and demosaiced


def test_a_drive_becomes_a_bag_with_its_mounting_and_fixes(vizloc: Vizloc, robotcar: Path, tmp_path: Path) -> None:
    """The stereo camera is the origin of the vehicle, and looks ahead; the fix before the first image is left out."""
    dataset = f"robotcar:{robotcar / QUERY_DRIVE}"
    ended = vizloc("bag", "write", dataset, "--split", "all", "--every", 8, "--out", tmp_path / "bag")
    assert ended.code == 0, ended.err
    camera = open_camera(tmp_path / "bag")
    forward = camera.frame_from_cam("base_link").rotation.matrix() @ [0, 0, 1]
    np.testing.assert_allclose(forward, [1, 0, 0], atol=1e-9)
    right = camera.frame_from_cam("base_link").rotation.matrix() @ [1, 0, 0]
    np.testing.assert_allclose(right, [0, -1, 0], atol=1e-9)
    ((_, fix),) = read_messages(tmp_path / "bag", "/fix")
    assert (fix.latitude, fix.longitude, fix.altitude) == (51.76, -1.26, 110.5)
    assert fix.position_covariance.tolist() == [0.0625, 0, 0, 0, 0.25, 0, 0, 0, 4.0]  # east, north, up
    assert fix.position_covariance_type == 2


@pytest.mark.ros
@pytest.mark.alone
def test_one_drive_is_replayed_in_the_map_of_another(vizloc: Vizloc, robotcar: Path, tmp_path: Path) -> None:
    """Published files to poses: raw images with a Bayer pattern, lookup tables and ins.csv; map, bag, nodes.

    Poses are in UTM; the map has a local origin, in which the nodes publish, and the report is in UTM again.
    """
    dataset = f"robotcar:{robotcar}?map={MAP_DRIVE}&query={QUERY_DRIVE}&origin=0,0,0"
    ended = vizloc("map", "build", dataset, "--extractor", "rootsift", "--no-pixloc", "--out", tmp_path / "map")
    assert ended.code == 0, ended.err
    ended = vizloc("replay", dataset, tmp_path / "map", "--rate", 0.25, "--composed", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["num_images"] == report["num_processed"] == 24
    assert report["dropped"] == 0
    assert report["recall"]["0.25m_2deg"] >= 0.95
    assert report["median_translation_m"] < 0.05
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert {"extract", "retrieve", "cluster", "match", "pose"} <= report["timings_ms"].keys()
    positions = np.loadtxt(tmp_path / "out/poses_tum.txt")[:, 1:4]
    np.testing.assert_allclose(positions.mean(axis=0), ORIGIN, atol=100.0)
    for file in ("trajectory.png", "errors.png", "overlay.png", "poses_tum.txt", "poses_visuallocalization.txt"):
        assert (tmp_path / "out" / file).stat().st_size > 100
