"""Localization of a dataset in a map, without ROS."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.convergence import Perturbation
from vizloc_ros.features.types import Features
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.pose_solver import Localization
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.pixloc.pose_refiner import PoseRefiner
from vizloc_ros.timing import StageTimings, Stopwatch

_RETRIEVED_WITHIN_M = 5.0


@dataclass
class OfflineRun:
    """What became of every query.

    Attributes:
        top_k: keyframes retrieved.
        outcomes: by name, in order of time.
        features: of every query by name, if they were to be kept.
        retrieval_ranks: by name of the posed queries, the rank of the first retrieved keyframe within 5 m, or None.
        timings: by stage, and "total" of image in to pose out.
    """

    top_k: int
    outcomes: dict[str, Localization] = field(default_factory=dict)
    features: dict[str, Features] = field(default_factory=dict)
    retrieval_ranks: dict[str, int | None] = field(default_factory=dict)
    timings: StageTimings = field(default_factory=StageTimings)

    @property
    def estimates(self) -> dict[str, Rigid3d]:
        """map_from_cam of the queries that were localized."""
        return {name: o.pose.map_from_cam for name, o in self.outcomes.items() if o.pose is not None}

    @property
    def unlocalized(self) -> dict[str, str]:
        """The reason of every query that was not."""
        return {name: o.reason for name, o in self.outcomes.items() if o.pose is None}

    @property
    def retrieval(self) -> dict[str, float] | None:
        """Share of the posed queries whose first, and one of whose first ten keyframes is within 5 m.

        Without the second when fewer than ten are retrieved.
        """
        ranks = list(self.retrieval_ranks.values())
        if not ranks:
            return None
        return {
            f"r{k}_5m": sum(rank is not None and rank < k for rank in ranks) / len(ranks)
            for k in (1, 10)
            if k <= self.top_k
        }


def localize_records(
    records: Sequence[Record],
    visual_map: VisualMap,
    localizer: HierarchicalLocalizer,
    progress: Progress = silent,
    keep_features: bool = False,
) -> OfflineRun:
    """Localizes every record. Raises ``ImageError`` for an image that cannot be read."""
    run = OfflineRun(localizer.finder.options.top_k)
    extractor = visual_map.extractor
    for record in progress(records, "localizing", len(records)):
        image = record.read_image()
        stopwatch = Stopwatch()
        with stopwatch("total"):
            with stopwatch("extract"):
                features = extractor.extract(image)
            outcome, retrieved = localizer.localize_with_candidates(features, record.camera, stopwatch)
        run.timings.add_all(stopwatch.milliseconds)
        run.outcomes[record.name] = outcome
        if keep_features:
            run.features[record.name] = features
        if record.world_from_cam is not None:
            centres = visual_map.keyframe_poses[retrieved.keyframes, :3]
            near = np.linalg.norm(centres - record.world_from_cam.translation, axis=1) <= _RETRIEVED_WITHIN_M
            run.retrieval_ranks[record.name] = int(near.argmax()) if near.any() else None
    return run


def moved_poses(poses: Mapping[str, Rigid3d], distance: float, seed: int) -> dict[str, Rigid3d]:
    """Poses map_from_cam moved by a distance [m], each in a random direction that its name and the seed decide."""
    perturbation = Perturbation(distance, 0.0)
    return {
        name: perturbation.apply(pose, np.random.default_rng([seed, crc32(name.encode())]))
        for name, pose in poses.items()
    }


def refine_poses(
    records: Sequence[Record], poses: Mapping[str, Rigid3d], refiner: PoseRefiner, progress: Progress = silent
) -> tuple[dict[str, Rigid3d], dict[str, str]]:
    """The poses map_from_cam after refinement, and why some stayed as they were."""
    found = [record for record in records if record.name in poses]
    refined = parallel_map(
        lambda record: refiner.refine(record.read_image(), record.camera, poses[record.name]),
        found,
        "refining",
        progress,
    )
    by_name = {record.name: refinement for record, refinement in zip(found, refined, strict=True)}
    return (
        {name: refinement.map_from_cam for name, refinement in by_name.items()},
        {name: refinement.reason for name, refinement in by_name.items() if refinement.reason},
    )
