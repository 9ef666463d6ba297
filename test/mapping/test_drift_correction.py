"""Correction of poses that drift: a drive around a block of points, with features and without images."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Vizloc
from point_street import RADIUS, PointStreet, described
from posed_folder import write_posed_folder
from sfm_helpers import posed

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.geometry.poses import pose_error, pose_of
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.mapping.drift_correction import DriftOptions, correct_drift
from vizloc_ros.mapping.drift_report import DriftReport
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions
from vizloc_ros.mapping.triangulation import TriangulationOptions
from vizloc_ros.mapping.visual_map import VisualMap

LAP = 2 * np.pi * RADIUS  # m
STEP = 3.0  # m


@pytest.fixture(scope="module")
def lap() -> list[Keyframe]:
    """Keyframes of a lap and a bit more, with their true poses."""
    street = PointStreet(7, count=2000, length=LAP)
    views = [street.view(STEP * k, noise_px=0.3) for k in range(round((LAP + 15) / STEP))]
    return described([view.keyframe for view in views])[0]


def drifted(keyframes: Sequence[Keyframe], seed: int = 0) -> list[Keyframe]:
    """The keyframes by an odometry: steps 2 % wrong, and a heading that is 2 % of the way off after 40 m."""
    rng, poses = np.random.default_rng(seed), [keyframes[0].map_from_cam]
    for a, b in pairwise(keyframes):
        step = a.map_from_cam.inverse() * b.map_from_cam
        error = se3_exp(np.array([0, 0, 0.02 * STEP * rng.normal(), 0, 0.001 * STEP, 0]))
        poses.append(poses[-1] * step * error)
    return [replace(k, map_from_cam=pose) for k, pose in zip(keyframes, poses, strict=True)]


def corrected(keyframes: Sequence[Keyframe]) -> tuple[list[Keyframe], DriftReport]:
    return correct_drift(keyframes, [""] * len(keyframes), DriftOptions(), PairOptions(), TriangulationOptions())


def errors(keyframes: Sequence[Keyframe], truth: Sequence[Keyframe]) -> np.ndarray:
    """(N, 2) errors of the poses [m, deg]."""
    return np.array([pose_error(k.map_from_cam, t.map_from_cam) for k, t in zip(keyframes, truth, strict=True)])


def test_a_lap_closes(lap: list[Keyframe]) -> None:
    odometry = drifted(lap)
    found, report = corrected(odometry)
    before, after = errors(odometry, lap).max(axis=0), errors(found, lap).max(axis=0)
    assert before[0] > 6
    assert before[1] > 5
    assert after[0] < 0.4
    assert after[1] < 0.3
    assert errors(found, odometry)[0].max() < 1e-6
    assert [k.name for k in found] == [k.name for k in lap]
    moved = errors(found, odometry)
    assert (report.moved_median_m, report.turned_max_deg) == pytest.approx((np.median(moved[:, 0]), moved[:, 1].max()))
    assert report.corrected
    assert report.loops_tried >= report.loops_verified - report.loops_rejected >= 3
    assert report.error_after_px < 0.7 * report.error_before_px
    assert report.revisit_error_after_px < 1 < report.revisit_error_before_px
    assert report.open_stretches == []
    assert "moved by" in report.lines[0]


def test_a_drive_that_does_not_close_says_so(lap: list[Keyframe]) -> None:
    truth = lap[:24]
    odometry = drifted(truth)
    found, report = corrected(odometry)
    before, after = errors(odometry, truth).max(axis=0), errors(found, truth).max(axis=0)
    assert before[0] > 1
    assert after[0] < 0.6
    assert after[1] < 0.3
    assert report.loops_verified == 0
    assert report.open_stretches == [f"{truth[0].name} to {truth[-1].name}, {report.way_m:.0f} m"]
    assert report.lines[-1].startswith(f"no loop closes {truth[0].name} to {truth[-1].name}")


def test_good_poses_stay_bit_by_bit(lap: list[Keyframe]) -> None:
    truth = lap[:14]
    found, report = corrected(truth)
    assert found == truth
    assert not report.corrected
    assert (report.moved_max_m, report.turned_max_deg) == (0, 0)
    assert 0 < report.error_after_px < 1
    assert report.lines[0].startswith("poses stay as they are")


def test_a_camera_at_rest_keeps_its_poses(lap: list[Keyframe]) -> None:
    at_rest = [replace(lap[0], name=str(k)) for k in range(4)]
    found, report = corrected(at_rest)
    assert found == at_rest
    assert not report.corrected
    assert report.open_stretches == []


def test_poses_of_another_convention_stay_for_the_diagnosis(lap: list[Keyframe]) -> None:
    inverted = [replace(k, map_from_cam=k.map_from_cam.inverse()) for k in lap[:8]]
    found, report = corrected(inverted)
    assert found == inverted
    assert not report.corrected


@pytest.mark.e2e
def test_the_command_corrects_poses_and_the_map_says_so(
    vizloc: Vizloc, street: SyntheticStreet, tmp_path: Path
) -> None:
    records = street.records("map")[2:20:2]
    poses = [posed(records[0])]
    for a, b in pairwise(records):
        poses.append(poses[-1] * posed(a).inverse() * posed(b) * se3_exp(np.array([0, 0, 0, 0, np.radians(0.5), 0])))
    write_posed_folder(
        tmp_path / "odometry", [replace(r, world_from_cam=p) for r, p in zip(records, poses, strict=True)]
    )
    few, worse = tmp_path / "few.yaml", tmp_path / "worse.yaml"
    few.write_text("max_keypoints: 1000")
    worse.write_text("refine_poses: {turn_drift: 0.5}")
    arguments = (f"folder:{tmp_path / 'odometry'}", "--extractor", "rootsift", "--extractor-config", few, "--no-pixloc")
    ended = vizloc("map", "build", *arguments, "--out", tmp_path / "map", "--refine-poses", "--config", worse)
    assert ended.code == 0
    assert "poses corrected over 8 m: moved by " in ended.out
    assert "loop closures: 0 pairs tried" in ended.out
    built = VisualMap.open(tmp_path / "map")
    errors_before, errors_after = (
        np.array([pose_error(p, posed(r)) for p, r in zip(of, records, strict=True)]).max(axis=0)
        for of in (poses, [pose_of(row) for row in built.keyframe_poses])
    )
    assert errors_before[1] > 3.9
    assert errors_after[1] < 0.4
    assert errors_after[0] < 0.5 * errors_before[0]
    assert built.info.build["drift"]["corrected"] is True
    assert built.info.build["drift"]["open_stretches"] == [f"{records[0].name}.png to {records[-1].name}.png, 8 m"]
    assert "poses corrected over 8 m" in vizloc("map", "info", tmp_path / "map").out
