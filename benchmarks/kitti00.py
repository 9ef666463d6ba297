"""Map build and all stages of a query on real images (kitti00)."""

import os
from functools import cache
from pathlib import Path
from statistics import median

from machine import product_ms, read_ms
from measure import Cell, Table

from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.offline_localization import OfflineRun, localize_records
from vizloc_ros.evaluation.recall import RecallReport, evaluate_poses, ground_truth
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.build_report import BuildReport
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.readers import open_dataset
from vizloc_ros.timing import Stopwatch

DATA = Path(os.environ.get("VIZLOC_DATA", Path(__file__).parents[1] / "../shared/data")) / "kitti00"


def records(split: str) -> list[Record]:
    """Records of a split of kitti00."""
    if not DATA.is_dir():
        raise DatasetError(f"{DATA}: not there; set VIZLOC_DATA to the folder that holds kitti00")
    return open_dataset(f"folder:{DATA}").records(split)


@cache
def built_map(out: Path) -> tuple[Path, BuildReport]:
    """Map of kitti00 and its report, built once per run."""
    folder, extractor = out / "kitti00_map", open_extractor("hfnet", device=Device(threads=1))
    return folder, build_map(records("map"), extractor, folder, dataset=f"folder:{DATA}")


def benchmark(out: Path) -> list[Table]:
    """Measure the build and the queries."""
    folder, report = built_map(out)
    visual_map, queries = VisualMap.open(folder), records("query")
    localizer = HierarchicalLocalizer(visual_map)
    localize_records(queries[:3], visual_map, localizer)  # warm-up
    run = localize_records(queries, visual_map, localizer, keep_features=True)
    return [_build_table(report), _query_table(run, visual_map, localizer)]


def _build_table(report: BuildReport) -> Table:
    total = sum(report.seconds.values())
    rows: list[list[Cell]] = [
        [stage, seconds, 1e3 * seconds / report.keyframes]
        for stage, seconds in {**report.seconds, "total": total}.items()
    ]
    notes = [
        f"{report.keyframes} images, {report.pairs} pairs, {report.landmarks} landmarks, {report.observations} "
        f"observations, reprojection error {report.mean_reprojection_error_px:.2f} px, "
        f"{(report.map_bytes_per_keyframe or 0) / 1e3:.0f} kB per keyframe with the COLMAP model.",
        "One build. A plain hloc build, measured once on 2 cores: 28 s extraction, 112 s matching, 24 s triangulation.",
    ]
    return Table("kitti00: map build", ("stage", "time [s]", "per keyframe [ms]"), rows, notes)


def _query_table(run: OfflineRun, visual_map: VisualMap, localizer: HierarchicalLocalizer) -> Table:
    sizes = [
        (len(f), max(len(p.landmark_ids) for p in localizer.finder.find(f.global_descriptor, Stopwatch()).places))
        for f in run.features.values()
    ]
    keypoints, observations = median(n for n, _ in sizes), median(m for _, m in sizes)
    first = min(int(keypoints), localizer.solver.options.first_keypoints)
    limits: dict[str, float] = {
        "retrieve": read_ms(visual_map.global_descriptors.nbytes),
        "match": product_ms(first, int(observations), visual_map.info.descriptor_size),
    }
    rows: list[list[Cell]] = [
        [stage, times["p50"], times["p99"], limits.get(stage)] for stage, times in run.timings.percentiles().items()
    ]
    notes = [
        f"{len(run.outcomes)} queries one after the other, after 3 for warm-up: {keypoints:g} keypoints against a "
        f"place of {observations:g} observations (medians). cluster includes gathering the place's observations.",
        f"limit: the map's global descriptors read once; the bare float32 product of the {first} best keypoints, which "
        "are tried alone first.",
        _accuracy("accuracy", evaluate_poses(run.estimates, ground_truth(records("query")))),
    ]
    return Table("kitti00: one query", ("stage", "p50 [ms]", "p99 [ms]", "limit [ms]"), rows, notes)


def _accuracy(name: str, recall: RecallReport) -> str:
    ratios = ", ".join(f"{ratio:.3f} at {tolerance}" for tolerance, ratio in recall.recall.items())
    return (
        f"{name}: {recall.num_poses} of {recall.num_images} localized, recall {ratios}, median error "
        f"{recall.median_translation_m or float('nan'):.4f} m, {recall.median_rotation_deg or float('nan'):.3f} deg."
    )
