"""Fit of the probability that a pose is right: ``python benchmarks/pose_probability.py --out FILE``, an hour.

Poses are found in worlds that no evaluation of single cameras uses: the training frames of kitti00 (every second,
fourth or eighth one is mapped), and rendered streets of other seeds. Images are altered by faults. Those with a true
pose are looked for a second time where they can hardly be: without the keyframes within 15 m. Poses that are not
uncertain by more than 0.5 m are evidence, in the first three places, right or wrong. Those between right (0.5 m and 5
degrees) and wrong (over 2 m or 10 degrees) are left out: they are imprecise. So are faults of the calibration, which
another check finds, and worlds that repeat themselves everywhere: that is what rivals are for.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
import yaml
from pycolmap import Rigid3d
from scipy.optimize import minimize
from scipy.special import expit

from vizloc_ros.arrays import Bool, Float32, Float64, Int64, UInt8
from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic.lens_covers import hidden
from vizloc_ros.errors import VizlocError
from vizloc_ros.evaluation.altered_records import Drive, degraded, images, mixed
from vizloc_ros.evaluation.faults import Fault, chosen_faults
from vizloc_ros.evaluation.image_faults import torn
from vizloc_ros.evaluation.recall import WRONG, PoseError, Tolerance
from vizloc_ros.evaluation.trust import NOWHERE
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

_SEEDS = (103, 104, 105)
_FOREIGN = 1000  # added to the seed
_EVERY = 12  # images of a street, and 24 training frames of kitti00
_STEPS = (2, 4, 8)  # of the latter, every such one is mapped
_ODDS = 9.0  # right poses for a wrong one, while a vehicle drives in its map; in the fit there are three
_PLACES = 3
_IMPRECISE = Tolerance(2.0, 10.0)
_BANNED = 15.0  # m around the image, in the half of the searches that can hardly succeed
_ALL = PoseOptions(min_probability=0, max_position_std=0.5, max_rival_ratio=1, places="best")


def _a_box_visible(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Cover all but 8 to 35 % of the image, in the lower 80 %."""
    share, aspect = rng.choice([0.08, 0.12, 0.2, 0.35]), rng.uniform(0.6, 1.6)
    width, height = np.sqrt(share * aspect), np.sqrt(share / aspect)
    left, top = rng.uniform(0, 1 - width), rng.uniform(0.2, 1 - height)
    return hidden((left, top, left + width, top + height))(image, 0, 0.0)


FAULTS = (
    *chosen_faults(["none", "upper half covered", "85 % covered", "lower 40 % visible", "mirrored", "foreign street"]),
    *chosen_faults(["blur 5", "night 5", "noise 5", "occlusion 5", "torn"]),
    *chosen_faults(["overexposed", "low resolution", "half black", "dirt", "out of focus", "reflection"]),
    *(
        Fault(f"{kind} {level}", "", "", degraded(kind, level))
        for kind, level in (("blur", 3), ("blur", 4), ("night", 4), ("occlusion", 4), ("noise", 4))
    ),
    Fault("a box visible", "", "", images(_a_box_visible)),
    Fault("torn by a second", "", "", mixed(torn, 1.0)),
)


@dataclass
class Evidence:
    """Terms (N, T) of all poses, and whether each is right."""

    terms: list[dict[str, float]]
    right: list[bool]

    def add(self, truth: Rigid3d | None, candidate: Candidate, found: PoseEvidence) -> None:
        """Add a pose of an image with a true pose map_from_cam; None if no pose is right."""
        map_from_cam = candidate.estimate.cam_from_map.inverse()
        error = NOWHERE if truth is None else PoseError(*pose_error(map_from_cam, truth))
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


@dataclass(frozen=True)
class World:
    """World: mapped records, driven ones, those of them that are looked for, and the seed of a foreign street."""

    name: str
    mapped: Sequence[Record]
    driven: Sequence[Record]
    looked_for: slice
    foreign: int

    def can_have(self, fault: Fault) -> bool:
        """Tell whether the images of the foreign street have the size that a fault needs."""
        return fault.name != "reflection" or self.name.startswith("synthetic")


def worlds(data: Path) -> Iterator[World]:
    """Worlds of the fit; without kitti00 only the streets."""
    if (data / "kitti00").is_dir():
        train = open_dataset(f"folder:{data / 'kitti00'}").records("train")
        for step in _STEPS:
            looked_for = slice(3 if step == 2 else 1, None, 2 * _EVERY // step)
            yield World(f"kitti00 train 1:{step}", train[::step], train[step // 2 :: step], looked_for, _SEEDS[0])
    for seed in _SEEDS:
        source = open_dataset(f"synthetic:seed={seed}")
        yield World(
            source.name, source.records("map"), source.records("query"), slice(5, None, _EVERY), seed + _FOREIGN
        )


def collect(visual_map: VisualMap, world: World, evidence: Evidence) -> None:
    """Add the evidence for all poses of the images of a world, altered by each fault in turn."""
    finder, extractor = PlaceFinder(visual_map), visual_map.extractor
    everywhere, centers = finder.index, visual_map.keyframe_poses[:, :3]
    foreign = open_dataset(f"synthetic:seed={world.foreign}").records("query")
    drive = Drive(visual_map.info.place.records_in_map(world.driven), 0, foreign)
    faults = [fault for fault in FAULTS if world.can_have(fault)]
    for fault in bar(faults, f"evidence in {world.name}", len(faults)):
        for record in fault.alter(drive)[world.looked_for]:
            truth = record.world_from_cam
            try:
                features = extractor.extract(record.read_image())
            except VizlocError:
                continue
            features = corrected(features, visual_map.info.intrinsics_correction(record.camera), record.camera)
            if not len(features):
                continue
            indices: list[GlobalSearch] = [everywhere]
            if truth is not None:
                indices.append(_Without(everywhere, np.linalg.norm(centers - truth.translation, axis=1) < _BANNED))
            solver = PoseSolver(_ALL, on_evidence=partial(evidence.add, truth))
            for index in indices:
                finder.index = index
                places = finder.find(features.global_descriptor, Stopwatch()).places[:_PLACES]
                best = features.best(PoseOptions().first_keypoints)
                for tried in (features, best) if len(best) < len(features) else (features,):
                    solver.solve(tried, places, record.camera)


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
    for world in worlds(data):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "map"
            build_map(world.mapped, open_extractor("hfnet"), path, dataset=world.name, progress=bar)
            before = len(evidence.right)
            collect(VisualMap.open(path), world, evidence)
        right = sum(evidence.right[before:])
        told.append(f"{world.name}: {right} right, {len(evidence.right) - before - right} wrong")
    right, terms = np.array(evidence.right), list(evidence.terms[0])
    values = np.array([[each[term] for term in terms] for each in evidence.terms])
    weights = fit(values, right)
    weights[0] += np.log(_ODDS * (~right).sum() / right.sum())
    probability = expit(values @ weights[1:] + weights[0])
    highest = ", ".join(f"{p:.4f}" for p in np.sort(probability[~right])[-5:])
    passing = int((probability[~right] > PoseOptions().min_probability).sum())
    ratios = ", ".join(f"above {p:g} {(probability[right] > p).mean():.3f}" for p in (0.9, 0.93, 0.99))
    model = {
        "provenance": f"python benchmarks/pose_probability.py --out FILE. Poses: {'; '.join(told)}. {passing} wrong "
        f"ones are above the limit, the most probable ones are {highest}. Ratio of the right ones {ratios}. The "
        f"constant term is for {_ODDS:g} right poses for a wrong one",
        "intercept": round(float(weights[0]), 4),
        "weights": {term: round(float(weight), 4) for term, weight in zip(terms, weights[1:], strict=True)},
    }
    out.write_text(yaml.safe_dump(model, sort_keys=False, width=110), encoding="utf-8")
    print(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    typer.run(main)
