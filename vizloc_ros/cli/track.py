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
from vizloc_ros.errors import ConfigError
from vizloc_ros.evaluation.offline_localization import open_queries
from vizloc_ros.evaluation.offline_tracking import evaluate_tracking
from vizloc_ros.evaluation.report import report_table
from vizloc_ros.evaluation.rig_tracking import evaluate_rig_tracking
from vizloc_ros.geometry.quarter_turns import rolls_to_try
from vizloc_ros.localization.rig_view import CAMERA_TOLERANCE
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
    rig: Annotated[bool, typer.Option("--rig", help="Track by the images of several cameras together")] = False,
    camera_tolerance: Annotated[
        float, typer.Option(help="With --rig: maximum difference of the times of one instant [s]", min=0)
    ] = CAMERA_TOLERANCE,
    model: TrackerModelOption = "",
    localizer: Annotated[
        bool, typer.Option(help="Also localize every image by itself, to compare; not with --rig")
    ] = True,
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
    if rig and (unused := [name for name, is_set in (("roll", roll != "none"), ("debug", debug)) if is_set]):
        raise ConfigError(f"--rig with --{unused[0]}: that is for one camera, leave out one of them")
    given = VisualMap.open(map_path, device), open_queries(**queries), out
    extractor = open_pyramid_extractor(model, device, options.long_side)
    common: dict[str, Any] = {
        "options": options,
        "check_camera": check_camera,
        "seed": seed,
        "source": queries,
        "details": {"command": command_line()},
        "progress": bar,
    }
    if rig:
        report = evaluate_rig_tracking(*given, extractor, tolerance=camera_tolerance, **common)
    else:
        rolls = rolls_to_try(roll)
        report = evaluate_tracking(
            *given, extractor, rolls=rolls, localizer_alone=localizer, alignments=debug, **common
        )
    console = Console()
    console.print(report_table({key: value for key, value in report.items() if key not in _NOT_SHOWN}))
    if "localizer" in report:
        console.print(report_table(report["localizer"]), "(the localizer alone)")
    console.print(f"written to {out}")
