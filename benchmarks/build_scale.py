"""Map builds against the number of processes, and against size: seconds and memory for each keyframe.

The first table builds a map of real images, kitti00's, or of the synthetic street where these are not. The second one
builds maps of a simulated drive: its images carry a position only, and its extractor makes up features for it, so that
all stages but the networks have their usual amount of work.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from kitti00 import DATA
from measure import Cell, Table
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.types import Features, quantize
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.mapping.builder import BuildOptions, build_map
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions, keyframe_pairs
from vizloc_ros.mapping.pair_matching import PairMatches
from vizloc_ros.mapping.rotated_views import RotatedViewOptions
from vizloc_ros.mapping.triangulation import TriangulationOptions, triangulate
from vizloc_ros.parallel import silent, usable_cores
from vizloc_ros.readers import open_dataset
from vizloc_ros.work.work_folder import work_folder
from vizloc_ros.work.workers import Threads, open_processes

SIZES = (250, 500, 1000)
IMAGES = 141  # all of kitti00
_LARGE = 20_000  # keyframes
_CAMERA = PinholeCamera(1024, 1024, 512.0, 512.0, 511.5, 511.5)
_STEP = 1.0  # m between keyframes
_A_METER = 130  # landmarks
_NEAR, _FAR = 5, 40  # m
_KEYPOINTS, _SEEN = 2048, 1600
_MATCHED = 0.6  # of the landmarks that two keyframes see


@dataclass(frozen=True)
class SimulatedExtractor:
    """``FeatureExtractor`` of images that carry the number of a keyframe."""

    name: ClassVar[str] = "simulated"
    feature_id: ClassVar[str] = "simulated-1"
    settings: ClassVar[dict[str, Any]] = {}

    def warm_up(self, size: tuple[int, int]) -> None:
        """Do nothing."""

    def extract(self, image: UInt8) -> Features:
        """Features of the landmarks ahead of a keyframe, and of clutter."""
        keyframe = int(image[0, 0]) + 256 * int(image[0, 1])
        seen, pixels, described = self.seen(keyframe)
        rng = np.random.default_rng([3, keyframe])
        clutter = _KEYPOINTS - len(seen)
        found = np.concatenate([pixels + rng.normal(0, 0.3, pixels.shape), rng.uniform(0, 1023, (clutter, 2))])
        noisy = described + rng.normal(0, 0.03, described.shape)
        described = _unit(np.concatenate([noisy, rng.normal(size=(clutter, 128))]))
        around = np.random.default_rng([2, keyframe // 20]).normal(size=1024)
        return Features(
            found.astype(np.float32),
            np.ones(_KEYPOINTS, np.float32),
            quantize(described),
            _unit(around[None] + rng.normal(0, 0.3, (1, 1024)))[0],
            _CAMERA.size,
        )

    def seen(self, keyframe: int) -> tuple[Any, Any, Any]:
        """Landmarks (N,) that a keyframe sees, their pixels (N, 2) and descriptors (N, 128)."""
        points, descriptors = _landmarks_ahead(keyframe)
        pixels = _CAMERA.project(points)[0]
        inside = np.flatnonzero(((pixels > 0) & (pixels < 1023)).all(axis=1))
        chosen = np.random.default_rng([1, keyframe]).permutation(inside)[:_SEEN]
        return chosen + _A_METER * keyframe, pixels[chosen], descriptors[chosen]

    def describe(self, features: Features) -> Features:
        """Return the features unchanged."""
        return features

    def learn(self, features: Sequence[Features], seed: int) -> "SimulatedExtractor":
        """Return the extractor unchanged."""
        return self

    def save(self, folder: Path) -> None:
        """Write nothing."""


def _landmarks_ahead(keyframe: int) -> tuple[Any, Any]:
    """Positions (N, 3) in the camera's frame, and descriptors (N, 128), of what is before a keyframe."""
    points, descriptors = [], []
    for ahead in range(_NEAR, _FAR):
        rng = np.random.default_rng([0, keyframe + ahead])
        sides = rng.uniform([-12, -8, 0], [12, 4, 1], (_A_METER, 3))
        points.append(sides + np.array([0, 0, ahead]))
        descriptors.append(rng.normal(size=(_A_METER, 128)))
    return np.concatenate(points), _unit(np.concatenate(descriptors))


def _unit(vectors: Any) -> Float32:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _image(keyframe: int) -> UInt8:
    image = np.zeros((1024, 1024), np.uint8)
    image[0, :2] = keyframe % 256, keyframe // 256
    return image


def simulated_drive(count: int) -> list[Record]:
    """Records of a straight drive."""
    return [
        Record(
            name=f"{k:06d}",
            timestamp_ns=k * 100_000_000,
            camera=_CAMERA,
            split="map",
            world_from_cam=Rigid3d(Rotation3d(), np.array([0.0, 0.0, k * _STEP])),
            read_image=partial(_image, k),
        )
        for k in range(count)
    ]


def build_simulated(count: int, processes: int) -> None:
    """Build a map of a simulated drive, and print seconds and peak memory of this process as JSON."""
    options = BuildOptions(rotated_views=RotatedViewOptions(yaws=()))
    start = time.perf_counter()
    with peak_memory() as peak, tempfile.TemporaryDirectory() as name:
        workers = open_processes(processes) if processes > 1 else nullcontext(Threads(1))
        with workers as opened, work_folder(Path(name) / "work", opened) as work:
            report = build_map(
                simulated_drive(count), SimulatedExtractor(), Path(name) / "map", dataset="", options=options, work=work
            )
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - start,
                "stages": report.seconds,
                "observations": report.observations / count,
                **peak,
            }
        )
    )


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """Give a dictionary that has the peaks of ``memory_kb`` in the block at its end, beyond those before it [MB]."""
    peak, before, ended = {"VmRSS": 0.0, "RssAnon": 0.0}, memory_kb(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            now = memory_kb()
            peak.update({name: max(peak[name], (now[name] - before[name]) / 1e3) for name in peak})

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def memory_kb() -> dict[str, int]:
    """Memory of this process [kB]: all of it, and what is no file that the system can drop."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return {name: int(values[name].split()[0]) for name in ("VmRSS", "RssAnon")}


def benchmark(out: Path, sizes: Sequence[int] = SIZES) -> list[Table]:
    """Tables of both."""
    del out
    return [_of_processes(), _of_sizes(sizes), _of_triangulation(sizes)]


def _of_processes() -> Table:
    spec = f"folder:{DATA}" if (DATA / "poses.csv").is_file() else "synthetic:length=30"
    records = open_dataset(spec).records("map")[:IMAGES]
    extractor = open_extractor("hfnet", device=Device(threads=1))
    rows: list[list[Cell]] = []
    first = 0.0
    cores = usable_cores()
    for count in [1, *sorted({2, cores // 2, cores} - {0, 1})]:
        with tempfile.TemporaryDirectory() as name:
            start, before = time.perf_counter(), os.getloadavg()[0]
            workers = open_processes(count) if count > 1 else nullcontext(Threads(1))
            with workers as opened, work_folder(Path(name) / "work", opened) as work:
                report = build_map(records, extractor, Path(name) / "map", dataset=spec, work=work)
            seconds = time.perf_counter() - start
        first = first or seconds
        stages = [report.seconds[stage] / len(records) for stage in ("extract", "match")]
        rest = (sum(report.seconds.values()) - report.seconds["extract"] - report.seconds["match"]) / len(records)
        rows.append([str(count), *stages, rest, seconds / len(records), seconds / first, before])
    columns = ("processes", "extract [s]", "match [s]", "rest [s]", "all [s]", "times that of one", "load before")
    notes = [
        f"Seconds for each of {len(records)} images of {spec.partition(':')[0]}, HF-Net with four rotated views; with "
        "the start of the processes.",
        "'1' is one thread of the command itself; of more, the command is one. rest: triangulation, calibration, "
        "files.",
    ]
    return Table("Map build by processes", columns, rows, notes)


def _of_sizes(sizes: Sequence[int]) -> Table:
    rows: list[list[Cell]] = []
    found: list[dict[str, Any]] = []
    for size in sizes:
        one = _measured(f"build_simulated({size}, {usable_cores()})")
        found.append(one)
        rows.append([str(size), one["seconds"] / size, *_stage_seconds(one, size), one["RssAnon"], one["VmRSS"]])
    if len(sizes) > 1:
        more: list[Cell] = []
        for name in ("RssAnon", "VmRSS"):
            grown = (found[-1][name] - found[-2][name]) / (sizes[-1] - sizes[-2])
            more.append(found[-1][name] + grown * (_LARGE - sizes[-1]))
        rows.append([f"{_LARGE}, extrapolated", None, None, None, None, *more])
    columns = (
        "keyframes",
        "all [s a keyframe]",
        "extract",
        "match",
        "triangulate",
        "memory of its own [MB]",
        "with mapped files [MB]",
    )
    notes = [
        f"A simulated drive: {_KEYPOINTS} keypoints of 128 elements, {found[-1]['observations']:.0f} observations a "
        f"keyframe; {usable_cores()} processes.",
        "Memory is the peak of the command itself, beyond that before the build; mapped files leave memory when others "
        "need it. A worker process holds its network and some images.",
    ]
    return Table("Map build by size", columns, rows, notes)


def _measured(call: str) -> dict[str, Any]:
    """Figures that a function of this file prints, in a process of its own."""
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    ended = subprocess.run(
        [sys.executable, "-c", f"import build_scale; build_scale.{call}"],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        check=True,
    )
    figures: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def triangulate_simulated(count: int) -> None:
    """Triangulate a simulated drive from known matches, and print time and peak memory as JSON."""
    extractor, rng = SimulatedExtractor(), np.random.default_rng(0)
    records = simulated_drive(count)
    keyframes = [
        Keyframe(r.name, r.timestamp_ns, r.camera, r.world_from_cam, extractor.extract(r.read_image()))
        for r in records
        if r.world_from_cam is not None
    ]
    seen = [extractor.seen(k)[0] for k in range(count)]
    matches = []
    for i, j in keyframe_pairs(keyframes, PairOptions()):
        _, a, b = np.intersect1d(seen[i], seen[j], return_indices=True)
        pairs = np.column_stack([a, b])[rng.random(len(a)) < _MATCHED].astype(np.int32)
        matches.append(PairMatches(i, j, pairs, np.zeros(len(pairs)), 4.0))
    start = time.process_time()
    with peak_memory() as peak:
        found = triangulate(keyframes, matches, TriangulationOptions(), silent)
    seconds = time.process_time() - start
    print(json.dumps({"seconds": seconds, "observations": len(found.landmarks) / count, **peak}))


def _of_triangulation(sizes: Sequence[int]) -> Table:
    found = [_measured(f"triangulate_simulated({size})") for size in sizes]
    rows: list[list[Cell]] = [
        [str(size), one["seconds"] / size, one["observations"], one["RssAnon"], 1e3 * one["RssAnon"] / size]
        for size, one in zip(sizes, found, strict=True)
    ]
    columns = ("keyframes", "CPU [s a keyframe]", "observations a keyframe", "peak memory [MB]", "[kB a keyframe]")
    notes = ["Triangulation alone, of known matches. Of a build, it holds most."]
    return Table("Triangulation by size", columns, rows, notes)


def _stage_seconds(one: dict[str, Any], size: int) -> list[Cell]:
    stages = one["stages"]
    triangulate = stages["triangulate"] + stages.get("calibrate", 0.0)
    return [stages["extract"] / size, stages["match"] / size, triangulate / size]
