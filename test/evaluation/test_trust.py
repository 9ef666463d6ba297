"""Faults of ``vizloc evaluate trust``: what they do to records, how claims are counted, and the command."""

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Vizloc
from pixloc_helpers import LONG_SIDE
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import ConfigError, VizlocError
from vizloc_ros.evaluation.altered_records import Drive
from vizloc_ros.evaluation.evidence import log10_chance
from vizloc_ros.evaluation.faults import FAULTS, Fault, chosen_faults
from vizloc_ros.evaluation.trust import Claim, TrustRow
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.mapping.visual_map import VisualMap

SECOND = 1_000_000_000
BEGIN = 3


@pytest.fixture(scope="module")
def drive(street: SyntheticStreet) -> Drive:
    """Twelve images, kept in memory; the fault begins with the fourth."""
    images = [(record, record.read_image()) for record in street.records("query")[:12]]
    kept = [replace(record, read_image=lambda image=image: image) for record, image in images]
    return Drive(kept, BEGIN, [replace(record, read_image=lambda: np.zeros((250, 400), np.uint8)) for record in kept])


def read(record: Record) -> np.ndarray | str:
    try:
        return record.read_image()
    except VizlocError as error:
        return str(error)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.world == "street"], ids=lambda fault: fault.name)
def test_a_fault_begins_where_it_should_and_changes_what_the_localizer_gets(fault: Fault, drive: Drive) -> None:
    altered = fault.alter(drive)
    assert [record.name for record in altered[:BEGIN]] == [record.name for record in drive.records[:BEGIN]]
    stamps = [record.timestamp_ns for record in altered]
    assert stamps == sorted(set(stamps))
    for record in altered[:BEGIN]:
        assert record in drive.records
    by_name = {record.name: record for record in drive.records}
    changed = len(altered) != len(drive.records)
    for record in altered[BEGIN + 1 :]:
        image = read(record)
        own = by_name[record.name.removesuffix(" again")]
        changed |= isinstance(image, str) or record.camera != own.camera or not np.array_equal(image, own.read_image())
        if not isinstance(image, str):
            assert image.shape[:2] == (250, 400)
            assert image.dtype == np.uint8
    assert changed is (fault.name != "none")


def test_every_fault_has_a_name_and_says_what_it_does() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 50
    assert all(fault.does and fault.expected and fault.runs for fault in FAULTS)
    assert chosen_faults(["mirrored", "dirt"]) == [f for n in ("mirrored", "dirt") for f in FAULTS if f.name == n]
    with pytest.raises(ConfigError, match="there is no fault 'dust'; there is: none, upper half covered"):
        chosen_faults(["dust"])


def claim(second: float, meters: float | None, degrees: float = 0.0, truth: bool = True) -> Claim:
    at = Rigid3d()
    record = Record("", round(second * SECOND), PinholeCamera(4, 4, 4, 4, 2, 2), "", at if truth else None, np.empty)
    if meters is None:
        return Claim.of(record, None, f"only {second:g} inliers")
    angle = np.array([0, 0, np.sin(np.radians(degrees / 2)), np.cos(np.radians(degrees / 2))])
    return Claim.of(record, Rigid3d(Rotation3d(angle), np.array([meters, 0, 0])), "")


def test_wrong_poses_their_longest_time_and_reasons_are_counted() -> None:
    claims = [claim(0, 0.1), claim(1, 0.6), claim(2, 0.0, 6.0), claim(3, None), claim(4, 9.0), claim(6, None)]
    row = TrustRow.of("x", "tracker", "", claims)
    assert (row.images, row.poses, row.wrong) == (6, 4, 3)
    assert (row.longest_wrong_s, row.wrong_until_s) == (2.0, 4.0)
    assert row.largest_error_m == 9.0
    assert row.largest_error_deg == pytest.approx(6.0)
    assert row.reasons == {"only 3 inliers": 2}
    nothing = TrustRow.of("x", "tracker", "", [claim(1, None)])
    assert (nothing.wrong, nothing.wrong_until_s, nothing.largest_error_m) == (0, None, None)


def test_a_late_pose_is_wrong_for_a_recorded_drive_but_not_for_a_vehicle_on_its_way() -> None:
    claims = [claim(0, 0.6), replace(claim(1, 0.7), is_late=True), replace(claim(2, 0.0), is_late=True), claim(3, 0.0)]
    row = TrustRow.of("x", "tracker", "", claims)
    assert (row.poses, row.wrong, row.late) == (4, 2, 2)
    assert (row.longest_wrong_s, row.wrong_until_s, row.largest_error_m) == (1.0, 0.0, 0.7)


def test_where_no_pose_is_right_every_pose_is_wrong() -> None:
    row = TrustRow.of("x", "localizer", "", [claim(0, 0.0, truth=False), claim(1, None, truth=False)])
    assert (row.poses, row.wrong, row.largest_error_m, row.longest_wrong_s) == (1, 1, math.inf, 1.0)


def test_few_inliers_among_many_matches_are_chance() -> None:
    camera = PinholeCamera(640, 400, 350, 350, 320, 200)
    assert log10_chance(200, 7, camera, 8.0) > 0 > log10_chance(20, 8, camera, 8.0)
    assert log10_chance(200, 60, camera, 8.0) < -40


@pytest.mark.e2e
def test_the_command_writes_table_report_and_evidence(vizloc: Vizloc, tracked_map: VisualMap, tmp_path: Path) -> None:
    faults = ("none", "fx = 1e300")
    shutil.copytree(tracked_map.folder, tmp_path / "maps" / "street")  # of the same images, so it is not built again
    (tmp_path / "small.yaml").write_text(f"long_side: {LONG_SIDE}\n")
    options = [option for fault in faults for option in ("--only", fault)]
    options += ["--extractor", "rootsift", "--config", str(tmp_path / "small.yaml"), "--out", str(tmp_path)]
    ended = vizloc("evaluate", "trust", "--quick", "--evidence", *options)
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "report.json").read_text())
    rows = {(row["fault"], row["run"]): row for row in report["rows"]}
    assert rows.keys() == {(fault, run) for fault in faults for run in ("localizer", "tracker")}
    assert report["num_wrong"] == sum(row["wrong"] for row in report["rows"])
    assert rows["none", "localizer"]["wrong"] == rows["none", "tracker"]["wrong"] == 0
    assert rows["none", "tracker"]["poses"] >= 0.9 * rows["none", "tracker"]["images"] > 5
    assert rows["fx = 1e300", "localizer"]["poses"] == 0 < len(rows["fx = 1e300", "localizer"]["reasons"])
    with (tmp_path / "trust.csv").open() as file:
        assert [row["fault"] for row in csv.DictReader(file)] == [fault for fault in faults for _ in range(2)]
    with (tmp_path / "evidence" / "street" / "candidates.csv").open() as file:
        candidates = list(csv.DictReader(file))
    given = [row for row in candidates if row["given"] == "1" and row["fault"] == "none"]
    assert len(given) == rows["none", "localizer"]["poses"] > 0
    assert all(float(row["error_m"]) < 0.5 and float(row["log10_chance"]) < -10 for row in given)
    with np.load(tmp_path / "evidence" / "street" / "matches.npz") as arrays:
        assert len(arrays["begin"]) == len(candidates) + 1
        assert arrays["begin"][-1] == len(arrays["pixels"]) == len(arrays["inlier"])
        first = arrays["inlier"][: arrays["begin"][1]]
        assert (len(first), first.sum()) == (int(candidates[0]["matches"]), int(candidates[0]["inliers"]))
    assert all(fault in ended.out for fault in faults)
    assert (tmp_path / "trust.md").read_text().count("\n| none | tracker | ") == 1


def test_the_command_lists_the_faults_and_asks_for_a_folder(vizloc: Vizloc) -> None:
    listed = vizloc("evaluate", "trust", "--list")
    assert all(fault.name in listed.out for fault in FAULTS)
    assert vizloc("evaluate", "trust").code == 2
