"""Localization of a dataset of several cameras as a rig: instants, poses of all images, and the report."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cli_helpers import Vizloc

from vizloc_ros.datasets.record import Mounting, Record
from vizloc_ros.datasets.synthetic import SyntheticStreet, open_synthetic
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.rig_localization import evaluate_rig, instants_of
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.visual_map import VisualMap

SPEC = "length=8&width=400&height=250&cameras=front,rear"
MS = 1_000_000


@pytest.fixture(scope="module")
def rig_street() -> SyntheticStreet:
    return open_synthetic(SPEC)


@pytest.fixture(scope="module")
def rig_map(rig_street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> VisualMap:
    folder = tmp_path_factory.mktemp("rig") / "map"
    build_map(rig_street.records("map"), open_extractor("rootsift"), folder, dataset=rig_street.name)
    return VisualMap.open(folder)


def records_at(street: SyntheticStreet, *times: tuple[str, int]) -> list[Record]:
    """Records of cameras at times [ms]."""
    record = street.records("query")[0]
    return [
        replace(record, name=f"{camera}{time}", timestamp_ns=time * MS, mounting=Mounting(camera))
        for camera, time in times
    ]


def test_images_near_in_time_are_of_one_instant(rig_street: SyntheticStreet) -> None:
    records = records_at(rig_street, ("a", 100), ("b", 104), ("b", 90), ("a", 200), ("a", 206), ("c", 111), ("b", 120))
    grouped = [[record.name for record in group] for group in instants_of(records, 0.01)]
    assert grouped == [["b90", "a100"], ["b104", "c111"], ["b120"], ["a200"], ["a206"]]
    assert [len(group) for group in instants_of(records, 0)] == [1] * 7


@pytest.mark.e2e
def test_every_image_gets_the_pose_that_follows_from_the_vehicle(
    rig_map: VisualMap, rig_street: SyntheticStreet, tmp_path: Path
) -> None:
    records = rig_street.records("query")[4:16]
    report = evaluate_rig(rig_map, records, tmp_path / "out", tolerance=0.01, details={"note": "x"})
    assert (report["num_images"], report["num_poses"], report["num_instants"]) == (12, 12, 6)
    assert report["supported_by"] == {"front": 6, "rear": 6}
    assert report["recall"]["0.25m_2deg"] == 1.0
    assert report["median_translation_m"] < 0.03
    assert json.loads((tmp_path / "out" / "report.json").read_text())["note"] == "x"
    covered = [
        replace(record, read_image=lambda: rig_street.records("query")[0].read_image() // 200)
        if record.mounting.camera == "front"
        else record
        for record in records
    ]
    report = evaluate_rig(rig_map, covered, tmp_path / "out", tolerance=0.01)
    assert report["num_poses"] == 12
    assert report["supported_by"] == {"rear": 6}


def test_a_camera_that_is_nowhere_on_the_vehicle_is_named(
    rig_map: VisualMap, rig_street: SyntheticStreet, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"front0: the dataset does not tell where front is on the vehicle"):
        evaluate_rig(rig_map, records_at(rig_street, ("front", 0)), tmp_path, tolerance=0.01)


@pytest.mark.e2e
def test_the_command(vizloc: Vizloc, rig_map: VisualMap, tmp_path: Path) -> None:
    arguments = ("localize", rig_map.folder, f"synthetic:{SPEC}", "--every", 5, "--rig")
    assert vizloc(*arguments, "--out", tmp_path / "out").code == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["num_instants"] >= 3
    refused = vizloc(*arguments, "--refine", "pixloc", "--out", tmp_path / "other")
    assert refused.code == 2
    assert "--rig with --refine" in refused.err
