"""The real street: golden numbers on a part of it, with some room for other versions of OpenCV, COLMAP and weights."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.map_comparison import recall_of_maps
from vizloc_ros.evaluation.offline_localization import OfflineRun, localize_records
from vizloc_ros.evaluation.recall import RecallReport, evaluate_poses
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.build_report import BuildReport
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.prune import choose_part
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.readers import open_dataset

pytestmark = pytest.mark.e2e

MAP_FRAMES = slice(60, 120, 3)  # 20 of the first pass, 33 m
NEAR_M = 3.0


@dataclass(frozen=True)
class Golden:
    """Bounds for one extractor."""

    landmarks: int
    track_length: float
    reprojection_error_px: float
    pose_agreement: float
    median_m: float
    median_deg: float
    r1_5m: float
    inliers: int


GOLDEN = {
    "rootsift": Golden(2000, 4.3, 0.6, 0.5, 0.015, 0.04, 1.0, 250),
    "hfnet": Golden(2800, 3.1, 1.1, 0.55, 0.0125, 0.025, 0.6, 235),
}


@pytest.fixture(scope="module", params=GOLDEN)
def extractor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def golden(extractor: str) -> Golden:
    return GOLDEN[extractor]


@pytest.fixture(scope="module")
def build(extractor: str, kitti00: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[VisualMap, BuildReport]:
    folder, device = tmp_path_factory.mktemp("kitti00") / "map", Device(threads=1)
    records = open_dataset(f"folder:{kitti00}").records("map")[MAP_FRAMES]
    report = build_map(records, open_extractor(extractor, device=device), folder, dataset="folder:kitti00")
    return VisualMap.open(folder, device), report


@pytest.fixture(scope="module")
def queries(kitti00: Path, build: tuple[VisualMap, BuildReport]) -> list[Record]:
    """Every sixth frame of the second pass that is where the map is."""
    visual_map, _ = build
    centres = visual_map.keyframe_poses[:, :3]
    return [
        record
        for record in open_dataset(f"folder:{kitti00}").records("query")
        if np.linalg.norm(centres - record.world_from_cam.translation, axis=1).min() < NEAR_M
    ][::6]


@pytest.fixture(scope="module")
def localized(queries: list[Record], build: tuple[VisualMap, BuildReport]) -> tuple[OfflineRun, RecallReport]:
    visual_map, _ = build
    run = localize_records(queries, visual_map, HierarchicalLocalizer(visual_map))
    return run, evaluate_poses(run.estimates, {record.name: record.world_from_cam for record in queries})


def test_the_map_is_dense_and_agrees_with_its_poses(build: tuple[VisualMap, BuildReport], golden: Golden) -> None:
    visual_map, report = build
    assert map_problems(visual_map.folder) == []
    assert report.keyframes == 20
    assert report.warnings == []
    assert report.weak_keyframes == []
    assert report.landmarks > golden.landmarks
    assert report.mean_track_length > golden.track_length
    assert report.mean_reprojection_error_px < golden.reprojection_error_px
    assert report.pose_agreement > golden.pose_agreement
    assert 15 < report.median_depth_m < 30
    assert report.median_speed_mps == pytest.approx(7.07, abs=0.05)


def test_the_second_pass_is_localized(localized: tuple[OfflineRun, RecallReport], golden: Golden) -> None:
    run, recall = localized
    assert recall.num_images == 8
    assert run.unlocalized == {}
    assert recall.recall["0.25m_2deg"] == 1.0
    assert max(error.translation_m for error in recall.errors.values()) < 0.06
    assert recall.median_translation_m < golden.median_m
    assert recall.median_rotation_deg < golden.median_deg
    assert run.retrieval["r1_5m"] >= golden.r1_5m
    assert run.retrieval["r10_5m"] == 1.0
    assert min(len(outcome.pose.keypoints) for outcome in run.outcomes.values()) >= golden.inliers


def test_half_of_the_map_localizes_as_well(
    build: tuple[VisualMap, BuildReport], queries: list[Record], golden: Golden, tmp_path: Path
) -> None:
    """Docs: on the whole street, a half costs no recall."""
    visual_map, _ = build
    choose_part(visual_map, 0.5).write({}, tmp_path / "half")
    half = VisualMap.open(tmp_path / "half", Device(threads=1))
    assert map_problems(half.folder) == []
    assert half.info.observations <= 0.5 * visual_map.info.observations
    (recall,) = recall_of_maps([half], queries)
    assert recall.recall["0.25m_2deg"] == 1.0
    assert recall.median_translation_m is not None
    assert recall.median_translation_m < 2 * golden.median_m
