"""From how far off an alignment finds the truth: what ``vizloc evaluate convergence`` and ``ablation`` run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from zlib import crc32

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.recall import PoseError
from vizloc_ros.geometry.poses import perturbed, pose_error, pose_of
from vizloc_ros.localization.global_search import open_search
from vizloc_ros.localization.localization_options import RetrievalOptions
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.optimizer.alignment import Alignment
from vizloc_ros.pixloc.pose_refiner import MapAligner
from vizloc_ros.pixloc.reference_builder import compute_references
from vizloc_ros.pixloc.tracking_options import TrackingOptions

CONVERGED_M, CONVERGED_DEG = 0.25, 1.0
RETRIEVED = "retrieved"


@dataclass(frozen=True)
class Perturbation:
    """How far a prior lies from the truth."""

    translation_m: float
    rotation_deg: float

    def __str__(self) -> str:
        return f"{self.translation_m:g}m_{self.rotation_deg:g}deg"

    def apply(self, map_from_cam: Rigid3d, rng: np.random.Generator) -> Rigid3d:
        """The pose moved and turned by exactly that much, each in a random direction."""
        return perturbed(map_from_cam, self.translation_m, self.rotation_deg, rng)


PERTURBATIONS = (Perturbation(0.5, 1), Perturbation(1, 2), Perturbation(2, 4), Perturbation(4, 8))


@dataclass(frozen=True)
class Outcome:
    """One alignment: its prior, how it ended, and how far from the truth."""

    prior: Rigid3d
    alignment: Alignment | None
    error: PoseError

    @property
    def converged(self) -> bool:
        """Whether it ended within 0.25 m and 1 degree."""
        return self.error.translation_m <= CONVERGED_M and self.error.rotation_deg <= CONVERGED_DEG


@dataclass(frozen=True)
class Basin:
    """The alignments of all queries from priors of one kind.

    Attributes:
        outcomes: by name of the query.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of the queries whose alignment converged."""
        return sum(outcome.converged for outcome in self.outcomes.values()) / max(len(self.outcomes), 1)

    def as_dict(self) -> dict[str, float | None]:
        """Share, and medians of those that converged."""
        good = [outcome.error for outcome in self.outcomes.values() if outcome.converged]
        return {
            "converged": self.share,
            "median_translation_m": float(np.median([e.translation_m for e in good])) if good else None,
            "median_rotation_deg": float(np.median([e.rotation_deg for e in good])) if good else None,
        }


class ConvergenceTask:
    """One extractor on one map: aligns queries from priors, with the tracker's choice of landmarks."""

    def __init__(
        self,
        visual_map: VisualMap,
        extractor: PyramidExtractor,
        mapped: Sequence[Record],
        options: TrackingOptions | None = None,
        progress: Progress = silent,
    ) -> None:
        """Takes the map's references if they are the extractor's, else computes them from the mapped images.

        Raises ``MapError`` if that is needed and an image of the map is not among ``mapped``.
        """
        info = visual_map.info
        if info.pixloc is None or info.pixloc.model_id != extractor.model_id:
            visual_map = replace(visual_map, references=compute_references(visual_map, mapped, extractor, progress))
        self._aligner = MapAligner(visual_map, extractor, options)

    def basin(
        self, queries: Sequence[Record], priors: Mapping[str, Rigid3d], description: str, progress: Progress = silent
    ) -> Basin:
        """Aligns every query from its prior map_from_cam. Raises ``DatasetError`` for queries without a pose."""

        def outcome(query: Record) -> Outcome:
            if query.world_from_cam is None:
                raise DatasetError(f"{query.name}: has no pose, so whether it is found cannot be told")
            prior = priors[query.name]
            aligned = self._aligner.align(query.read_image(), query.camera, prior)
            pose = prior if aligned is None else aligned.alignment.cam_from_map.inverse()
            alignment = None if aligned is None else aligned.alignment
            return Outcome(prior, alignment, PoseError(*pose_error(pose, query.world_from_cam)))

        outcomes = parallel_map(outcome, queries, description, progress)
        return Basin({query.name: outcome for query, outcome in zip(queries, outcomes, strict=True)})


def perturbed_priors(queries: Sequence[Record], perturbation: Perturbation, seed: int) -> dict[str, Rigid3d]:
    """A prior map_from_cam for every query with a pose; it depends on the query's name and the seed alone."""
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
    """The pose of the keyframe that looks most like each query."""
    search, extractor = open_search(visual_map, RetrievalOptions()), visual_map.extractor

    def prior(query: Record) -> Rigid3d:
        keyframes, _ = search.search(extractor.extract(query.read_image()).global_descriptor, 1)
        return pose_of(visual_map.keyframe_poses[int(keyframes[0])])

    found = parallel_map(prior, queries, "retrieving", progress)
    return {query.name: pose for query, pose in zip(queries, found, strict=True)}
