"""Tracking by two cameras of one vehicle, without nodes, on the synthetic street: each alone, both, one covered."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from measure import Cell, Table
from pycolmap import Rigid3d
from rig import CAMERAS, DATASET, altered, hide, is_covered

from vizloc_ros.datasets.record import Record, every
from vizloc_ros.datasets.synthetic.lens_covers import covered
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.offline_tracking import OfflineTracker
from vizloc_ros.evaluation.rig_localization import instants_of, mount_of
from vizloc_ros.evaluation.rig_tracking import OfflineRigTracker
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor, open_pyramid_extractor
from vizloc_ros.pixloc.reference_builder import add_references
from vizloc_ros.pixloc.tracking import Tracked
from vizloc_ros.readers import open_dataset

_EVERY = 2  # of 10 instants a second
_ALONE, _BOTH = "{} alone", "front and rear"
_COVERED = {
    "both, front covered for half the lap": hide,
    "both, front 85 % covered for half the lap": lambda image: covered(image, "most", 0, 0.0),
}
_RECALL = 0.25, 2.0  # m, deg


@dataclass
class _Run:
    """Errors [m, deg] of the poses, and CPU times of the instants [ms]."""

    errors: list[tuple[float, float]] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def add(self, cpu_ms: float, tracked: Tracked, map_from_rig: Rigid3d) -> None:
        self.cpu_ms.append(cpu_ms)
        if tracked.map_from_cam is not None:
            self.errors.append(pose_error(tracked.map_from_cam, map_from_rig))

    def row(self, name: str) -> Sequence[Cell]:
        recalled = sum(distance <= _RECALL[0] and angle <= _RECALL[1] for distance, angle in self.errors)
        distances = [distance for distance, _ in self.errors] or [np.nan]
        return [
            name,
            len(self.errors),
            recalled / len(self.cpu_ms),
            1e3 * float(np.median(distances)),
            1e3 * float(np.max(distances)),
            *np.percentile(self.cpu_ms, [50, 99]).tolist(),
        ]


def benchmark(out: Path) -> list[Table]:
    """Track a lap with each camera alone, with both, and with the front one covered for its second half."""
    source, device = open_dataset(DATASET), Device(threads=1)
    records = every(source.records("query"), _EVERY)
    with TemporaryDirectory(dir=out) as temporary:
        mapped, folder = every(source.records("map"), _EVERY), Path(temporary, "map")
        build_map(mapped, open_extractor("hfnet", device=device), folder, dataset=DATASET)
        extractor = open_pyramid_extractor(device=device)
        add_references(folder, mapped, extractor)
        visual_map = VisualMap.open(folder, device)
        runs = _track(visual_map, extractor, visual_map.info.place.records_in_map(records))
    columns = (
        "",
        "poses",
        "recall 0.25 m, 2 deg",
        "median error [mm]",
        "largest [mm]",
        "CPU time of an instant, p50 [ms]",
        "p99 [ms]",
    )
    notes = [
        f"{len(records) // len(CAMERAS)} instants at 5 Hz; poses of the camera, of both those of the front one. "
        "One thread; the rows take turns at every instant. The map has every second image of the first lap of both "
        "cameras.",
    ]
    return [Table("Two cameras: tracking", columns, [run.row(name) for name, run in runs.items()], notes)]


def _track(visual_map: VisualMap, extractor: PyramidExtractor, records: Sequence[Record]) -> dict[str, _Run]:
    """Track instant by instant with all systems in turn, so that all have the same load of the machine."""
    instants = instants_of(records, 0.0)
    half = instants[len(instants) // 2][0].timestamp_ns
    alone = {name: OfflineTracker(visual_map, HierarchicalLocalizer(visual_map), extractor) for name in CAMERAS}
    rigs = {name: OfflineRigTracker(visual_map, extractor, mount_of(records[0])) for name in (_BOTH, *_COVERED)}
    runs = {name: _Run() for name in (*map(_ALONE.format, CAMERAS), _BOTH, *_COVERED)}
    for instant in instants:
        taken = [_in_memory(record) for record in instant]
        truth = [_truth(record) for record in taken]
        for record, pose in zip(taken, truth, strict=True):
            name = record.mounting.camera
            runs[_ALONE.format(name)].add(*_timed(partial(alone[name].track, record)), pose)
        for name, rig in rigs.items():
            cover = _COVERED.get(name)
            given = [altered(r, cover) if cover is not None and is_covered(r, half) else r for r in taken]
            runs[name].add(*_timed(partial(rig.track, given)), truth[0])
    return runs


def _timed(track: Callable[[], Tracked]) -> tuple[float, Tracked]:
    """CPU time [ms] and result."""
    start = time.process_time()
    tracked = track()
    return 1e3 * (time.process_time() - start), tracked


def _in_memory(record: Record) -> Record:
    image = record.read_image()
    return replace(record, read_image=lambda: image)


def _truth(record: Record) -> Rigid3d:
    if record.world_from_cam is None:
        raise DatasetError(f"{record.name} has no pose")
    return record.world_from_cam
