"""``vizloc evaluate convergence`` and ``vizloc evaluate ablation``: alignments from perturbed priors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

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
    command_line,
)
from vizloc_ros.cli.config_file import read_options
from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.corruptions import Degradation
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.basins import DIRECTIONS
from vizloc_ros.evaluation.convergence import (
    DEGRADED_FROM,
    RETRIEVED,
    AlignmentSet,
    ablated,
    alignment_sets,
    converged_ratios,
    evaluate_convergence,
    retrieved_priors,
)
from vizloc_ros.evaluation.recall import readable
from vizloc_ros.evaluation.report import require_result_folder
from vizloc_ros.evaluation.robustness import choose_degradations
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor, open_pyramid_extractor
from vizloc_ros.readers import open_dataset

console = Console()
_MODEL_HELP = "NAME=FILE, or a FILE that `vizloc export pixloc` wrote, or photometric; empty: the package's network"
_PACKAGE_MODEL = [""]  # without --model

ModelOption = Annotated[list[str], typer.Option(metavar="MODEL", help=f"{_MODEL_HELP}; give several to compare them")]
OutOption = Annotated[Path, typer.Option(help="Folder for report.json and a figure", file_okay=False)]
SplitOption = Annotated[str, typer.Option(help="Split of the dataset to align")]
MapSplitOption = Annotated[str, typer.Option(help="The map's images, for models without reference features in the map")]
KindsOption = Annotated[str, typer.Option(metavar="KIND,...", help="Also degrade the images; all: every kind")]
LevelsOption = Annotated[str, typer.Option(metavar="LEVEL,...", help="Levels of the degradations")]


def convergence(
    map_path: MapArgument,
    dataset: DatasetArgument,
    out: OutOption,
    split: SplitOption = "query",
    map_split: MapSplitOption = "map",
    every: EveryOption = 1,
    model: ModelOption = _PACKAGE_MODEL,
    kinds: KindsOption = "",
    levels: LevelsOption = "3,4,5",
    retrieved: Annotated[bool, typer.Option(help="Start from the most similar keyframe, too")] = True,
    basins: Annotated[
        int, typer.Option(help="Number of images whose cost around the true pose is measured and drawn", min=0)
    ] = 0,
    config: ConfigOption = None,
    provider: ProviderOption = "cpu",
    seed: SeedOption = 0,
) -> None:
    """Align images from priors that are more and more off.

    The report has the ratio that ends within 0.25 m and 1 degree.
    """
    from vizloc_ros.features.device import Device

    require_result_folder(out)
    options, device = read_options(config, OptionTree), Device(provider=provider, threads=1)
    models = {name: open_pyramid_extractor(path, device, options.long_side) for name, path in map(_named, model)}
    images = _open(map_path, dataset, map_split, split, every)
    sets = alignment_sets(images.queries, _degradations(kinds, levels), seed)
    if retrieved:
        priors = retrieved_priors(images.visual_map, images.queries, bar)
        sets[RETRIEVED] = AlignmentSet(images.queries, priors)
    _evaluate(models, images, sets, options, out / "convergence.png", dataset, seed, basins)


def ablation(
    map_path: MapArgument,
    dataset: DatasetArgument,
    out: OutOption,
    split: SplitOption = "query",
    map_split: MapSplitOption = "map",
    every: EveryOption = 1,
    model: Annotated[str, typer.Option(metavar="MODEL", help=_MODEL_HELP)] = "",
    pretrained: Annotated[
        Path | None, typer.Option(help="The network before end-to-end training (`vizloc export pixloc`)")
    ] = None,
    kinds: KindsOption = "",
    levels: LevelsOption = "3,4,5",
    config: ConfigOption = None,
    provider: ProviderOption = "cpu",
    seed: SeedOption = 0,
) -> None:
    """Take one part of PixLoc away at a time (PixLoc, Table 3)."""
    from vizloc_ros.features.device import Device

    require_result_folder(out)
    options, device = read_options(config, OptionTree), Device(provider=provider, threads=1)
    images = _open(map_path, dataset, map_split, split, every)
    full = open_pyramid_extractor(_named(model)[1], device, options.long_side)
    models = ablated(full, images.mapped)
    if pretrained is not None:
        models["not trained end to end"] = open_pyramid_extractor(str(pretrained), device, options.long_side)
    models["photometric"] = open_pyramid_extractor("photometric", device, options.long_side)
    sets = alignment_sets(images.queries, _degradations(kinds, levels), seed)
    _evaluate(models, images, sets, options, out / "ablation.png", dataset, seed)


def _named(model: str) -> tuple[str, str]:
    """Name of a model for tables, and the path to open."""
    name, equals, path = model.partition("=")
    if equals:
        return name, path
    return (Path(model).stem if model.endswith(".onnx") else model or "pixloc"), model


@dataclass(frozen=True)
class _Images:
    """Map, images of the map, and queries with a ground-truth pose in the map."""

    visual_map: VisualMap
    mapped: list[Record]
    queries: Sequence[Record]


def _open(map_path: Path, dataset: str, map_split: str, split: str, every: int) -> _Images:
    visual_map, source = VisualMap.open(map_path), open_dataset(dataset)
    queries = [r for r in every_nth(source.records(split), every) if r.world_from_cam is not None]
    if not queries:
        raise DatasetError(f"{dataset}: no image of split '{split}' has a pose to compare with")
    return _Images(visual_map, list(source.records(map_split)), visual_map.info.place.records_in_map(queries))


def _degradations(kinds: str, levels: str) -> list[Degradation]:
    return choose_degradations("" if kinds == "all" else kinds, levels) if kinds else []


def _evaluate(
    models: Mapping[str, PyramidExtractor],
    images: _Images,
    sets: Mapping[str, AlignmentSet],
    options: OptionTree,
    figure: Path,
    dataset: str,
    seed: int,
    basins: int = 0,
) -> None:
    """Evaluate, and show the tables."""
    details = {"num_images": len(images.queries), "dataset": dataset, "command": command_line(), "seed": seed}
    report = evaluate_convergence(
        models,
        images.visual_map,
        images.mapped,
        sets,
        figure,
        options=options,
        basins=basins,
        details=details,
        progress=bar,
    )
    console.print(_table(f"{dataset}, {len(images.queries)} images", report["models"]))
    if basins:
        console.print(_basin_table(report["basins"]))
    console.print(f"written to {figure.parent}")


def _table(title: str, models: Mapping[str, Any]) -> Table:
    """Table of the ratios of converged alignments: a row for each set of queries, a column for each model."""
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.caption = f"ratio within 0.25 m and 1 deg in %; degraded images from {readable(str(DEGRADED_FROM))}"
    table.add_column("from", style="bold", no_wrap=True)
    for name in models:
        table.add_column(Text(name), justify="right")
    ratios = [converged_ratios(model) for model in models.values()]
    for key in ratios[0]:
        table.add_row(readable(key), *(f"{100 * of_model[key]:.1f}" for of_model in ratios))
    if all("mean_degraded" in model for model in models.values()):
        table.add_section()
        table.add_row("mean of degraded", *(f"{100 * model['mean_degraded']:.1f}" for model in models.values()))
    return table


def _basin_table(measured: Mapping[str, Any]) -> Table:
    """Table of the widths of basins: a row for each direction and level, coarse to fine."""
    title = f"cost around the true pose, medians of {measured['num_images']} images"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.caption = "basin: width where the cost falls to the lowest; half: in the lower half of its range"
    table.add_column("direction", style="bold", no_wrap=True)
    table.add_column("level", no_wrap=True)
    for column in ("basin", "half", "lowest off"):
        table.add_column(column, justify="right")
    for direction in DIRECTIONS:
        table.add_section()
        for level, by_direction in measured["levels"].items():
            found = by_direction[direction.name]
            name = Text(f"{direction.name} [{direction.unit}]")
            table.add_row(name, level, f"{found['basin']:.1f}", f"{found['half']:.2f}", f"{found['off']:.3f}")
    return table
