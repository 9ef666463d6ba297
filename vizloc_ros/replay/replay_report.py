"""Replay of a bag with the files of every evaluation; the ground truth comes from the bag."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from pycolmap import Rigid3d

from vizloc_ros.bags.bag_camera import BagCamera, open_camera
from vizloc_ros.bags.bag_options import DEFAULT_OPTIONS, BagOptions
from vizloc_ros.errors import BagError
from vizloc_ros.evaluation.image_results import ImageDetails
from vizloc_ros.evaluation.overlays import draw_overlay
from vizloc_ros.evaluation.recall import RecallReport, evaluate_poses, ground_truth
from vizloc_ros.evaluation.report import require_result_folder, write_results
from vizloc_ros.features.device import Device
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.check import check_map
from vizloc_ros.mapping.visual_map import VisualMap, open_map_extractor
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.pixloc.tracking_options import LONG_SIDE
from vizloc_ros.replay.bag_replay import replay_bag
from vizloc_ros.timing import NANOSECONDS, percentiles

_LONGEST_WAIT_S = 300.0  # between two images of a replay


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
    options: BagOptions = DEFAULT_OPTIONS,
    details: Mapping[str, Any] | None = None,
    on_checked: Callable[[bool], None] | None = None,
) -> dict[str, Any]:
    """Replay a bag, write poses, ``report.json`` and figures into a folder, and return the report.

    The tracker runs if the map has reference features. Of an interrupted replay, the images that were played count, and
    the report has ``interrupted``. The evaluated poses are those of the camera: the published poses
    of the base, multiplied by base_from_cam.

    Args:
        bag: a bag with a camera.
        map_path: folder of the map.
        out: folder for the results.
        rate: speed of the replay, 1 is real time.
        provider: device of the networks.
        model: network of the tracker; the package's by default.
        long_side: longer side of the tracker's images [px].
        composed: whether all nodes run in one process.
        domain_id: ROS domain of the replay; ``private_domain()`` by default.
        options: choices about the bag.
        details: more entries of the report.
        on_checked: called with true if the tracker runs, when all inputs can be used and before anything is started.

    Raises:
        BagError, MapError, RosError: as ``open_camera`` and ``replay_bag``.
        ConfigError, DeviceError: there is no such provider, or it is not available.
        FeatureError: the map's reference features are of another network than the tracker's.
    """
    check_map(map_path)  # the map server would refuse it, later
    visual_map = VisualMap.open(map_path)
    tracking = visual_map.info.pixloc is not None
    device = Device(provider=provider, threads=1)
    open_map_extractor(map_path, visual_map.info, device)  # the nodes would refuse what cannot be used, later
    if tracking:
        visual_map.require_references(open_pyramid_extractor(model, device, long_side).model_id)
    camera = open_camera(bag, options)
    base_from_cam = camera.frame_from_cam(options.base_frame)
    camera_records = camera.records()
    require_result_folder(out)
    _require_short_gaps(camera, rate)
    if on_checked is not None:
        on_checked(tracking)
    replay = replay_bag(
        camera,
        map_path,
        rate=rate,
        provider=provider,
        tracker={"weights": str(Path(model).absolute()) if model else "", "long_side": long_side},
        composed=composed,
        tracking=tracking,
        domain_id=domain_id,
        log=out / "nodes.log",
    )
    in_bag = len(camera_records)
    if replay.interrupted:
        camera_records = [record for record in camera_records if record.timestamp_ns in replay.played]
    by_stamp = {record.timestamp_ns: record for record in camera_records}

    def poses_of_camera(poses: Mapping[int, Rigid3d]) -> dict[str, Rigid3d]:
        """Poses map_from_cam by name of the record, of map_from_base by stamp."""
        return {
            by_stamp[stamp].name: map_from_base * base_from_cam
            for stamp, map_from_base in poses.items()
            if stamp in by_stamp
        }

    estimates, localized = poses_of_camera(replay.poses), poses_of_camera(replay.localized)
    asked = {by_stamp[stamp].name for stamp in replay.asked if stamp in by_stamp}
    records = visual_map.info.place.records_in_map(camera_records)
    truth = ground_truth(records)
    left_out = {f"the bag: images {reason}": count for reason, count in camera.index.left_out.most_common()}
    latency = percentiles(replay.latency_ms.values()) if replay.latency_ms else None
    report = {
        "num_images": replay.num_images,
        "interrupted": f"after {replay.num_images} of {in_bag} images" if replay.interrupted else "",
        "num_processed": replay.processed,
        "recall_of_processed": RecallReport(replay.processed, evaluate_poses(estimates, truth).errors).recall,
        "processed_hz": replay.processed / replay.duration_s if replay.duration_s else None,
        "dropped": replay.dropped,
        "num_failed": replay.processed - len(replay.poses),
        "latency_ms": latency,
        "timings_ms": {**replay.timings_ms, **({"total": latency} if latency else {})},
        "localizer": localizer_figures(localized, asked, truth),
        "map_bytes_per_keyframe": visual_map.info.bytes / visual_map.info.keyframes,
        "rate": rate,
        "seed": 0,
        "reasons": {**left_out, **replay.reasons},
        "warnings": replay.warnings,
        "notes": list(camera.notes),
        "truth": camera.truth.description,
        **(details or {}),
    }
    skipped = {by_stamp[stamp].name for stamp in replay.skipped if stamp in by_stamp}
    known = ImageDetails(
        source={"bag": bag.absolute(), **options.as_texts()},
        states={by_stamp[stamp].name: state for stamp, state in replay.states.items() if stamp in by_stamp},
    )
    written = write_results(out, records, estimates, visual_map, report, skipped, known)
    if estimates:
        draw_overlay(out / "overlay.png", records, estimates, visual_map, HierarchicalLocalizer(visual_map))
    return written


def _require_short_gaps(camera: BagCamera, rate: float) -> None:
    """Raise ``BagError`` if a replay would wait for minutes, as between two drives in one bag."""
    times = sorted(camera.index.bag_times.values())
    gap_s = max((after - before for before, after in pairwise(times)), default=0) / NANOSECONDS
    if gap_s > _LONGEST_WAIT_S * rate:
        raise BagError(
            f"{camera.bag}: there are {gap_s:.0f} s without an image, which the replay would wait for: replay one "
            "drive, for example a split of the dataset, or give a faster --rate"
        )


def localizer_figures(
    localized: Mapping[str, Rigid3d], asked: Collection[str], truth: Mapping[str, Rigid3d]
) -> dict[str, object]:
    """Figures of the localizer over the images that it was asked for: it rests while the tracker is sure.

    Args:
        localized: its poses map_from_cam by image name.
        asked: names of the images that it was asked for.
        truth: ground-truth poses map_from_cam by image name.
    """
    figures = evaluate_poses(localized, {name: pose for name, pose in truth.items() if name in asked})
    return {**figures.as_dict(), "num_images": len(asked), "num_poses": len(localized)}
