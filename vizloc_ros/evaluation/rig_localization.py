"""Localization of a dataset of several cameras as a rig, without ROS: one pose for the images of an instant."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pycolmap import Rigid3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.image_results import ImageDetails
from vizloc_ros.evaluation.report import require_result_folder, write_results
from vizloc_ros.localization.localization_options import LocalizationOptions
from vizloc_ros.localization.rig_localizer import RigImage, RigLocalizer
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.timing import NANOSECONDS, StageTimings, Stopwatch


def instants_of(records: Sequence[Record], tolerance: float) -> list[list[Record]]:
    """Group records by instant, in order of time: those whose times differ from the first by at most a tolerance [s].

    No camera is twice in a group.
    """
    groups: list[list[Record]] = []
    for record in sorted(records, key=lambda record: record.timestamp_ns):
        near = [
            group
            for group in groups[-1:]
            if record.timestamp_ns - group[0].timestamp_ns <= tolerance * NANOSECONDS
            and all(other.mounting.camera != record.mounting.camera for other in group)
        ]
        if near:
            near[0].append(record)
        else:
            groups.append([record])
    return groups


def mount_of(record: Record) -> Rigid3d:
    """Pose of the camera of a record on the vehicle. Raises ``DatasetError`` if the dataset does not know it."""
    if record.mounting.base_from_cam is None:
        camera = record.mounting.camera or "the only camera"
        raise DatasetError(
            f"{record.name}: the dataset does not tell where {camera} is on the vehicle: leave out --rig"
        )
    return record.mounting.base_from_cam


def evaluate_rig(
    visual_map: VisualMap,
    records: Sequence[Record],
    out: Path,
    *,
    tolerance: float,
    options: LocalizationOptions | None = None,
    seed: int = 0,
    source: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Localize the images of each instant together, and write report, poses and figures.

    Every image gets the pose of its camera that follows from the pose of the vehicle.

    Args:
        visual_map: map to localize in.
        records: images of all cameras, see ``open_queries``; their poses are in the world of the map's dataset.
        out: folder of the files.
        tolerance: maximum difference of the times of one instant [s].
        options: options of retrieval and pose.
        seed: seed of the localizer.
        source: arguments of ``open_queries`` that give ``records``, for viewers.
        details: further keys of the report.
        progress: progress display.

    Returns:
        The report, as in ``report.json``.

    Raises:
        DatasetError: a camera's pose on the vehicle is not known.
        ImageError: an image cannot be read.
    """
    mounts = {record.name: mount_of(record) for record in records}
    require_result_folder(out)
    chosen, records = options or LocalizationOptions(), visual_map.info.place.records_in_map(records)
    localizer = RigLocalizer(
        visual_map, chosen.model_copy(update={"pose": chosen.pose.model_copy(update={"seed": seed})})
    )
    instants = instants_of(records, tolerance)
    estimates: dict[str, Rigid3d] = {}
    unlocalized: dict[str, str] = {}
    supporters: Counter[str] = Counter()
    timings = StageTimings()
    for instant in progress(instants, "localizing", len(instants)):
        images = [
            RigImage(record.mounting.camera, record.read_image(), record.camera, mounts[record.name])
            for record in instant
        ]
        stopwatch = Stopwatch()
        with stopwatch("total"):
            outcome = localizer.localize(images, stopwatch)
        timings.add_all(stopwatch.milliseconds)
        if outcome.pose is None:
            unlocalized |= {record.name: outcome.reason for record in instant}
            continue
        supporters.update(list(outcome.pose.cameras))
        estimates |= {record.name: outcome.pose.map_from_rig * mounts[record.name] for record in instant}
    report: dict[str, Any] = {
        "num_instants": len(instants),
        "num_failed": len(unlocalized),
        "unlocalized": unlocalized,
        "supported_by": dict(supporters.most_common()),
        "timings_ms": timings.percentiles(),
        "map_bytes_per_keyframe": visual_map.info.bytes / visual_map.info.keyframes,
        **(details or {}),
        "seed": seed,
    }
    return write_results(
        out, records, estimates, visual_map, report, images=ImageDetails(source or {}, reasons=unlocalized)
    )
