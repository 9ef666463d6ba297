"""Alignments with the maps of a run: reports of ``vizloc localize`` with ``--prior`` or ``--refine pixloc``."""

from typing import Any

from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.sources import Present
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.evaluation.kept_results import localization_origin
from vizloc_ros.evaluation.offline_localization import evaluate_localization
from vizloc_ros.evaluation.prior_poses import Prior
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor, open_pyramid_extractor
from vizloc_ros.pixloc.reference_builder import add_references
from vizloc_ros.readers import open_dataset

REFINED = "refined"  # poses of the localizer, aligned


def open_pixloc(run: BenchmarkRun) -> PyramidExtractor:
    """The package's network for alignments, with images in parallel."""
    from vizloc_ros.features.device import Device

    device = Device(run.device.provider if run.device is not None else "cpu", threads=1)
    return open_pyramid_extractor(device=device, long_side=run.options.long_side)


def mapped_records(run: BenchmarkRun, part: Present) -> list[Record]:
    """Images of the map of a part."""
    return every_nth(open_dataset(part.spec).records("map"), run.map_every)


def tracked_map(run: BenchmarkRun, method: str, part: Present, extractor: PyramidExtractor) -> VisualMap:
    """Map of a part with reference features of an extractor, which are added to the map of the run.

    Raises:
        DatasetError, ImageError, MapError: as ``build_map`` and ``add_references``.
    """
    visual_map = run.visual_map(method, part)
    if visual_map.info.pixloc is not None and visual_map.info.pixloc.model_id == extractor.model_id:
        return visual_map
    add_references(visual_map.folder, mapped_records(run, part), extractor, run.progress)
    return run.visual_map(method, part)


def aligned(
    run: BenchmarkRun, method: str, part: Present, split: str, prior: Prior | None, extractor: PyramidExtractor
) -> dict[str, Any]:
    """Report of an alignment of a split, of an earlier run or a new one; with the keys of ``BenchmarkRun.localized``.

    Args:
        run: run with the map.
        method: name of the extractor of the map.
        part: dataset of the map.
        split: split to align.
        prior: prior of the alignments; None for the poses of the localizer.
        extractor: extractor of the reference features.

    Raises:
        DatasetError, ImageError, MapError: as ``tracked_map`` and ``evaluate_localization``.
    """
    visual_map = tracked_map(run, method, part, extractor)
    records = run.chosen(open_dataset(part.spec).records(split))
    pose = run.options.pose.model_copy(update={"seed": run.seed})
    localizer = HierarchicalLocalizer(visual_map, run.options.retrieval, pose)
    name = REFINED if prior is None else prior.value
    folder = run.out / "aligned" / method / part.name / f"{split}-{name}"

    def compute() -> dict[str, Any]:
        report = evaluate_localization(
            visual_map,
            records,
            folder,
            options=run.options,
            prior=prior,
            refine_with=extractor,
            seed=run.seed,
            details={"command": run.command, "dataset": part.spec},
            progress=run.progress,
        )
        posed = sum(record.world_from_cam is not None for record in records)
        poses = (folder / "poses_visuallocalization.txt").relative_to(run.out)
        weights = f"{visual_map.extractor.feature_id}, {extractor.model_id}"
        return {**report, "num_posed": posed, "weights": weights, "poses": poses}

    origin = localization_origin(visual_map, localizer, part.spec, records, run.seed)
    return run.kept(method, f"{part.name}-{split}-{name}", {**origin, "pixloc": extractor.model_id}, compute)
