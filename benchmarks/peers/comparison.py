"""Recall, time and memory of several methods on kitti00's queries, query by query in turn, so that load hits all."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import kitti00
from measure import Cell, Table
from pycolmap import Rigid3d

from peers import hloc_itself
from peers.setting import TOP_K, Setting, extract_keyframes, extract_queries
from peers.worker import ALGORITHM, HLOC, METHODS, OURS, THREADS, Worker
from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.evaluation.recall import TOLERANCES, RecallReport, evaluate_poses, ground_truth
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import StageTimings

DEGRADE = "night:4"
_WARM_UP = 3
_STAGES = {"retrieval": ("retrieve", "cluster"), "matching": ("match", "read", "write"), "pose": ("pose",)}
_REQUIRED_SPEED = 5.0


@dataclass(frozen=True)
class Measured:
    """Results of one method.

    Attributes:
        accuracy: errors of its poses.
        times: percentiles [ms] of the stages, of their groups, in total, and of the CPU.
        peak_mb: peak memory of its process [MB].
    """

    accuracy: RecallReport
    times: Mapping[str, Mapping[str, float]]
    peak_mb: float | None


def benchmark(out: Path, degrade: str = DEGRADE, every: int = 1) -> list[Table]:
    """Compare on the queries as they are, and degraded.

    Args:
        out: folder of the map and the files.
        degrade: degradation of the second part as ``KIND:LEVEL``; empty for none.
        every: take every N-th query.
    """
    folder, _ = kitti00.built_map(out)
    visual_map, queries = VisualMap.open(folder), every_nth(kitti00.records("query"), every)
    parts = {"": queries}
    if degrade:
        parts[degrade] = degrade_records(queries, Degradation.parse(degrade))
    keyframes = extract_keyframes(kitti00.records("map"), visual_map)
    tables = []
    for part, records in parts.items():
        setting = Setting((out / f"peers_{part.replace(':', '_') or 'clean'}").resolve(), folder.resolve())
        setting.write(extract_queries(records, visual_map), keyframes)
        tables += comparison_tables(compare(setting, ground_truth(records)), f"kitti00{part and ', ' + part}")
    return tables


def compare(setting: Setting, truth: Mapping[str, Rigid3d], methods: Sequence[str] = ()) -> dict[str, Measured]:
    """Localize all queries by all methods; hloc itself is left out where it is not installed.

    Args:
        setting: files of the comparison.
        truth: poses map_from_cam by name of the query.
        methods: names of ``METHODS``; all by default.
    """
    chosen = [m for m in methods or METHODS if m != HLOC or hloc_itself.is_installed()]
    if HLOC in chosen:
        hloc_itself.write_files(setting)
    timings = {method: StageTimings() for method in chosen}
    poses: dict[str, dict[str, Rigid3d]] = {method: {} for method in chosen}
    with ExitStack() as stack:
        workers = {}
        for method in chosen:
            workers[method] = Worker(method, setting)
            stack.callback(workers[method].kill)
        for worker in workers.values():
            for name in list(truth)[:_WARM_UP]:
                worker.localize(name)
        for i, name in enumerate(truth):
            first = i % len(chosen)  # each is the first in turn: caches are cold for the one after a large other
            for method in chosen[first:] + chosen[:first]:
                pose, milliseconds = workers[method].localize(name)
                timings[method].add_all(_grouped(milliseconds))
                if pose is not None:
                    poses[method][name] = pose
        peaks = {method: worker.close() for method, worker in workers.items()}
    return {
        method: Measured(evaluate_poses(poses[method], truth), timings[method].percentiles(), peaks[method])
        for method in chosen
    }


def comparison_tables(measured: Mapping[str, Measured], title: str) -> list[Table]:
    """Tables of accuracy, and of time and memory; a row without values for a method that was left out."""
    names = [name if name in measured else f"{name}: not installed" for name in METHODS if name in {HLOC, *measured}]
    accuracy_columns = ["", "poses", *map(str, TOLERANCES), "median [m]", "median [deg]"]
    time_columns = [""]
    for stage in (*_STAGES, "total"):
        time_columns += [f"{stage} p50 [ms]", f"{stage} p99 [ms]"]
    time_columns += ["times ours", "CPU p50 [ms]", "times ours, CPU", "peak memory [MB]"]
    accuracy_rows = [_row(accuracy_columns, name, _accuracy(measured.get(name))) for name in names]
    time_rows = [_row(time_columns, name, _times(measured.get(name), measured.get(OURS))) for name in names]
    return [
        Table(f"Beside peers: accuracy, {title}", accuracy_columns, accuracy_rows, _verdicts(measured)),
        Table(f"Beside peers: time and memory, {title}", time_columns, time_rows, _conditions(measured)),
    ]


def _grouped(milliseconds: Mapping[str, float]) -> dict[str, float]:
    groups = {
        group: sum(milliseconds.get(stage, 0.0) for stage in stages)
        for group, stages in _STAGES.items()
        if any(stage in milliseconds for stage in stages)
    }
    return {**milliseconds, **groups}


def _row(columns: Sequence[str], name: str, values: Sequence[Cell]) -> list[Cell]:
    return [name, *(values or [None] * (len(columns) - 1))]


def _accuracy(measured: Measured | None) -> list[Cell]:
    if measured is None:
        return []
    accuracy = measured.accuracy
    recall = [accuracy.recall[str(tolerance)] for tolerance in TOLERANCES]
    return [accuracy.num_poses, *recall, accuracy.median_translation_m, accuracy.median_rotation_deg]


def _times(measured: Measured | None, ours: Measured | None) -> list[Cell]:
    if measured is None:
        return []
    cells: list[Cell] = []
    for stage in (*_STAGES, "total"):
        found = measured.times.get(stage, {})
        cells += [found.get("p50"), found.get("p99")]
    ratio, cpu_ratio = (None if ours is None else _ratio(measured, ours, of) for of in ("total", "CPU"))
    return [*cells, ratio, measured.times["CPU"]["p50"], cpu_ratio, measured.peak_mb]


def _ratio(measured: Measured, ours: Measured, of: str = "total") -> float:
    return measured.times[of]["p50"] / ours.times[of]["p50"]


def _verdicts(measured: Mapping[str, Measured]) -> list[str]:
    """Sentences that say if the requirements hold, against hloc's algorithm and hloc itself."""
    notes = []
    for name in (ALGORITHM, HLOC):
        if name not in measured or OURS not in measured:
            continue
        ours, theirs = measured[OURS].accuracy.recall, measured[name].accuracy.recall
        behind = [tolerance for tolerance in theirs if ours[tolerance] < theirs[tolerance]]
        reached = f"no: not at {', '.join(behind)}" if behind else "yes"
        speed = _ratio(measured[name], measured[OURS])
        fast = "yes" if speed >= _REQUIRED_SPEED else "no"
        notes.append(
            f"Required, beside {name}: recall at least as high: {reached}; {_REQUIRED_SPEED:g} times as fast: {fast}, "
            f"{speed:.1f} times."
        )
    return notes


def _conditions(measured: Mapping[str, Measured]) -> list[str]:
    queries = next(iter(measured.values())).accuracy.num_images if measured else 0
    notes = [
        f"{queries} queries, all methods in turn for each, after {_WARM_UP} for warm-up; no feature extraction. "
        f"{TOP_K} retrieved keyframes, the same features and map; each method in its own process with {THREADS} "
        "thread of linear algebra.",
        "hloc's algorithm: mutual nearest neighbors with each keyframe, one PnP over all, pycolmap's default options, "
        "12 px; in NumPy, all in memory. With clusters: one PnP for each, the most inliers win.",
        "times ours: ratio of the medians in total. CPU: time of all threads of the process, which other processes on "
        "the machine change less.",
        "Memory includes Python and its libraries; hloc's algorithm holds all keypoints of the map in float32.",
    ]
    if HLOC in measured:
        times = measured[HLOC].times
        notes.append(
            "hloc itself: its own functions for one query at a time, without loader processes. Of its matching, p50, "
            f"{times['match']['p50']:.0f} ms are its matcher in PyTorch; it reads HDF5 files for "
            f"{times['read']['p50']:.0f} ms and writes them for {times['write']['p50']:.0f} ms."
        )
    return notes
