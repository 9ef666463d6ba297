"""``vizloc localize``: a dataset against a map, without ROS."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from vizloc_ros.cli.arguments import (
    ConfigOption,
    DatasetArgument,
    DegradeOption,
    EveryOption,
    LongSideOption,
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
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.errors import ConfigError
from vizloc_ros.evaluation.offline_localization import localize_records, moved_poses, refine_poses
from vizloc_ros.evaluation.recall import evaluate_poses
from vizloc_ros.evaluation.report import draw_overlay, report_table, write_results
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.pixloc.pose_refiner import PoseRefiner
from vizloc_ros.pixloc.tracking_options import LONG_SIDE


def localize(
    map_path: MapArgument,
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(help="Folder for poses, report.json and pictures", file_okay=False)],
    split: Annotated[str, typer.Option(help="Which images of the dataset to localize")] = "query",
    every: EveryOption = 1,
    degrade: DegradeOption = "",
    refine: Annotated[str, typer.Option(help="Refine poses by alignment: pixloc; empty: not")] = "",
    perturb: Annotated[
        float, typer.Option(help="Move the localizer's poses by so much before they are refined \\[m]", min=0)
    ] = 0.0,
    model: TrackerModelOption = "",
    long_side: LongSideOption = LONG_SIDE,
    provider: ProviderOption = "cpu",
    config: ConfigOption = None,
    seed: SeedOption = 0,
) -> None:
    """Localize the images of a dataset in a map and evaluate their poses."""
    from vizloc_ros.features.device import Device

    device = Device(provider=provider)
    if refine not in ("", "pixloc"):
        raise ConfigError(f"--refine {refine}: there is only pixloc")
    visual_map = VisualMap.open(map_path, device)
    records = every_nth(open_dataset(dataset).records(split), every)
    if degrade:
        records = degrade_records(records, Degradation.parse(degrade), seed)
    options = read_options(config, OptionTree)
    localizer = HierarchicalLocalizer(visual_map, options.retrieval, options.pose.model_copy(update={"seed": seed}))
    refiner = PoseRefiner(visual_map, open_pyramid_extractor(model, device, long_side)) if refine else None
    out.mkdir(parents=True, exist_ok=True)  # says so now, not after the work, if it cannot be written
    run = localize_records(records, visual_map, localizer, bar)
    details: dict[str, Any] = {
        "retrieval": run.retrieval,
        "num_failed": len(run.unlocalized),
        "unlocalized": run.unlocalized,
        "timings_ms": run.timings.overall(),
        "map_bytes_per_keyframe": visual_map.info.bytes / visual_map.info.keyframes,
        "command": command_line(),
        "seed": seed,
    }
    estimates = run.estimates
    if perturb:
        estimates = moved_poses(estimates, perturb, seed)
    if refiner is not None:
        unrefined = evaluate_poses(estimates, {r.name: r.world_from_cam for r in records if r.world_from_cam})
        estimates, details["not_refined"] = refine_poses(records, estimates, refiner, bar)
        details["unrefined"] = unrefined.as_dict()
    report = write_results(out, records, estimates, visual_map, details)
    shown = next((r for r in records[len(records) // 2 :] if r.name in estimates), None)
    if shown is not None:
        draw_overlay(out / "overlay.png", shown, visual_map, estimates[shown.name], localizer)
    console = Console()
    hidden = ("unlocalized", "unrefined", "not_refined")
    console.print(report_table({key: value for key, value in report.items() if key not in hidden}))
    if refiner is not None:
        console.print(report_table(report["unrefined"]), "(before they were refined)")
    console.print(f"written to {out}")
