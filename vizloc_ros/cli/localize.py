"""``vizloc localize``: localization of a dataset in a map, without ROS."""

from collections.abc import Mapping
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
    RollOption,
    SeedOption,
    TrackerModelOption,
    command_line,
)
from vizloc_ros.cli.config_file import read_options
from vizloc_ros.cli.progress import bar
from vizloc_ros.errors import ConfigError
from vizloc_ros.evaluation.offline_localization import evaluate_localization, open_queries
from vizloc_ros.evaluation.prior_poses import Prior
from vizloc_ros.evaluation.report import report_table
from vizloc_ros.evaluation.rig_localization import evaluate_rig
from vizloc_ros.geometry.quarter_turns import rolls_to_try
from vizloc_ros.localization.rig_view import CAMERA_TOLERANCE
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.pixloc.tracking_options import LONG_SIDE

_NOT_SHOWN = ("unlocalized", "unrefined", "not_refined")


def localize(
    map_path: MapArgument,
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(help="Folder for poses, report.json and figures", file_okay=False)],
    split: Annotated[str, typer.Option(help="Split of the dataset to localize")] = "query",
    every: EveryOption = 1,
    degrade: DegradeOption = "",
    roll: RollOption = "none",
    prior: Annotated[
        str, typer.Option(help="Align from a prior, not from the localizer's pose: retrieval, top3 or oracle")
    ] = "",
    rig: Annotated[
        bool, typer.Option("--rig", help="One pose for the images of several cameras at one instant")
    ] = False,
    camera_tolerance: Annotated[
        float, typer.Option(help="With --rig: maximum difference of the times of one instant [s]", min=0)
    ] = CAMERA_TOLERANCE,
    refine: Annotated[str, typer.Option(help="Refine poses by alignment: pixloc; empty: not")] = "",
    perturb: Annotated[float, typer.Option(help="Distance to move the poses by before refinement [m]", min=0)] = 0.0,
    model: TrackerModelOption = "",
    long_side: LongSideOption = LONG_SIDE,
    provider: ProviderOption = "cpu",
    config: ConfigOption = None,
    seed: SeedOption = 0,
) -> None:
    """Localize images of a dataset in a map and evaluate the poses."""
    from vizloc_ros.features.device import Device

    device = Device(provider=provider)
    if refine not in ("", "pixloc"):
        raise ConfigError(f"--refine {refine}: there is only pixloc")
    queries: dict[str, Any] = {
        "dataset": dataset,
        "split": split,
        "every": every,
        "degrade": degrade,
        "seed": seed,
    }
    if rig:
        if unused := [
            name for name, is_set in (("roll", roll != "none"), ("prior", prior), ("refine", refine)) if is_set
        ]:
            raise ConfigError(f"--rig with --{unused[0]}: that is for one camera, leave out one of them")
        _show(
            evaluate_rig(
                VisualMap.open(map_path, device),
                open_queries(**queries),
                out,
                tolerance=camera_tolerance,
                options=read_options(config, OptionTree),
                seed=seed,
                source=queries,
                details={"command": command_line()},
                progress=bar,
            ),
            out,
        )
        return
    report = evaluate_localization(
        VisualMap.open(map_path, device),
        open_queries(**queries),
        out,
        options=read_options(config, OptionTree),
        rolls=rolls_to_try(roll),
        prior=Prior.named(prior) if prior else None,
        refine_with=open_pyramid_extractor(model, device, long_side) if refine or prior else None,
        perturb=perturb,
        seed=seed,
        source=queries,
        details={"command": command_line()},
        progress=bar,
    )
    _show(report, out, "the priors" if prior else "before they were refined")


def _show(report: Mapping[str, Any], out: Path, unrefined: str = "") -> None:
    console = Console()
    console.print(report_table({key: value for key, value in report.items() if key not in _NOT_SHOWN}))
    if "unrefined" in report:
        console.print(report_table(report["unrefined"]), f"({unrefined})")
    console.print(f"written to {out}")
