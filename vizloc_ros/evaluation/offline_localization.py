"""Localization of a dataset's images in a map, without ROS: the run, the refinement of its poses, and the report."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.errors import ConfigError
from vizloc_ros.evaluation.convergence import Perturbation
from vizloc_ros.evaluation.image_results import ImageDetails, ImageMatches
from vizloc_ros.evaluation.overlays import draw_overlay
from vizloc_ros.evaluation.prior_poses import Prior, PriorPoses
from vizloc_ros.evaluation.recall import evaluate_poses, ground_truth
from vizloc_ros.evaluation.report import require_result_folder, write_results
from vizloc_ros.evaluation.retrieval_recall import RetrievalQuality, VisibleLandmarks, retrieval_recall
from vizloc_ros.features.types import Features, turned_back
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.covariance import map_covariance
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.localization.absolute_pose import correlation_factor, reprojection_errors
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.image_localizer import ImageLocalizer
from vizloc_ros.localization.localization_options import LocalizationOptions, PoseOptions
from vizloc_ros.localization.outcome import Localization, LocalizedPose
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.pose_refiner import MAX_REFINEMENT, PoseRefiner, Support
from vizloc_ros.readers import open_dataset
from vizloc_ros.timing import StageTimings, Stopwatch


def open_queries(dataset: str, split: str = "query", every: int = 1, degrade: str = "", seed: int = 0) -> list[Record]:
    """Images of a dataset to localize or track.

    Args:
        dataset: ``reader:PATH``.
        split: split of the dataset.
        every: keep every N-th image of the split.
        degrade: degradation of the images as ``KIND:LEVEL``; empty for none.
        seed: seed of the degradation.

    Raises:
        DatasetError: the dataset cannot be read or has no such split.
        ConfigError: there is no such degradation.
    """
    records = every_nth(open_dataset(dataset).records(split), every)
    return degrade_records(records, Degradation.parse(degrade), seed) if degrade else records


@dataclass
class OfflineRun:
    """Results of all queries.

    Attributes:
        top_k: number of retrieved keyframes.
        outcomes: localizations by name, in order of time.
        priors: instead of them, priors map_from_cam by name, see ``prior_records``.
        features: features by name; empty unless they were to be kept.
        retrieved: quality of the retrieval by name, of the queries with a ground-truth pose.
        rolls: rolls of the camera with which the queries were localized, by name.
        matches: matches of the localized queries by name.
        supports: support of their poses, by name.
        timings: times by stage, and "total" from the image to the pose.
    """

    top_k: int
    outcomes: dict[str, Localization] = field(default_factory=dict)
    priors: dict[str, Rigid3d] = field(default_factory=dict)
    features: dict[str, Features] = field(default_factory=dict)
    retrieved: dict[str, RetrievalQuality] = field(default_factory=dict)
    rolls: dict[str, Roll] = field(default_factory=dict)
    matches: dict[str, ImageMatches] = field(default_factory=dict)
    supports: dict[str, Support] = field(default_factory=dict)
    timings: StageTimings = field(default_factory=StageTimings)

    @property
    def estimates(self) -> dict[str, Rigid3d]:
        """Poses map_from_cam of the localized queries by name, or the priors."""
        return self.priors | {name: o.pose.map_from_cam for name, o in self.outcomes.items() if o.pose is not None}

    @property
    def unlocalized(self) -> dict[str, str]:
        """Reason of the failure by name, of the other queries."""
        return {name: o.reason for name, o in self.outcomes.items() if o.pose is None}

    @property
    def counts_by_roll(self) -> dict[str, int]:
        """Number of localized queries by the roll of their camera, the most frequent first."""
        return dict(Counter(roll.value for roll in self.rolls.values()).most_common())

    @property
    def retrieval(self) -> dict[str, float] | None:
        """Recall of the retrieval, see ``retrieval_recall``; None without ground-truth poses."""
        return retrieval_recall(self.retrieved.values(), self.top_k)


def localize_records(
    records: Sequence[Record],
    visual_map: VisualMap,
    localizer: HierarchicalLocalizer,
    progress: Progress = silent,
    keep_features: bool = False,
    rolls: Sequence[Roll] = (Roll.NONE,),
) -> OfflineRun:
    """Localize every record, see ``ImageLocalizer``. Raises ``ImageError`` for an image that cannot be read.

    Poses of the records, which the retrieval is judged by, are in the map, see ``Georeference.records_in_map``.
    """
    run = OfflineRun(localizer.finder.options.top_k)
    of_images = ImageLocalizer(visual_map.extractor, localizer, rolls)
    visible = VisibleLandmarks(visual_map)
    for record in progress(records, "localizing", len(records)):
        image = record.read_image()
        stopwatch = Stopwatch()
        with stopwatch("total"):
            localized = of_images.localize(image, record.camera, stopwatch)
        run.timings.add_all(stopwatch.milliseconds)
        run.outcomes[record.name] = localized.outcome
        if (pose := localized.outcome.pose) is not None:
            run.rolls[record.name] = localized.roll
            run.matches[record.name] = ImageMatches.of(localized.features, pose)
            features = localizer.corrected(localized.features, record.camera)
            run.supports[record.name] = _support(pose, features, record.camera, localizer.solver.options)
        if keep_features:
            run.features[record.name] = localized.features
        if record.world_from_cam is not None:
            run.retrieved[record.name] = visible.evaluate(
                localized.retrieved.keyframes, record.world_from_cam, record.camera
            )
    return run


def _support(pose: LocalizedPose, features: Features, camera: PinholeCamera, options: PoseOptions) -> Support:
    """Support of the pose of an image with these features, whose keypoints are corrected."""
    pixels = np.asarray(features.keypoints[pose.keypoints], np.float64)
    errors = reprojection_errors(pose.map_from_cam.inverse(), pixels, pose.positions, camera)
    factor = options.covariance_scale * correlation_factor(errors)
    variance = factor * max(pose.reprojection_rms**2 / 2, options.pixel_sigma**2)
    of_map = map_covariance(options.map_position_std, options.map_rotation_std)
    return Support(pose.covariance - of_map, pixels, pose.positions, variance)


def prior_records(
    records: Sequence[Record],
    visual_map: VisualMap,
    localizer: HierarchicalLocalizer,
    prior: Prior,
    roll: Roll = Roll.NONE,
    progress: Progress = silent,
) -> OfflineRun:
    """Find the prior of every record, see ``PriorPoses``. Records and error as of ``localize_records``."""
    run = OfflineRun(localizer.finder.options.top_k)
    of_images = PriorPoses(visual_map, localizer, prior, roll)
    visible = VisibleLandmarks(visual_map)
    for record in progress(records, "retrieving", len(records)):
        image = record.read_image()
        stopwatch = Stopwatch()
        with stopwatch("total"):
            with stopwatch("extract"):
                features = turned_back(visual_map.extractor.extract(roll.turn_image(image)), roll)
            found = of_images.of(features, record.camera, stopwatch)
        run.timings.add_all(stopwatch.milliseconds)
        run.priors[record.name] = found.map_from_cam
        if record.world_from_cam is not None:
            run.retrieved[record.name] = visible.evaluate(found.keyframes, record.world_from_cam, record.camera)
    return run


def perturbed_estimates(poses: Mapping[str, Rigid3d], distance: float, seed: int) -> dict[str, Rigid3d]:
    """Poses map_from_cam, each moved by a distance [m] in a random direction that depends on its name and the seed."""
    perturbation = Perturbation(distance, 0.0)
    return {
        name: perturbation.apply(pose, np.random.default_rng([seed, crc32(name.encode())]))
        for name, pose in poses.items()
    }


def refine_poses(
    records: Sequence[Record],
    poses: Mapping[str, Rigid3d],
    refiner: PoseRefiner,
    progress: Progress = silent,
    supports: Mapping[str, Support] | None = None,
) -> tuple[dict[str, Rigid3d], dict[str, str]]:
    """Poses map_from_cam after refinement by name, and the reason for each that was not refined.

    ``supports`` are those of the localizer's poses; without them, each pose is only where its alignment starts.
    """
    found = [record for record in records if record.name in poses]
    refined = parallel_map(
        lambda record: refiner.refine(
            record.read_image(), record.camera, poses[record.name], (supports or {}).get(record.name)
        ),
        found,
        "refining",
        progress,
    )
    by_name = {record.name: refinement for record, refinement in zip(found, refined, strict=True)}
    return (
        {name: refinement.map_from_cam for name, refinement in by_name.items()},
        {name: refinement.reason for name, refinement in by_name.items() if refinement.reason},
    )


def evaluate_localization(
    visual_map: VisualMap,
    records: Sequence[Record],
    out: Path,
    *,
    options: LocalizationOptions | None = None,
    rolls: Sequence[Roll] = (Roll.NONE,),
    prior: Prior | None = None,
    refine_with: PyramidExtractor | None = None,
    perturb: float = 0.0,
    seed: int = 0,
    source: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Localize images, optionally refine their poses, and write report, poses and figures.

    Args:
        visual_map: map to localize in.
        records: images to localize, see ``open_queries``; their poses are in the world of the map's dataset.
        out: folder of the files.
        options: options of retrieval and pose.
        rolls: rolls of the camera to try, the first ones first; with a prior there is one.
        prior: prior that is taken as the pose of every image, instead of the localizer's pose.
        refine_with: feature extractor of the map's reference features, with which poses are refined; None to keep them.
        perturb: distance by which the poses are moved before they are refined [m].
        seed: seed of the localizer and of the perturbation.
        source: arguments of ``open_queries`` that give ``records``, for viewers.
        details: further keys of the report.
        progress: progress display.

    Returns:
        The report, as in ``report.json``.

    Raises:
        ConfigError: there is a prior, and more than one roll.
        FeatureError: the map has no reference features of ``refine_with``.
        ImageError: an image cannot be read.
    """
    if prior is not None and len(rolls) != 1:
        raise ConfigError(
            f"--prior {prior.value} with --roll auto: an aligned prior does not tell which roll is right; give the "
            f"camera's own, --roll {', '.join(roll.value for roll in Roll)}"
        )
    require_result_folder(out)
    chosen, records = options or LocalizationOptions(), visual_map.info.place.records_in_map(records)
    localizer = HierarchicalLocalizer(visual_map, chosen.retrieval, chosen.pose.model_copy(update={"seed": seed}))
    farthest = MAX_REFINEMENT if prior is None else math.inf
    refiner = PoseRefiner(visual_map, refine_with, max_distance=farthest) if refine_with is not None else None
    if prior is None:
        run = localize_records(records, visual_map, localizer, progress, rolls=rolls)
    else:
        run = prior_records(records, visual_map, localizer, prior, rolls[0], progress)
    estimates = perturbed_estimates(run.estimates, perturb, seed) if perturb else run.estimates
    report: dict[str, Any] = {
        **({} if prior is None else {"prior": prior.value}),
        "retrieval": run.retrieval,
        "num_failed": len(run.unlocalized),
        "unlocalized": run.unlocalized,
        **({"rolls": run.counts_by_roll} if len(rolls) > 1 else {}),
        "timings_ms": run.timings.percentiles(),
        "map_bytes_per_keyframe": visual_map.info.bytes / visual_map.info.keyframes,
        **(details or {}),
        "seed": seed,
    }
    if refiner is not None:
        report["unrefined"] = evaluate_poses(estimates, ground_truth(records)).as_dict()
        estimates, report["not_refined"] = refine_poses(
            records, estimates, refiner, progress, {} if perturb else run.supports
        )
    known = ImageDetails(source or {}, reasons=run.unlocalized, matches=run.matches)
    written = write_results(out, records, estimates, visual_map, report, images=known)
    draw_overlay(out / "overlay.png", records, estimates, visual_map, localizer, run.unlocalized)
    return written
