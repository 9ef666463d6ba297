"""Replays a bag and writes the same files as every evaluation; the truth comes from the bag."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pycolmap import Rigid3d

from vizloc_ros.evaluation.recall import RecallReport, evaluate_poses
from vizloc_ros.evaluation.report import draw_overlay, write_results
from vizloc_ros.features.device import Device
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.check import check_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.pixloc.tracking_options import LONG_SIDE
from vizloc_ros.replay.bag_records import records_of_bag
from vizloc_ros.replay.bag_replay import replay_bag
from vizloc_ros.timing import percentiles


def evaluate_replay(
    bag: Path,
    map_path: Path,
    out: Path,
    *,
    rate: float = 1.0,
    provider: str = "cpu",
    model: str = "",
    long_side: int = LONG_SIDE,
    composed: bool = False,
    domain_id: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Replays, writes poses, ``report.json`` and pictures into ``out``, and returns the report.

    With the tracker where the map has references for it; ``model`` and ``long_side`` are its network and image size.

    Poses are those of the camera: the published ones of the base, moved by the bag's own /tf_static.

    Raises:
        BagError, MapError, RosError: as ``replay_bag``.
        FeatureError: the map's references are of another network than the tracker's.
    """
    out.mkdir(parents=True, exist_ok=True)
    check_map(map_path)  # the map server would refuse it, later
    visual_map = VisualMap.open(map_path)
    tracking = visual_map.info.pixloc is not None
    if tracking:  # the tracker would refuse it, later
        visual_map.require_references(open_pyramid_extractor(model, Device(threads=1), long_side).model_id)
    records, base_from_cam = records_of_bag(bag)
    replay = replay_bag(
        bag,
        map_path,
        rate=rate,
        provider=provider,
        tracker={"weights": str(Path(model).absolute()) if model else "", "long_side": long_side},
        composed=composed,
        tracking=tracking,
        domain_id=domain_id,
        log=out / "nodes.log",
    )
    by_stamp = {record.timestamp_ns: record for record in records}

    def of_images(poses: Mapping[int, Rigid3d]) -> dict[str, Rigid3d]:
        known = {by_stamp[stamp].name: pose for stamp, pose in poses.items() if stamp in by_stamp}
        return {name: map_from_base * base_from_cam for name, map_from_base in known.items()}

    estimates, localized = of_images(replay.poses), of_images(replay.localized)
    truth = {record.name: record.world_from_cam for record in records if record.world_from_cam is not None}
    latency = percentiles(replay.latency_ms.values()) if replay.latency_ms else None
    report = {
        "num_processed": replay.processed,
        "recall_of_processed": RecallReport(replay.processed, evaluate_poses(estimates, truth).errors).recall,
        "processed_hz": replay.processed / replay.duration_s if replay.duration_s else None,
        "dropped": replay.dropped,
        "num_failed": replay.processed - len(replay.poses),
        "latency_ms": latency,
        "timings_ms": {**replay.timings_ms, **({"total": latency} if latency else {})},
        "localizer": evaluate_poses(localized, truth).as_dict(),
        "map_bytes_per_keyframe": visual_map.info.bytes / visual_map.info.keyframes,
        "rate": rate,
        "seed": 0,
        "reasons": replay.reasons,
        **(details or {}),
    }
    skipped = {by_stamp[stamp].name for stamp in replay.skipped if stamp in by_stamp}
    written = write_results(out, records, estimates, visual_map, report, skipped)
    shown = next((r for r in records[len(records) // 2 :] if r.name in estimates), None)
    if shown is not None:
        localizer = HierarchicalLocalizer(visual_map)
        draw_overlay(out / "overlay.png", shown, visual_map, estimates[shown.name], localizer)
    return written
