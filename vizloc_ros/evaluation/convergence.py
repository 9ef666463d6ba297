"""Convergence of the alignment from perturbed priors: ``vizloc evaluate convergence`` and ``ablation``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import ConfigError, DatasetError
from vizloc_ros.evaluation.basin_figures import draw_basins
from vizloc_ros.evaluation.basins import basin_report, measure_basins
from vizloc_ros.evaluation.convergence_figures import plot_convergence
from vizloc_ros.evaluation.recall import PoseError
from vizloc_ros.evaluation.report import require_result_folder, write_report
from vizloc_ros.geometry.poses import perturbed, pose_error, pose_of
from vizloc_ros.localization.global_search import open_search
from vizloc_ros.localization.localization_options import RetrievalOptions
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.pixloc.extractors.ablations import Coarse, Compact, Unconfident, Undamped
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment
from vizloc_ros.pixloc.pose_refiner import MapAligner
from vizloc_ros.pixloc.reference_builder import compute_references
from vizloc_ros.pixloc.tracking_options import TrackingOptions

CONVERGED_M, CONVERGED_DEG = 0.25, 1.0
RETRIEVED = "retrieved"


@dataclass(frozen=True)
class Perturbation:
    """Distance of a prior from the ground truth."""

    translation_m: float
    rotation_deg: float

    def __str__(self) -> str:
        return f"{self.translation_m:g}m_{self.rotation_deg:g}deg"

    def apply(self, map_from_cam: Rigid3d, rng: np.random.Generator) -> Rigid3d:
        """Pose translated and rotated by exactly this much, each in a random direction."""
        return perturbed(map_from_cam, self.translation_m, self.rotation_deg, rng)


PERTURBATIONS = (Perturbation(0.5, 1), Perturbation(1, 2), Perturbation(2, 4), Perturbation(4, 8))
DEGRADED_FROM = PERTURBATIONS[1]  # prior of degraded images: 1 m, 2 deg


@dataclass(frozen=True)
class Outcome:
    """One alignment: its prior map_from_cam, its result, and the error of the final pose.

    Attributes:
        prior: pose map_from_cam where the alignment started.
        alignment: result; None if the map has no landmarks around the prior.
        error: error of the final pose, or of the prior if there is no result.
    """

    prior: Rigid3d
    alignment: Alignment | None
    error: PoseError

    @property
    def converged(self) -> bool:
        """Return true if the final pose is within 0.25 m and 1 degree of the ground truth."""
        return self.error.translation_m <= CONVERGED_M and self.error.rotation_deg <= CONVERGED_DEG


@dataclass(frozen=True)
class Basin:
    """Alignments of all queries from priors of one kind.

    Attributes:
        outcomes: alignments by name of the query.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Ratio of queries whose alignment converged."""
        return sum(outcome.converged for outcome in self.outcomes.values()) / max(len(self.outcomes), 1)

    def as_dict(self) -> dict[str, float | None]:
        """Ratio of converged alignments, and their median errors; None if none converged."""
        good = [outcome.error for outcome in self.outcomes.values() if outcome.converged]
        return {
            "converged": self.ratio,
            "median_translation_m": float(np.median([e.translation_m for e in good])) if good else None,
            "median_rotation_deg": float(np.median([e.rotation_deg for e in good])) if good else None,
        }


class ConvergenceTask:
    """Alignment of queries with one extractor on one map, with the landmarks that the tracker would choose.

    Attributes:
        aligner: aligner of the map.
    """

    aligner: MapAligner

    def __init__(
        self,
        visual_map: VisualMap,
        extractor: PyramidExtractor,
        mapped: Sequence[Record],
        options: TrackingOptions | None = None,
        progress: Progress = silent,
    ) -> None:
        """Take the map's reference features if they are the extractor's, else compute them from the mapped images.

        Raises ``MapError`` if they have to be computed and an image of the map is not in ``mapped``.
        """
        info = visual_map.info
        if info.pixloc is None or info.pixloc.model_id != extractor.model_id:
            visual_map = replace(visual_map, references=compute_references(visual_map, mapped, extractor, progress))
        self.aligner = MapAligner(visual_map, extractor, options)

    def basin(
        self, queries: Sequence[Record], priors: Mapping[str, Rigid3d], description: str, progress: Progress = silent
    ) -> Basin:
        """Align every query from its prior map_from_cam. Raises ``DatasetError`` for queries without a pose."""

        def outcome(query: Record) -> Outcome:
            if query.world_from_cam is None:
                raise DatasetError(f"{query.name}: has no pose to compare with")
            prior = priors[query.name]
            aligned = self.aligner.align(query.read_image(), query.camera, prior)
            pose = prior if aligned is None else aligned.alignment.cam_from_map.inverse()
            alignment = None if aligned is None else aligned.alignment
            return Outcome(prior, alignment, PoseError(*pose_error(pose, query.world_from_cam)))

        outcomes = parallel_map(outcome, queries, description, progress)
        return Basin({query.name: outcome for query, outcome in zip(queries, outcomes, strict=True)})


def perturbed_priors(queries: Sequence[Record], perturbation: Perturbation, seed: int) -> dict[str, Rigid3d]:
    """Prior map_from_cam of every query with a pose; it depends only on the query's name and the seed."""
    return {
        query.name: perturbation.apply(
            query.world_from_cam, np.random.default_rng([seed, crc32(f"{query.name} {perturbation}".encode())])
        )
        for query in queries
        if query.world_from_cam is not None
    }


def retrieved_priors(
    visual_map: VisualMap, queries: Sequence[Record], progress: Progress = silent
) -> dict[str, Rigid3d]:
    """Pose map_from_cam of the keyframe with the most similar global descriptor, for each query."""
    search, extractor = open_search(visual_map, RetrievalOptions()), visual_map.extractor

    def prior(query: Record) -> Rigid3d:
        keyframes, _ = search.search(extractor.extract(query.read_image()).global_descriptor, 1)
        return pose_of(visual_map.keyframe_poses[int(keyframes[0])])

    found = parallel_map(prior, queries, "retrieving", progress)
    return {query.name: pose for query, pose in zip(queries, found, strict=True)}


@dataclass(frozen=True)
class AlignmentSet:
    """Queries, and the priors map_from_cam by name that they are aligned from."""

    queries: Sequence[Record]
    priors: Mapping[str, Rigid3d]


def alignment_sets(
    queries: Sequence[Record], degradations: Sequence[Degradation] = (), seed: int = 0
) -> dict[str, AlignmentSet]:
    """Sets of the clean queries from every perturbation, and of the degraded queries from 1 m and 2 deg, by name.

    Args:
        queries: images with ground-truth poses in the map, see ``Georeference.records_in_map``.
        degradations: degradations of the images.
        seed: seed of perturbations and degradations.
    """
    of_degraded = perturbed_priors(queries, DEGRADED_FROM, seed)
    return {
        **{str(p): AlignmentSet(queries, perturbed_priors(queries, p, seed)) for p in PERTURBATIONS},
        **{str(d): AlignmentSet(degrade_records(queries, d, seed), of_degraded) for d in degradations},
    }


_COMPACT = 16  # elements of the compact variant's features
_COMPACT_IMAGES = 12  # number of images that its principal components are computed from


def ablated(full: PyramidExtractor, mapped: Sequence[Record]) -> dict[str, PyramidExtractor]:
    """Extractors by name: the full one, and variants without one of its parts (PixLoc, Table 3).

    Args:
        full: extractor with all its parts.
        mapped: images of the map, which the principal components of compact features are computed from.
    """
    step = max(1, len(mapped) // _COMPACT_IMAGES)
    return {
        "full": full,
        "no fine level": Coarse(full),
        "no uncertainty": Unconfident(full),
        "no learned damping": Undamped(full),
        f"compact features ({_COMPACT})": Compact(full, [r.read_image() for r in mapped[::step]], _COMPACT),
    }


def evaluate_convergence(
    models: Mapping[str, PyramidExtractor],
    visual_map: VisualMap,
    mapped: Sequence[Record],
    sets: Mapping[str, AlignmentSet],
    figure: Path,
    *,
    options: TrackingOptions | None = None,
    basins: int = 0,
    details: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Align all sets with all models, and write ``report.json`` and a figure.

    Args:
        models: extractors by name.
        visual_map: map of the keyframes and landmarks.
        mapped: images of the map, for models whose reference features the map does not have.
        sets: queries with their priors by name, see ``alignment_sets``.
        figure: file of the figure; the report goes into the same folder.
        options: options of tracker and submaps.
        basins: number of queries of the first set whose basins are measured with the first model, and drawn into the
            folder ``basins`` beside the figure.
        details: further keys of the report.
        progress: progress display.

    Returns:
        The report, as in ``report.json``.

    Raises:
        ConfigError: there is no model.
        DatasetError: a query has no pose.
        MapError: reference features have to be computed, and an image of the map is not in ``mapped``.
    """
    if not models:
        raise ConfigError("no model was given")
    require_result_folder(figure.parent)
    reports: dict[str, dict[str, Any]] = {}
    measured: dict[str, Any] = {}
    for name, extractor in models.items():
        task = ConvergenceTask(visual_map, extractor, mapped, options, progress)
        outcomes = {key: task.basin(s.queries, s.priors, f"{name}, {key}", progress) for key, s in sets.items()}
        if basins and not reports:
            found = measure_basins(next(iter(sets.values())).queries, task.aligner, basins, progress)
            draw_basins(figure.parent / "basins", found)
            measured = {"basins": {"num_images": len(found), "levels": basin_report(found)}}
        reports[name] = _model_report(outcomes)
    first = next(iter(reports.values()))
    report = {
        **{key: value for key, value in first.items() if key != "medians"},
        "models": reports,
        **measured,
        **(details or {}),
    }
    write_report(figure.parent / "report.json", report)
    plot_convergence(figure, {name: converged_ratios(of_model) for name, of_model in reports.items()})
    return report


def converged_ratios(model_report: Mapping[str, Any]) -> dict[str, float]:
    """Ratio of converged alignments by set, from the part of a report about one model, in the order of the sets."""
    return {key: of_set["converged"] for key, of_set in model_report["medians"].items()}


def _model_report(basins: Mapping[str, Basin]) -> dict[str, Any]:
    degraded = {key: basin.ratio for key, basin in basins.items() if ":" in key}
    report: dict[str, Any] = {
        "converged": {key: basin.ratio for key, basin in basins.items() if key not in degraded},
        "medians": {key: basin.as_dict() for key, basin in basins.items()},
    }
    if degraded:
        report["degraded"], report["mean_degraded"] = degraded, sum(degraded.values()) / len(degraded)
    return report
