"""``vizloc track``: tracking of a dataset in a map, without ROS."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from vizloc_ros.cli.arguments import (
    ConfigOption,
    DatasetArgument,
    DegradeOption,
    EveryOption,
    MapArgument,
    ProviderOption,
    RollOption,
    SeedOption,
    TrackerModelOption,
    command_line,
)
from vizloc_ros.cli.config_file import read_options
from vizloc_ros.cli.progress import bar
from vizloc_ros.evaluation.offline_localization import open_queries
from vizloc_ros.evaluation.offline_tracking import evaluate_tracking
from vizloc_ros.evaluation.report import report_table
from vizloc_ros.geometry.quarter_turns import rolls_to_try
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor

_NOT_SHOWN = ("reasons", "localizer")


def track(
    map_path: MapArgument,
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(help="Folder for poses, report.json and figures", file_okay=False)],
    split: Annotated[str, typer.Option(help="Split of the dataset to track")] = "query",
    every: EveryOption = 1,
    degrade: DegradeOption = "",
    roll: RollOption = "none",
    model: TrackerModelOption = "",
    localizer: Annotated[bool, typer.Option(help="Also localize every image by itself, to compare")] = True,
    check_camera: Annotated[
        bool, typer.Option(help="Withhold poses of frozen images, and of a calibration that does not fit")
    ] = True,
    provider: ProviderOption = "cpu",
    threads: Annotated[int, typer.Option(help="CPU cores that an image may use; 0: all", min=0)] = 0,
    debug: Annotated[Path | None, typer.Option(help="Folder for figures of some alignments", file_okay=False)] = None,
    config: ConfigOption = None,
    seed: SeedOption = 0,
) -> None:
    """Track images of a dataset in a map and evaluate the poses.

    The localizer gives the first pose, and one whenever the tracker is lost.
    """
    from vizloc_ros.features.device import Device

    options, device = read_options(config, OptionTree), Device(provider=provider, threads=threads)
    queries: dict[str, Any] = {
        "dataset": dataset,
        "split": split,
        "every": every,
        "degrade": degrade,
        "seed": seed,
    }
    report = evaluate_tracking(
        VisualMap.open(map_path, device),
        open_queries(**queries),
        out,
        open_pyramid_extractor(model, device, options.long_side),
        options=options,
        rolls=rolls_to_try(roll),
        localizer_alone=localizer,
        check_camera=check_camera,
        alignments=debug,
        seed=seed,
        source=queries,
        details={"command": command_line()},
        progress=bar,
    )
    console = Console()
    console.print(report_table({key: value for key, value in report.items() if key not in _NOT_SHOWN}))
    if "localizer" in report:
        console.print(report_table(report["localizer"]), "(the localizer alone)")
    console.print(f"written to {out}")
