"""Fit of the probability that a pose is right: ``python benchmarks/pose_probability.py --out FILE``, about ten minutes.

Poses are found in worlds that no evaluation uses: the training frames of kitti00 (every second one is mapped), and
rendered streets of other seeds. Half of them are looked for where they cannot be: without the keyframes within 15 m.
All poses with at least twelve inliers are evidence, in every place, right or wrong. Those between right (0.5 m and 5
degrees) and wrong (over 2 m or 10 degrees) are left out: they are imprecise. So are worlds that repeat themselves,
where nothing in a wrong pose tells that it is wrong: that is what rivals are for.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from zlib import crc32

import numpy as np
import typer
import yaml
from pycolmap import Rigid3d
from scipy.optimize import minimize
from scipy.special import expit

from vizloc_ros.arrays import Bool, Float32, Float64, Int64, UInt8
from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.corruptions import Degradation
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic.lens_covers import covered
from vizloc_ros.evaluation.recall import WRONG, PoseError, Tolerance
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.types import corrected
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization.candidate import Candidate
from vizloc_ros.localization.global_search import GlobalSearch
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.localization.pose_evidence import PoseEvidence
from vizloc_ros.localization.pose_solver import PoseSolver
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.readers import open_dataset
from vizloc_ros.timing import Stopwatch

_SEEDS = (101, 102)
_IMPRECISE = Tolerance(2.0, 10.0)
_BANNED = 15.0  # m around the image, in the half of the searches that cannot succeed
_ALL = PoseOptions(
    min_inliers=12, min_inlier_ratio=0, max_position_std=1000, min_probability=0, max_rival_ratio=1, places="best"
)
_ALTERED = (
    *(f"{kind}:{level}" for kind in ("night", "blur", "noise", "occlusion") for level in (3, 5)),
    *("upper_half", "most", "upper_60", "mirrored"),
)


@dataclass
class Evidence:
    """Terms (N, T) of all poses, and whether each is right."""

    terms: list[dict[str, float]]
    right: list[bool]

    def add(self, truth: Rigid3d, candidate: Candidate, found: PoseEvidence) -> None:
        """Add a pose of an image with a true pose map_from_cam."""
        error = PoseError(*pose_error(candidate.estimate.cam_from_map.inverse(), truth))
        if error.within(WRONG) or not error.within(_IMPRECISE):
            self.terms.append(found.terms)
            self.right.append(error.within(WRONG))


@dataclass
class _Without:
    """Search that does not find some keyframes."""

    search_all: GlobalSearch
    banned: Bool

    def search(self, query: Float32, k: int) -> tuple[Int64, Float32]:
        keyframes, similarities = self.search_all.search(query, len(self.banned))
        left = ~self.banned[keyframes]
        return keyframes[left][:k], similarities[left][:k]

    def descriptors_of(self, keyframes: Int64) -> Float32:
        return self.search_all.descriptors_of(keyframes)


def worlds(data: Path) -> Iterator[tuple[str, list[Record], list[Record]]]:
    """Name, mapped records and queries of each world."""
    if (data / "kitti00").is_dir():
        train = open_dataset(f"folder:{data / 'kitti00'}").records("train")
        yield "kitti00 train", train[::2], train[1::6]
    for seed in _SEEDS:
        source = open_dataset(f"synthetic:seed={seed}")
        yield source.name, source.records("map")[::2], source.records("query")[3::9]


def collect(visual_map: VisualMap, records: Sequence[Record], evidence: Evidence) -> None:
    """Add the evidence for all poses of some images: as they are, and altered in two ways, in turn."""
    finder, extractor = PlaceFinder(visual_map), visual_map.extractor
    everywhere, centers = finder.index, visual_map.keyframe_poses[:, :3]
    for number, record in enumerate(bar(records, "collecting evidence", len(records))):
        truth = record.world_from_cam
        if truth is None:
            continue
        solver = PoseSolver(_ALL, on_evidence=partial(evidence.add, truth))
        image, banned = record.read_image(), np.linalg.norm(centers - truth.translation, axis=1) < _BANNED
        for altered in ("", *(_ALTERED[(2 * number + k) % len(_ALTERED)] for k in range(2))):
            features = extractor.extract(_altered(image, altered, crc32(record.name.encode())))
            features = corrected(features, visual_map.info.intrinsics_correction(record.camera), record.camera)
            if not len(features):
                continue
            for index in (everywhere, _Without(everywhere, banned)):
                finder.index = index
                places = finder.find(features.global_descriptor, Stopwatch()).places
                for tried in (features, features.best(PoseOptions().first_keypoints)):
                    solver.solve(tried, places, record.camera)


def _altered(image: UInt8, how: str, seed: int) -> UInt8:
    if not how:
        return image
    if how == "mirrored":
        return np.ascontiguousarray(image[:, ::-1])
    return Degradation.parse(how).apply(image, seed) if ":" in how else covered(image, how, 1, 0.0)


def fit(terms: Float64, right: Bool) -> Float64:
    """Intercept and weights of a logistic model of (N, T) terms, with little regularization."""
    mean, std = terms.mean(axis=0), terms.std(axis=0)
    scaled, sign = (terms - mean) / std, np.where(right, 1.0, -1.0)

    def loss(weights: Float64) -> tuple[float, Float64]:
        logits = scaled @ weights[1:] + weights[0]
        slope = -sign * expit(-sign * logits) / len(right)
        value = np.logaddexp(0, -sign * logits).mean() + 0.1 / len(right) * np.square(weights[1:]).sum()
        return float(value), np.r_[slope.sum(), scaled.T @ slope + 0.2 / len(right) * weights[1:]]

    weights = minimize(loss, np.zeros(1 + terms.shape[1]), jac=True).x
    return np.r_[weights[0] - (weights[1:] * mean / std).sum(), weights[1:] / std]


def main(
    out: Annotated[Path, typer.Option(help="File of the model")],
    data: Annotated[Path, typer.Option(help="Folder with kitti00", envvar="VIZLOC_DATA")] = Path("../shared/data"),
) -> None:
    """Collect evidence in all worlds, fit the model, and write it."""
    evidence, told = Evidence([], []), []
    for name, mapped, queries in worlds(data):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "map"
            build_map(mapped, open_extractor("hfnet"), path, dataset=name, progress=bar)
            before = len(evidence.right)
            collect(VisualMap.open(path), queries, evidence)
        right = sum(evidence.right[before:])
        told.append(f"{name}: {right} right, {len(evidence.right) - before - right} wrong")
    names = list(evidence.terms[0])
    terms, right = np.array([list(each.values()) for each in evidence.terms]), np.array(evidence.right)
    weights = fit(terms, right)
    probability = expit(terms @ weights[1:] + weights[0])
    highest = ", ".join(f"{p:.4f}" for p in np.sort(probability[~right])[-5:])
    provenance = (
        f"python benchmarks/pose_probability.py, seeds {_SEEDS}. Poses: {'; '.join(told)}. The most probable wrong "
        f"ones: {highest}. Ratio of the right ones above 0.99: {(probability[right] > 0.99).mean():.3f}"
    )
    model = {
        "provenance": provenance,
        "intercept": round(float(weights[0]), 4),
        "weights": {name: round(float(weight), 4) for name, weight in zip(names, weights[1:], strict=True)},
    }
    out.write_text(yaml.safe_dump(model, sort_keys=False, width=110), encoding="utf-8")
    print(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    typer.run(main)
