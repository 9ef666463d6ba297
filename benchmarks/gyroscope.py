"""Tracking of a hand-held camera at low image rates, with and without a simulated gyroscope.

    vizloc map build synthetic:world=room --split map --out room
    python benchmarks/gyroscope.py room synthetic:world=room --every 3 --every 5

Turns of the true poses, with a bias and with noise, are those of the gyroscope. The first image, and the next one after
a loss, is given its true pose, as a localizer would.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from measure import Cell, Table
from pycolmap import Rigid3d, Rotation3d
from rich.console import Console

from vizloc_ros.datasets.record import Record, every
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.offline_tracking import submaps_of
from vizloc_ros.features.device import Device
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.se3 import so3_exp, so3_log
from vizloc_ros.mapping.keyframe_rolls import KeyframeRolls
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor, open_pyramid_extractor
from vizloc_ros.pixloc.gyroscope import Attitude
from vizloc_ros.pixloc.submap import SubmapSelector
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, TrackerOptions, TrackerState
from vizloc_ros.readers import open_dataset
from vizloc_ros.timing import NANOSECONDS

BIAS, NOISE = 0.5, 0.2  # deg/s; the noise is constant over one image of the dataset
_RIGHT = 0.1, 1.0  # m, deg
_Wrong = Callable[[Rotation3d], Rotation3d]
GYROSCOPES: dict[str, _Wrong | None] = {
    "none": None,
    "good": lambda turn: turn,
    "turns x 2": lambda turn: so3_exp(2 * so3_log(turn)),
    "stuck": lambda turn: Rotation3d(),
}


@dataclass
class _Run:
    """Errors [m, deg] of the poses, rotations between prediction and truth [deg], and numbers of events."""

    errors: list[tuple[float, float]] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)
    images: int = 0
    losses: int = 0

    def row(self, *names: str | int) -> Sequence[Cell]:
        right = sum(distance <= _RIGHT[0] and angle <= _RIGHT[1] for distance, angle in self.errors)
        distances = [distance for distance, _ in self.errors] or [np.nan]
        return [
            *names,
            100 * right / self.images,
            len(self.errors) - right,
            self.losses,
            1e3 * float(np.median(distances)),
            *np.percentile(self.predicted, [50, 99]).tolist(),
        ]


def attitudes(records: Sequence[Record], wrong: _Wrong, seed: int = 0) -> list[Attitude]:
    """Attitudes of the camera at the records, by a gyroscope with bias and noise, whose turns are wrong in a way."""
    rng, rotation, found = np.random.default_rng(seed), Rotation3d(), [Attitude(Rotation3d())]
    bias = np.radians(BIAS) * np.array([0.6, 0.64, -0.48])
    for before, after in pairwise(records):
        seconds = (after.timestamp_ns - before.timestamp_ns) / NANOSECONDS
        turn = pose_of(before).rotation.inverse() * pose_of(after).rotation
        error = (bias + np.radians(NOISE) * rng.normal(size=3)) * seconds
        rotation = rotation * wrong(turn) * so3_exp(error)
        found.append(Attitude(rotation))
    return found


def pose_of(record: Record) -> Rigid3d:
    """True pose world_from_cam. Raises ``DatasetError`` without one."""
    if record.world_from_cam is None:
        raise DatasetError(f"{record.name}: there is no true pose")
    return record.world_from_cam


def track(
    visual_map: VisualMap, extractor: PyramidExtractor, records: Sequence[Record], told: Sequence[Attitude | None]
) -> _Run:
    """Track records with the gyroscope's attitudes."""
    run, selector = _Run(), SubmapSelector(visual_map)
    roll_of = KeyframeRolls(visual_map.keyframe_poses).roll_of
    tracker = Tracker(extractor, submaps_of(selector), TrackerOptions(confirmations=1), roll_of)
    for record, attitude in zip(records, told, strict=True):
        before, truth = tracker.state, pose_of(record)
        if before is not TrackerState.TRACKING:
            tracker.offer_prior(truth, record.timestamp_ns)
        correction = visual_map.info.intrinsics_correction(record.camera)
        frame = Frame.of_camera(record.read_image(), record.camera, record.timestamp_ns, correction)
        tracked = tracker.track(replace(frame, attitude=attitude))
        run.images += 1
        run.losses += before is TrackerState.TRACKING and tracked.state is TrackerState.LOST
        if before is TrackerState.TRACKING and tracked.prediction is not None:
            run.predicted.append(pose_error(tracked.prediction.map_from_cam, truth)[1])
        if tracked.map_from_cam is not None:
            run.errors.append(pose_error(tracked.map_from_cam, truth))
    return run


def measure(
    map_path: Annotated[Path, typer.Argument(help="Map with references for the tracker")],
    dataset: Annotated[str, typer.Argument(help="Dataset whose images are tracked")],
    steps: Annotated[list[int] | None, typer.Option("--every", help="Take every N-th image", min=1)] = None,
    split: Annotated[str, typer.Option(help="Split that is tracked")] = "query",
) -> None:
    """Track every N-th image with each kind of gyroscope."""
    visual_map, extractor = VisualMap.open(map_path), open_pyramid_extractor(device=Device(threads=1))
    records = visual_map.info.place.records_in_map(open_dataset(dataset).records(split))
    columns = ("every", "gyroscope", "right [%]", "wrong", "losses", "median [mm]", "predicted p50 [deg]", "p99 [deg]")
    rows = []
    for step in steps or (1, 3, 5):
        chosen = [_in_memory(record) for record in every(records, step)]
        for name, wrong in GYROSCOPES.items():
            told: list[Attitude | None] = [None] * len(records)
            if wrong is not None:
                told = list(attitudes(records, wrong))
            rows.append(track(visual_map, extractor, chosen, told[::step]).row(step, name))
    Console(width=120).print(Table(f"{dataset}, images tracked with a gyroscope", columns, rows).as_rich())


def _in_memory(record: Record) -> Record:
    image = record.read_image()
    return replace(record, read_image=lambda: image)


if __name__ == "__main__":
    typer.run(measure)
