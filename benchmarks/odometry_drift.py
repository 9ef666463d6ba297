"""Maps of poses that drift, with and without ``--refine-poses``: errors of keyframes and recall of queries.

    python benchmarks/odometry_drift.py folder:shared/data/kitti00 --out /tmp/drift --kind heading

An odometry is made of the map's true poses and written into a bag, whose map is built. A map of an odometry is not in
the frame of the truth. So errors are given as they are, and after its keyframes were aligned with their true poses by a
rigid transform or by a similarity.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import Record, every
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.offline_localization import localize_records
from vizloc_ros.evaluation.recall import evaluate_poses, ground_truth
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.poses import pose_error, pose_of
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.geometry.similarity import Similarity, align_positions
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.builder import BuildOptions, build_map
from vizloc_ros.mapping.drift_correction import DriftOptions
from vizloc_ros.mapping.rotated_views import RotatedViewOptions
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.readers import open_dataset

KINDS = ("none", "heading", "scale", "both")
NOISE = 0.02  # of the length of each step, and degrees of each meter of the way


def drifting(records: Sequence[Record], kind: str, amount: float, seed: int) -> list[Record]:
    """Records with poses of an odometry.

    Args:
        records: records with true poses, in order of time.
        kind: ``heading``: the heading turns away so that the end is off to the side, and each step has noise;
            ``scale``: all lengths are too long; ``both``; ``none``.
        amount: how far the end is off, as a share of the way.
        seed: seed of the noise.
    """
    rng, truth = np.random.default_rng(seed), poses_of(records)
    steps = [a.inverse() * b for a, b in pairwise(truth)]
    way = sum(float(np.linalg.norm(step.translation)) for step in steps)
    poses = [truth[0]]
    for step in steps:
        length, scale, turn = float(np.linalg.norm(step.translation)), 1.0, np.zeros(3)
        if kind in ("heading", "both"):
            scale += NOISE * rng.normal()
            turn = np.array([0.0, 2 * amount / way * length, 0.0]) + np.radians(NOISE) * length * rng.normal(size=3)
        if kind in ("scale", "both"):
            scale += amount
        error = se3_exp(np.append(np.zeros(3), turn))
        poses.append(poses[-1] * Rigid3d(step.rotation, scale * step.translation) * error)
    return [replace(record, world_from_cam=pose) for record, pose in zip(records, poses, strict=True)]


def poses_of(records: Sequence[Record]) -> list[Rigid3d]:
    """Poses of records that all have one."""
    return [record.world_from_cam for record in records if record.world_from_cam is not None]


def alignments(estimates: Sequence[Rigid3d], truth: Sequence[Rigid3d]) -> dict[str, Similarity]:
    """Transforms of the map that the errors are given after, by their names."""
    sources, targets = (np.array([pose.translation for pose in poses]) for poses in (estimates, truth))
    similarity = align_positions(targets, sources)
    if similarity is None:
        raise DatasetError("all keyframes are at one place")
    rotation = similarity.a_from_b.rotation
    rigid = Rigid3d(rotation, targets.mean(axis=0) - rotation * sources.mean(axis=0))
    none = Similarity(1.0, Rigid3d(Rotation3d(), np.zeros(3)))
    return {"as it is": none, "rigid": Similarity(1.0, rigid), "similarity": similarity}


def show(
    name: str, keyframes: Mapping[str, Rigid3d], truth: Mapping[str, Rigid3d], found: Mapping[str, Rigid3d]
) -> None:
    """Print the errors of keyframes and queries after each alignment.

    Args:
        name: name of the map.
        keyframes: poses of the keyframes.
        truth: true poses of keyframes and queries.
        found: poses of the queries that were localized.
    """
    queries = {n: pose for n, pose in truth.items() if n not in keyframes}
    for kind, aligned in alignments(list(keyframes.values()), [truth[n] for n in keyframes]).items():
        errors = np.array([pose_error(aligned.pose(pose), truth[n]) for n, pose in keyframes.items()])
        rms, largest = np.sqrt((errors[:, 0] ** 2).mean()), errors[:, 0].max()
        text = f"{name:10} {kind:10} keyframes: rms {rms:.3f} m, max {largest:.3f} m, {np.median(errors[:, 1]):.2f} deg"
        if found:
            report = evaluate_poses({n: aligned.pose(pose) for n, pose in found.items()}, queries)
            recall = ", ".join(f"{tolerance} {ratio:.3f}" for tolerance, ratio in report.recall.items())
            text += f"; queries: {recall}, median {report.median_translation_m:.3f} m"
        print(text, flush=True)


def main() -> None:
    """Build the maps and print their errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", choices=KINDS, default="heading")
    parser.add_argument("--amount", type=float, default=0.02)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--split", default="map", help="splits of the map, with commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--queries", type=int, default=1, help="localize every N-th query; 0: none")
    parser.add_argument("--only-refined", action="store_true")
    given = parser.parse_args()
    dataset = open_dataset(given.dataset)
    of_splits = [r for split in given.split.split(",") for r in every(dataset.records(split), given.every)]
    records = sorted(of_splits, key=lambda record: record.timestamp_ns)
    bag = given.out / f"{given.kind}_bag"
    write_bag(drifting(records, given.kind, given.amount, given.seed), bag, overwrite=True)
    odometry = open_dataset(f"bag:{bag}").records("map")
    queries = every(dataset.records("query"), given.queries) if given.queries else []
    truth = {o.name: pose for o, pose in zip(odometry, poses_of(records), strict=True)} | ground_truth(queries)
    show("odometry", dict(zip([o.name for o in odometry], poses_of(odometry), strict=True)), truth, {})
    extractor = open_extractor("hfnet", device=Device(threads=1))
    for refined in (True,) if given.only_refined else (False, True):
        folder = given.out / f"{given.kind}_{'refined' if refined else 'plain'}"
        options = BuildOptions(refine_poses=DriftOptions(enabled=refined), rotated_views=RotatedViewOptions(yaws=()))
        report = build_map(odometry, extractor, folder, dataset=f"bag:{bag}", options=options)
        print(*(report.drift.lines if report.drift else []), sep="\n")
        visual_map = VisualMap.open(folder)
        keyframes = dict(zip(visual_map.keyframe_names, map(pose_of, visual_map.keyframe_poses), strict=True))
        found = localize_records(queries, visual_map, HierarchicalLocalizer(visual_map)).estimates if queries else {}
        show("refined" if refined else "plain", keyframes, truth, found)
        print(f"warnings: {report.warnings}; {sum(report.seconds.values()):.0f} s {report.seconds}", flush=True)


if __name__ == "__main__":
    main()
