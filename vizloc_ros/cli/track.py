"""``vizloc track``: follows the images of a dataset through a map, without ROS."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pycolmap import Rigid3d
from rich.console import Console

from vizloc_ros.cli.arguments import (
    ConfigOption,
    DatasetArgument,
    DegradeOption,
    EveryOption,
    MapArgument,
    ProviderOption,
    SeedOption,
    TrackerModelOption,
    command_line,
)
from vizloc_ros.cli.config_file import read_options
from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.datasets.open import open_dataset
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.evaluation.offline_localization import localize_records
from vizloc_ros.evaluation.offline_tracking import percentile_of_errors, track_records
from vizloc_ros.evaluation.recall import evaluate_poses
from vizloc_ros.evaluation.report import report_table, write_results
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor


def track(
    map_path: MapArgument,
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(help="Folder for poses, report.json and pictures", file_okay=False)],
    split: Annotated[str, typer.Option(help="Which images of the dataset to track")] = "query",
    every: EveryOption = 1,
    degrade: DegradeOption = "",
    model: TrackerModelOption = "",
    localizer: Annotated[bool, typer.Option(help="Also localize every image by itself, to compare")] = True,
    provider: ProviderOption = "cpu",
    threads: Annotated[int, typer.Option(help="CPU cores that an image may use; 0: all", min=0)] = 0,
    debug: Annotated[Path | None, typer.Option(help="Folder for pictures of some alignments", file_okay=False)] = None,
    config: ConfigOption = None,
    seed: SeedOption = 0,
) -> None:
    """Follow the images of a dataset, from the localizer's first pose on, and evaluate the poses."""
    from vizloc_ros.features.device import Device

    options = read_options(config, OptionTree)
    device = Device(provider=provider, threads=threads)
    visual_map = VisualMap.open(map_path, device)
    extractor = open_pyramid_extractor(model, device, options.long_side)
    visual_map.require_references(extractor.model_id)
    records = every_nth(open_dataset(dataset).records(split), every)
    if degrade:
        records = degrade_records(records, Degradation.parse(degrade), seed)
    pose_options = options.pose.model_copy(update={"seed": seed})
    hierarchical = HierarchicalLocalizer(visual_map, options.retrieval, pose_options)
    out.mkdir(parents=True, exist_ok=True)
    run = track_records(records, visual_map, hierarchical, extractor, options.tracker, options.submap, bar)
    details: dict[str, Any] = {
        **_more(records, run.estimates),
        "num_failed": len(run.reasons),
        "localizations": run.localizations,
        "reasons": run.reasons,
        "timings_ms": run.timings.overall(),
        "map_bytes_per_keyframe": visual_map.info.bytes / visual_map.info.keyframes,
    }
    if localizer:
        alone = localize_records(records, visual_map, hierarchical, bar)
        details["localizer"] = {
            **evaluate_poses(alone.estimates, _truth(records)).as_dict(),
            **_more(records, alone.estimates),
            "num_failed": len(alone.unlocalized),
            "timings_ms": alone.timings.overall(),
        }
    details |= {"command": command_line(), "seed": seed}
    report = write_results(out, records, run.estimates, visual_map, details)
    if debug is not None:
        from vizloc_ros.evaluation.convergence_figures import draw_alignments

        priors = {n: t.prediction.map_from_cam for n, t in run.tracked.items() if t.prediction is not None}
        draw_alignments(debug, records, priors, visual_map, extractor, options)
    console = Console()
    console.print(report_table({key: value for key, value in report.items() if key not in ("reasons", "localizer")}))
    if localizer:
        console.print(report_table(details["localizer"]), "(the localizer alone)")
    console.print(f"written to {out}")


def _truth(records: Sequence[Record]) -> dict[str, Rigid3d]:
    return {record.name: record.world_from_cam for record in records if record.world_from_cam is not None}


def _more(records: Sequence[Record], estimates: Mapping[str, Rigid3d]) -> dict[str, Any]:
    return percentile_of_errors(evaluate_poses(estimates, _truth(records)), 99)
