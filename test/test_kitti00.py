"""The real street: golden numbers on a part of it, with some room for other versions of OpenCV and COLMAP."""

from pathlib import Path

import numpy as np
import pytest

from vizloc_ros.datasets.open import open_dataset
from vizloc_ros.evaluation.offline import OfflineRun, localize_records
from vizloc_ros.evaluation.recall import RecallReport, evaluate_poses
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.localization.localizer import HierarchicalLocalizer
from vizloc_ros.mapping.build_report import BuildReport
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.visual_map import VisualMap

pytestmark = pytest.mark.slow

MAP_FRAMES = slice(60, 120, 3)  # 20 of the first pass, 33 m
NEAR_M = 3.0


@pytest.fixture(scope="module")
def build(kitti00: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[VisualMap, BuildReport]:
    folder = tmp_path_factory.mktemp("kitti00") / "map"
    records = open_dataset(f"folder:{kitti00}").records("map")[MAP_FRAMES]
    report = build_map(records, open_extractor("rootsift"), folder, dataset="folder:kitti00")
    return VisualMap.open(folder), report


@pytest.fixture(scope="module")
def localized(kitti00: Path, build: tuple[VisualMap, BuildReport]) -> tuple[OfflineRun, RecallReport]:
    """Every sixth frame of the second pass that is where the map is."""
    visual_map, _ = build
    centres = visual_map.keyframe_poses[:, :3]
    records = [
        record
        for record in open_dataset(f"folder:{kitti00}").records("query")
        if np.linalg.norm(centres - record.world_from_cam.translation, axis=1).min() < NEAR_M
    ][::6]
    run = localize_records(records, visual_map, HierarchicalLocalizer(visual_map))
    return run, evaluate_poses(run.estimates, {record.name: record.world_from_cam for record in records})


def test_the_map_is_dense_and_agrees_with_its_poses(build: tuple[VisualMap, BuildReport]) -> None:
    visual_map, report = build
    assert map_problems(visual_map.folder) == []
    assert report.keyframes == 20
    assert report.warnings == []
    assert report.weak_keyframes == []
    assert report.landmarks > 2000
    assert report.mean_track_length > 4.5
    assert report.mean_reprojection_error_px < 0.6
    assert report.pose_agreement > 0.5
    assert 15 < report.median_depth_m < 30
    assert report.median_speed_mps == pytest.approx(7.07, abs=0.05)


def test_the_second_pass_is_localized(localized: tuple[OfflineRun, RecallReport]) -> None:
    run, recall = localized
    assert recall.num_images == 8
    assert run.unlocalized == {}
    assert recall.recall["0.25m_2deg"] == 1.0
    assert max(error.translation_m for error in recall.errors.values()) < 0.06
    assert recall.median_translation_m < 0.015
    assert recall.median_rotation_deg < 0.04
    assert run.retrieval["r1_5m"] == 1.0
    assert min(outcome.inliers for outcome in run.outcomes.values()) >= 250
