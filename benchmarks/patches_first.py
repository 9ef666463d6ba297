"""Tracking with features in every image, in every third one, and in those whose patches alone give no sure pose.

    vizloc map build synthetic:world=room --split map --out room
    python benchmarks/patches_first.py room synthetic:world=room

The first image, and the next one after a loss, is given its true pose, as a localizer would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Annotated

import numpy as np
import typer
from gyroscope import pose_of
from measure import Cell, Table
from rich.console import Console

from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.datasets.record import Record, every
from vizloc_ros.evaluation.offline_tracking import submaps_of
from vizloc_ros.features.device import Device
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.keyframe_rolls import KeyframeRolls
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor, open_pyramid_extractor
from vizloc_ros.pixloc.submap import SubmapSelector
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, TrackerOptions, TrackerState
from vizloc_ros.readers import open_dataset

_WRONG = 0.5, 5.0  # m, deg
PATCHES_FIRST: dict[str, Callable[[int], bool]] = {
    "features": lambda number: False,
    "two of three by patches": lambda number: number % 3 != 0,
    "all by patches": lambda number: True,
}
COLUMNS = ("", "poses", "of", "by patches", "wrong", "median [mm]", "[deg]", "p99 [mm]", "CPU [ms]", "by patches [ms]")


@dataclass
class _Run:
    """Errors [m, deg] of the poses, CPU time of all images and of those aligned by patches alone [s]."""

    images: int = 0
    errors: list[tuple[float, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    by_patches: list[float] = field(default_factory=list)

    def row(self, name: str) -> Sequence[Cell]:
        errors = np.array(self.errors or [(np.nan, np.nan)])
        wrong = int(((errors[:, 0] > _WRONG[0]) | (errors[:, 1] > _WRONG[1])).sum())
        median, p99 = np.median(errors, axis=0), 1e3 * float(np.percentile(errors[:, 0], 99))
        times = [1e3 * float(np.mean(each)) if each else np.nan for each in (self.seconds, self.by_patches)]
        counts = len(self.errors), self.images, len(self.by_patches), wrong
        return [name, *counts, 1e3 * float(median[0]), float(median[1]), p99, *times]


def track(
    visual_map: VisualMap, extractor: PyramidExtractor, records: Sequence[Record], patches_first: Callable[[int], bool]
) -> _Run:
    """Track records, of which some are first tried by their patches alone."""
    run, selector = _Run(), SubmapSelector(visual_map)
    roll_of = KeyframeRolls(visual_map.keyframe_poses).roll_of
    tracker = Tracker(extractor, submaps_of(selector), TrackerOptions(confirmations=1), roll_of)
    for number, record in enumerate(records):
        if tracker.state is not TrackerState.TRACKING:
            tracker.offer_prior(pose_of(record), record.timestamp_ns)
        correction, image = visual_map.info.intrinsics_correction(record.camera), record.read_image()
        frame = Frame.of_camera(image, record.camera, record.timestamp_ns, correction)
        begun = process_time()
        tracked = tracker.track(frame, patches_first=patches_first(number))
        run.images += 1
        run.seconds.append(process_time() - begun)
        if tracked.by_patches:
            run.by_patches.append(run.seconds[-1])
        if tracked.map_from_cam is not None:
            run.errors.append(pose_error(tracked.map_from_cam, pose_of(record)))
    return run


def measure(
    map_path: Annotated[Path, typer.Argument(help="Map with references for the tracker")],
    dataset: Annotated[str, typer.Argument(help="Dataset whose images are tracked")],
    step: Annotated[int, typer.Option("--every", help="Take every N-th image", min=1)] = 1,
    split: Annotated[str, typer.Option(help="Split that is tracked")] = "query",
    degrade: Annotated[str, typer.Option(metavar="KIND:LEVEL", help="Degrade the images")] = "",
) -> None:
    """Track the images with features in all, in every third one, and where patches do not tell."""
    visual_map, extractor = VisualMap.open(map_path), open_pyramid_extractor(device=Device(threads=1))
    records: Sequence[Record] = visual_map.info.place.records_in_map(every(open_dataset(dataset).records(split), step))
    if degrade:
        kind, _, level = degrade.partition(":")
        records = degrade_records(records, Degradation(kind, int(level)))
    rows = [track(visual_map, extractor, records, each).row(name) for name, each in PATCHES_FIRST.items()]
    title = f"{dataset} {degrade}, images tracked with features and by their patches alone"
    Console(width=140).print(Table(title, COLUMNS, rows).as_rich())


if __name__ == "__main__":
    typer.run(measure)
