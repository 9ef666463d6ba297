"""Stages of a query on a simulated map of RobotCar's size, beside the times of HF-Net, Table 5."""

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from machine import product_ms, read_ms
from measure import Cell, Table, milliseconds
from simulated_map import CAMERA, Size, simulated_query, write_simulated_map

from vizloc_ros.evaluation.recall import evaluate_poses
from vizloc_ros.localization.places import Place, covisible_clusters
from vizloc_ros.localization.pose_solver import PoseSolver
from vizloc_ros.localization.retrieval import GlobalIndex
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import StageTimings, Stopwatch, percentiles

_QUERIES, _SEARCHES = 60, 300
_KEYPOINTS, _MATCHING, _WRONG = 2048, 700, 0.5
_TOP_K = 10
# HF-Net, Table 5, RobotCar dusk and night, on a GTX 1080 [ms].
_PAPER_SEARCH = 13.0
_PAPER = {"retrieve": "13", "cluster and place": "1", "match": "3 - 6", "pose": "4 - 38"}
# Bytes per keyframe at the counts of HF-Net, Table 6, in float16 and float32.
_PAPER_LOCAL_BYTES, _PAPER_GLOBAL_BYTES = 6.1e9 / 20_862, 1024 * 4


def benchmark(out: Path) -> list[Table]:
    """Measure global search, queries one after the other, and memory."""
    rng, size = np.random.default_rng(0), Size()
    with TemporaryDirectory(dir=out) as folder:
        start = time.perf_counter()
        visual_map = write_simulated_map(Path(folder), size, rng)
        simulated = time.perf_counter() - start
        opened = median(milliseconds(lambda: VisualMap.open(folder), 5))
        index = GlobalIndex(visual_map.global_descriptors)
        return [
            _search_table(index, visual_map, rng),
            _stages_table(index, visual_map, rng),
            _memory_table(visual_map, f"simulated in {simulated:.0f} s, opened in {opened:.1f} ms"),
        ]


def _search_table(index: GlobalIndex, visual_map: VisualMap, rng: np.random.Generator) -> Table:
    chosen = rng.integers(0, visual_map.info.keyframes, _SEARCHES)
    queries = iter(np.array(visual_map.global_descriptors[np.concatenate([chosen[:5], chosen])]))
    times = percentiles(milliseconds(lambda: index.search(next(queries), _TOP_K), _SEARCHES, warm_up=5))
    limit = read_ms(visual_map.global_descriptors.nbytes)
    rows: list[list[Cell]] = [
        ["GlobalIndex.search", times["p50"], times["p99"], limit, _PAPER_SEARCH, _PAPER_SEARCH / times["p50"]]
    ]
    columns = ("", "p50 [ms]", "p99 [ms]", "limit [ms]", "paper [ms]", "paper / p50")
    notes = [
        f"{visual_map.info.keyframes:,} keyframes x {visual_map.info.global_descriptor_size}, exact, best {_TOP_K}; "
        f"{_SEARCHES} searches after 5 for warm-up. limit: {visual_map.global_descriptors.nbytes / 1e6:.0f} MB "
        "read once. Paper: RobotCar, GTX 1080."
    ]
    return Table("RobotCar's size: global search", columns, rows, notes)


def _stages_table(index: GlobalIndex, visual_map: VisualMap, rng: np.random.Generator) -> Table:
    solver, timings, sizes = PoseSolver(), StageTimings(), []
    estimates, truth = {}, {}
    matches, inliers = [], []
    for i, keyframe in enumerate(rng.integers(5, visual_map.info.keyframes - 5, _QUERIES + 3)):
        query, pose = simulated_query(
            visual_map, int(keyframe), keypoints=_KEYPOINTS, matching=_MATCHING, wrong=_WRONG, rng=rng
        )
        clock = Stopwatch()
        with clock("total"):
            with clock("retrieve"):
                retrieved, _ = index.search(query.global_descriptor, _TOP_K)
            with clock("cluster"):
                clusters = covisible_clusters(visual_map, retrieved)
            with clock("place"):
                places = [Place.of_keyframes(visual_map, cluster, per_landmark=2) for cluster in clusters]
            outcome = solver.solve(query, places, CAMERA, clock)
        if i < 3:  # warm-up
            continue
        clock.milliseconds["cluster and place"] = clock.milliseconds["cluster"] + clock.milliseconds["place"]
        timings.add_all(clock.milliseconds)
        sizes.append(len(places[0].landmark_ids))
        matches.append(outcome.matches)
        inliers.append(outcome.inliers)
        truth[str(i)] = pose
        if outcome.pose is not None:
            estimates[str(i)] = outcome.pose.map_from_cam
    observations = int(median(sizes))
    limits = {
        "retrieve": read_ms(visual_map.global_descriptors.nbytes),
        "match": product_ms(_KEYPOINTS, observations, visual_map.info.descriptor_size),
    }
    times = timings.overall()
    stages = ("retrieve", "cluster", "place", "cluster and place", "match", "pose", "total")
    rows: list[list[Cell]] = [
        [stage, times[stage]["p50"], times[stage]["p99"], limits.get(stage), _PAPER.get(stage)] for stage in stages
    ]
    recall = evaluate_poses(estimates, truth)
    notes = [
        f"{_QUERIES} queries anywhere in the map after 3 for warm-up: {_KEYPOINTS} keypoints against a place of "
        f"{observations} observations (median); {median(matches):g} matches, {median(inliers):g} inliers (medians), "
        f"{recall.num_poses} localized, median error {recall.median_translation_m or float('nan'):.3f} m.",
        "Paper: RobotCar dusk - night on a GTX 1080; its features take 15 ms, its total is 36 - 73 ms.",
    ]
    columns = ("stage", "p50 [ms]", "p99 [ms]", "limit [ms]", "paper [ms]")
    return Table("RobotCar's size: one query without features", columns, rows, notes)


def _memory_table(visual_map: VisualMap, made: str) -> Table:
    local = visual_map.observation_descriptors.nbytes
    parts = {
        "global descriptors": (visual_map.global_descriptors.nbytes, _PAPER_GLOBAL_BYTES),
        "local descriptors (int8, one an observation)": (local, _PAPER_LOCAL_BYTES),
        "observations (landmark, pixel)": (
            visual_map.observation_landmarks.nbytes + visual_map.observation_pixels.nbytes,
            None,
        ),
        "landmark positions": (visual_map.landmark_positions.nbytes, None),
        "keyframes (pose, stamp, camera, offset)": (
            visual_map.keyframe_poses.nbytes
            + visual_map.keyframe_stamps.nbytes
            + visual_map.keyframe_cameras.nbytes
            + visual_map.observation_offsets.nbytes,
            None,
        ),
    }
    keyframes = visual_map.info.keyframes
    rows: list[list[Cell]] = [[name, 1e-6 * size, size / keyframes, paper] for name, (size, paper) in parts.items()]
    total = sum(size for size, _ in parts.values())
    rows.append(["total", 1e-6 * total, total / keyframes, None])
    notes = [
        f"{keyframes:,} keyframes, {visual_map.info.landmarks:,} landmarks, {visual_map.info.observations:,} "
        f"observations: the counts of the paper's Table 6; {made}.",
        "Without the COLMAP model, which queries do not read. In memory: the global descriptors; the rest is "
        "memory-mapped and comes in as places are visited.",
        "Last column: HF-Net's 256 x float16 per observation, and 1024 x float32 per keyframe.",
    ]
    columns = ("arrays", "MB", "bytes per keyframe", "at the paper's counts in float16/32")
    return Table("RobotCar's size: memory of the map", columns, rows, notes)
