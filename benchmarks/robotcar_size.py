"""Queries in a simulated map of RobotCar's size: written, checked, opened and asked, alone and through the nodes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import simulated_map
import two_nodes
from machine import product_ms, read_ms
from measure import Cell, Table, memory_mb, milliseconds
from pycolmap import Rigid3d
from simulated_map import Size, foreign_query, simulated_query

from vizloc_ros.errors import VizlocError
from vizloc_ros.evaluation.recall import RecallReport, evaluate_poses
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.retrieval import GlobalIndex
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import one_thread_each
from vizloc_ros.timing import StageTimings, Stopwatch, percentiles

_QUERIES, _FOREIGN, _WARM_UP, _SEARCHES = 300, 100, 5, 300
_KEYPOINTS, _MATCHING, _WRONG = 2048, (300, 1000), 0.4
_TOP_K = 10
# HF-Net, Table 5, RobotCar dusk and night, on a GTX 1080 [ms].
_PAPER_SEARCH = 13.0
_PAPER = {"retrieve": "13", "cluster": "1", "match": "3 - 6", "pose": "4 - 38"}
_MOST_MS, _MOST_MB = 100.0, 1000.0  # required of the localizer's p99, and of the map server's resident memory
Query = tuple[Features, PinholeCamera]


def benchmark(out: Path, size: Size | None = None) -> list[Table]:
    """Write the map and ask it.

    Args:
        out: folder; needs 5 GB for the time of the benchmark.
        size: size of the map; that of RobotCar by default.
    """
    rng, size = np.random.default_rng(0), size or Size()
    with TemporaryDirectory(dir=out) as temporary:
        folder = Path(temporary) / "map"
        written = _in_process([simulated_map.__file__, folder, size.stops, size.landmarks])
        check = _in_process([__file__, folder])
        visual_map = VisualMap.open(folder)
        opened = median(milliseconds(lambda: VisualMap.open(folder), 5))
        near, truth = _queries(visual_map, rng)
        foreign = [foreign_query(visual_map, keypoints=_KEYPOINTS, rng=rng) for _ in range(_FOREIGN)]
        return [
            _files_table(visual_map, {**written, "checked": check["seconds"], "peak of check": check["peak"]}, opened),
            _search_table(GlobalIndex(visual_map.global_descriptors), visual_map, rng),
            _stages_table(visual_map, near, truth, foreign),
            *_nodes_tables(visual_map, near, truth),
        ]


def _queries(visual_map: VisualMap, rng: np.random.Generator) -> tuple[list[Query], dict[str, Rigid3d]]:
    """Queries of one camera all over the map, and their ground truth by index: nodes refuse a camera that changes."""
    queries, truth = [], {}
    stops = visual_map.info.keyframes // simulated_map.SIDES
    for i, keyframe in enumerate(simulated_map.SIDES * rng.integers(0, stops, _WARM_UP + _QUERIES)):
        matching = int(rng.integers(*_MATCHING))
        features, camera, truth[str(i)] = simulated_query(
            visual_map, int(keyframe), keypoints=_KEYPOINTS, matching=matching, wrong=_WRONG, rng=rng
        )
        queries.append((features, camera))
    return queries, {name: pose for name, pose in truth.items() if int(name) >= _WARM_UP}


def _in_process(arguments: Sequence[object]) -> dict[str, float]:
    """Run a script in a process of its own, for its memory, and return what it prints."""
    found = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, env=os.environ)
    if found.returncode:
        raise VizlocError(f"{arguments[0]}: {found.stderr}")
    answer: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return answer


def _files_table(visual_map: VisualMap, made: dict[str, float], opened: float) -> Table:
    info, keyframes = visual_map.info, visual_map.info.keyframes
    sizes = {name: file.bytes for name, file in info.files.items()}
    parts = {
        "local descriptors (int8)": ("observation_descriptors",),
        "landmarks and pixels of observations": ("observation_landmarks", "observation_pixels"),
        "global descriptors": ("global_descriptors",),
        "landmark positions": ("landmark_positions",),
    }
    rows: list[list[Cell]] = []
    for name, files in parts.items():
        of_part = sum(sizes.pop(f"{file}.npy") for file in files)
        rows.append([name, 1e-6 * of_part, of_part / keyframes])
    model = sum(sizes.pop(name) for name in list(sizes) if name.startswith("sfm/"))
    rows.append(["COLMAP model, which queries do not read", 1e-6 * model, model / keyframes])
    rows.append(["others", 1e-6 * sum(sizes.values()), sum(sizes.values()) / keyframes])
    rows.append(["total", 1e-6 * info.bytes, info.bytes / keyframes])
    notes = [
        f"{keyframes:,} keyframes of {len(info.cameras)} cameras, {info.landmarks:,} landmarks, "
        f"{info.observations:,} observations: as RobotCar Seasons' own model of SIFT. HF-Net's model of the same "
        "images has 2,525,000 landmarks and 11,900,000 observations (its Table 6).",
        f"simulated in {made['simulated']:.0f} s, written by write_map in {made['written']:.0f} s (peak memory "
        f"{made['peak']:,.0f} MB with the simulation), checked whole in {made['checked']:.0f} s (peak "
        f"{made['peak of check']:,.0f} MB), opened in {opened:.1f} ms.",
    ]
    return Table("RobotCar's size: the map's files", ("files", "MB", "bytes per keyframe"), rows, notes)


def _search_table(index: GlobalIndex, visual_map: VisualMap, rng: np.random.Generator) -> Table:
    chosen = rng.integers(0, visual_map.info.keyframes, _SEARCHES)
    queries = iter(np.array(visual_map.global_descriptors[np.concatenate([chosen[:5], chosen])]))
    with one_thread_each():
        times = percentiles(milliseconds(lambda: index.search(next(queries), _TOP_K), _SEARCHES, warm_up=5))
        limit = read_ms(visual_map.global_descriptors.nbytes)
    rows: list[list[Cell]] = [
        ["GlobalIndex.search", times["p50"], times["p99"], limit, _PAPER_SEARCH, _PAPER_SEARCH / times["p50"]]
    ]
    columns = ("", "p50 [ms]", "p99 [ms]", "limit [ms]", "paper [ms]", "paper / p50")
    notes = [
        f"{visual_map.info.keyframes:,} keyframes x {visual_map.info.global_descriptor_size}, exact, best {_TOP_K}; "
        f"{_SEARCHES} searches after 5 for warm-up, one thread. limit: "
        f"{visual_map.global_descriptors.nbytes / 1e6:.0f} MB read once. Paper: RobotCar, GTX 1080."
    ]
    return Table("RobotCar's size: global search", columns, rows, notes)


def _stages_table(
    visual_map: VisualMap, near: Sequence[Query], truth: dict[str, Rigid3d], foreign: Sequence[Query]
) -> Table:
    localizer = HierarchicalLocalizer(visual_map)
    timings, estimates = StageTimings(), {}
    sizes: list[int] = []
    false = 0
    with one_thread_each():  # as in the nodes
        for i, (features, camera) in enumerate(near):
            milliseconds_, pose, size = _localize(localizer, features, camera)
            if i >= _WARM_UP:
                timings.add_all(milliseconds_)
                sizes.append(size)
            if pose is not None:
                estimates[str(i)] = pose
        for features, camera in foreign:
            milliseconds_, pose, _ = _localize(localizer, features, camera)
            timings.add_all({f"elsewhere: {name}": milliseconds_[name] for name in ("total", "CPU")})
            false += pose is not None
        observations, first = int(median(sizes)), localizer.solver.options.first_keypoints
        limits = {
            "retrieve": read_ms(visual_map.global_descriptors.nbytes),
            "match": product_ms(first, observations, visual_map.info.descriptor_size),
        }
    times = timings.percentiles()
    rows: list[list[Cell]] = [[s, t["p50"], t["p99"], limits.get(s), _PAPER.get(s)] for s, t in times.items()]
    notes = [
        f"{len(near) - _WARM_UP} queries anywhere in the map after {_WARM_UP} for warm-up, in one process with one "
        f"thread: {_KEYPOINTS} keypoints, of which {_MATCHING[0]} to {_MATCHING[1]} resemble landmarks and "
        f"{_WRONG:.0%} of these lie elsewhere; the first place has {observations:,} observations (median). CPU: time "
        "of the process.",
        _accuracy(evaluate_poses(estimates, truth)),
        f"elsewhere: {len(foreign)} queries of no place of the map; {false} got a pose.",
        f"limit: global descriptors read once; float32 product of the {first} best keypoints. Paper: RobotCar dusk - "
        "night on a GTX 1080; its features take 15 ms, its total is 36 - 73 ms.",
    ]
    columns = ("stage", "p50 [ms]", "p99 [ms]", "limit [ms]", "paper [ms]")
    return Table("RobotCar's size: one query without features", columns, rows, notes)


def _localize(
    localizer: HierarchicalLocalizer, features: Features, camera: PinholeCamera
) -> tuple[dict[str, float], Rigid3d | None, int]:
    """Times of the stages [ms], the pose, and the number of observations of the first place."""
    clock, cpu = Stopwatch(), time.process_time()
    with clock("total"):
        outcome, found = localizer.localize_with_candidates(features, camera, clock)
    pose = None if outcome.pose is None else outcome.pose.map_from_cam
    return {**clock.milliseconds, "CPU": 1e3 * (time.process_time() - cpu)}, pose, len(found.places[0].landmark_ids)


def _nodes_tables(visual_map: VisualMap, near: Sequence[Query], truth: dict[str, Rigid3d]) -> list[Table]:
    answers = two_nodes.ask_nodes(visual_map.folder, visual_map.info.feature_number, near)
    stages = {"features to pose": percentiles(answers.latency_ms[_WARM_UP:]), **answers.timings_ms}
    stages.pop("localizer_stamp_to_pose", None)  # the stamps are made up
    times: list[list[Cell]] = [[stage, t["p50"], t["p99"]] for stage, t in stages.items()]
    localizer = stages.get("localizer_total", {}).get("p99", float("inf"))
    accuracy = _accuracy(evaluate_poses({str(i): pose for i, pose in answers.poses.items()}, truth))
    time_notes = [
        f"visual_map_server and localizer as processes, {len(near)} queries one after the other; ready "
        f"{answers.start_s:.1f} s after their start, the check of every byte included. The first row is measured "
        f"outside the nodes, the stages are what they report of the last 200.",
        accuracy,
        f"Required: localizer_total p99 at most {_MOST_MS:g} ms: {_verdict(localizer <= _MOST_MS)}, {localizer:.1f} "
        "ms.",
    ]
    columns = ("resident [MB]", "own [MB]", "files [MB]", "peak [MB]")
    keys = ("resident", "own", "files", "peak")
    memory: list[list[Cell]] = [
        [f"{name}, {when}", *(found.get(key) for key in keys)]
        for name, moments in answers.memory_mb.items()
        for when, found in zip(("at the start", "in the end"), moments, strict=True)
    ]
    peak = max((found.get("peak", 0.0) for found in answers.memory_mb["visual_map_server"]), default=0.0)
    memory_notes = [
        "files: mapped parts of files, which the system's cache holds in any case and takes back when it needs the "
        "memory; own: the rest.",
        f"Required: resident memory of visual_map_server at most {_MOST_MB:g} MB, its peak included: "
        f"{_verdict(peak <= _MOST_MB)}, {peak:.0f} MB.",
    ]
    return [
        Table("RobotCar's size: through the nodes", ("", "p50 [ms]", "p99 [ms]"), times, time_notes),
        Table("RobotCar's size: memory of the nodes", ("", *columns), memory, memory_notes),
    ]


def _accuracy(recall: RecallReport) -> str:
    return (
        f"{recall.num_poses} of {recall.num_images} localized, recall {recall.recall['0.25m_2deg']:.3f} at 0.25m_2deg, "
        f"median error {recall.median_translation_m or float('nan'):.3f} m."
    )


def _verdict(holds: bool) -> str:
    return "yes" if holds else "no"


def main(folder: str) -> None:
    """Check a map as ``vizloc map check`` does, and print the seconds and the peak memory."""
    from vizloc_ros.mapping.check import check_map

    start = time.perf_counter()
    check_map(Path(folder))
    print(json.dumps({"seconds": time.perf_counter() - start, **memory_mb()}))


if __name__ == "__main__":
    main(sys.argv[1])
