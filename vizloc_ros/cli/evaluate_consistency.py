"""``vizloc evaluate consistency``: errors of poses compared with their covariances."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vizloc_ros.cli.arguments import (
    ConfigOption,
    DatasetArgument,
    EveryOption,
    MapArgument,
    ProviderOption,
    SeedOption,
    TrackerModelOption,
    command_line,
)
from vizloc_ros.cli.config_file import read_options
from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.corruptions import Degradation
from vizloc_ros.evaluation.consistency import (
    DEGREES_OF_FREEDOM,
    LIMIT_95,
    Consistency,
    evaluate_consistency,
)
from vizloc_ros.evaluation.offline_localization import open_queries
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor

console = Console()


def consistency(
    map_path: MapArgument,
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(help="Folder for report.json and a figure", file_okay=False)],
    split: Annotated[str, typer.Option(help="Split of the dataset to localize and track")] = "query",
    every: EveryOption = 1,
    degrade: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND:LEVEL", help="Also degraded images, e.g. blur:3; give several for several"),
    ] = None,
    tracking: Annotated[bool, typer.Option(help="Also run the tracker")] = True,
    model: TrackerModelOption = "",
    provider: ProviderOption = "cpu",
    config: ConfigOption = None,
    seed: SeedOption = 0,
) -> None:
    """Compare the errors of poses with their covariances.

    An honest covariance has 95 % of the poses within two sigma, and a NEES of 6.
    """
    from vizloc_ros.features.device import Device

    degradations = [Degradation.parse(text) for text in dict.fromkeys(degrade or [])]
    options, device = read_options(config, OptionTree), Device(provider=provider, threads=1)
    records = open_queries(dataset, split, every)
    runs = evaluate_consistency(
        VisualMap.open(map_path, device),
        records,
        out,
        open_pyramid_extractor(model, device, options.long_side) if tracking else None,
        degradations=degradations,
        options=options,
        seed=seed,
        details={"dataset": dataset, "command": command_line()},
        progress=bar,
    )
    console.print(_table(f"{dataset}, {len(records)} images", runs))
    console.print(f"written to {out}")


def _table(title: str, runs: Mapping[str, Mapping[str, Consistency]]) -> Table:
    """Table of the results: a row for each run and kind."""
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.caption = (
        f"within 2 sigma: poses inside the 95 % ellipsoid, whose squared error in units of the covariance (NEES) is "
        f"at most {LIMIT_95:.1f}; expected: 95 %, and a NEES of {DEGREES_OF_FREEDOM}"
    )
    table.add_column("run", style="bold", no_wrap=True)
    table.add_column("images are", no_wrap=True)
    for column in ("poses", "within 2 sigma", "NEES"):
        table.add_column(column, justify="right", no_wrap=True)
    for run, kinds in runs.items():
        for kind, each in kinds.items():
            values = each.as_dict()
            ratio, nees = values["within_95"], values["nees"]
            table.add_row(
                run,
                kind,
                f"{values['poses']} of {values['images']}",
                "-" if ratio is None else f"{100 * ratio:.0f} %",
                "-" if nees is None else f"{nees:.1f}",
            )
    return table
