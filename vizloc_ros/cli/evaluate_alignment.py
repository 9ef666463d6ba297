"""``vizloc evaluate convergence`` and ``vizloc evaluate ablation``: from how far off alignments find the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pycolmap import Rigid3d
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
from vizloc_ros.datasets.corruptions import degrade_records
from vizloc_ros.datasets.open import open_dataset
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.errors import ConfigError, DatasetError
from vizloc_ros.evaluation.convergence import (
    PERTURBATIONS,
    RETRIEVED,
    Basin,
    ConvergenceTask,
    perturbed_priors,
    retrieved_priors,
)
from vizloc_ros.evaluation.convergence_figures import plot_basins
from vizloc_ros.evaluation.report import write_report
from vizloc_ros.evaluation.robustness import choose_degradations
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.pixloc.extractors.ablations import Compact, Unconfident, Undamped
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor, open_pyramid_extractor

console = Console()
_MODEL_HELP = "NAME=FILE, or a FILE that `vizloc export pixloc` wrote, or photometric; empty: the package's network"
_DEGRADED_FROM = PERTURBATIONS[1]  # 1 m, 2 deg
_COMPACT = 16  # elements of the compact variant's features
_COMPACT_IMAGES = 12

ModelOption = Annotated[list[str], typer.Option(metavar="MODEL", help=f"{_MODEL_HELP}; give several to compare them")]
OutOption = Annotated[Path, typer.Option(help="Folder for report.json and pictures", file_okay=False)]
SplitOption = Annotated[str, typer.Option(help="Which images of the dataset to align")]
MapSplitOption = Annotated[str, typer.Option(help="The map's images, for models that the map has no references of")]

Priors = Mapping[str, Rigid3d]


def convergence(
    map_path: MapArgument,
    dataset: DatasetArgument,
    out: OutOption,
    split: SplitOption = "query",
    map_split: MapSplitOption = "map",
    every: EveryOption = 1,
    model: ModelOption = ("",),  # type: ignore[assignment]
    kinds: Annotated[str, typer.Option(metavar="KIND,...", help="Degradations of the images as well; all: 'all'")] = "",
    levels: Annotated[str, typer.Option(metavar="LEVEL,...", help="Their levels")] = "3,4,5",
    retrieved: Annotated[bool, typer.Option(help="Start from the most similar keyframe, too")] = True,
    config: ConfigOption = None,
    provider: ProviderOption = "cpu",
    seed: SeedOption = 0,
) -> None:
    """Align images from priors that are more and more off; report the share that ends within 0.25 m and 1 degree."""
    from vizloc_ros.features.device import Device

    options, device = read_options(config, OptionTree), Device(provider=provider, threads=1)
    models = {name: open_pyramid_extractor(path, device, options.long_side) for name, path in map(_named, model)}
    images = _opened(map_path, dataset, map_split, split, every)
    sets = _sets(images.queries, kinds, levels, seed)
    if retrieved:
        sets[RETRIEVED] = images.queries, retrieved_priors(images.visual_map, images.queries, bar)
    _evaluate(models, images, sets, options, out, "convergence.png", seed)


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
    kinds: Annotated[str, typer.Option(metavar="KIND,...", help="Degradations of the images as well; all: 'all'")] = "",
    levels: Annotated[str, typer.Option(metavar="LEVEL,...", help="Their levels")] = "3,4,5",
    config: ConfigOption = None,
    provider: ProviderOption = "cpu",
    seed: SeedOption = 0,
) -> None:
    """Take one part of PixLoc away at a time (paper, table 3): what is each worth?"""
    from vizloc_ros.features.device import Device

    options, device = read_options(config, OptionTree), Device(provider=provider, threads=1)
    images = _opened(map_path, dataset, map_split, split, every)
    full = open_pyramid_extractor(_named(model)[1], device, options.long_side)
    step = max(1, len(images.mapped) // _COMPACT_IMAGES)
    variants: dict[str, PyramidExtractor] = {
        "full": full,
        "no uncertainty": Unconfident(full),
        "no learned damping": Undamped(full),
        f"compact features ({_COMPACT})": Compact(full, [r.read_image() for r in images.mapped[::step]], _COMPACT),
    }
    if pretrained is not None:
        variants["not trained end to end"] = open_pyramid_extractor(str(pretrained), device, options.long_side)
    variants["photometric"] = open_pyramid_extractor("photometric", device, options.long_side)
    _evaluate(variants, images, _sets(images.queries, kinds, levels, seed), options, out, "ablation.png", seed)


def _named(model: str) -> tuple[str, str]:
    """The name for tables, and what to open."""
    name, equals, path = model.partition("=")
    if equals:
        return name, path
    return (Path(model).stem if model.endswith(".onnx") else model or "pixloc"), model


@dataclass(frozen=True)
class _Images:
    """A map, its images, and the queries that have a pose."""

    dataset: str
    visual_map: VisualMap
    mapped: list[Record]
    queries: list[Record]


def _opened(map_path: Path, dataset: str, map_split: str, split: str, every: int) -> _Images:
    visual_map, source = VisualMap.open(map_path), open_dataset(dataset)
    queries = [r for r in every_nth(source.records(split), every) if r.world_from_cam is not None]
    if not queries:
        raise DatasetError(f"{dataset}: no image of split '{split}' has a pose to compare with")
    return _Images(dataset, visual_map, list(source.records(map_split)), queries)


def _sets(queries: Sequence[Record], kinds: str, levels: str, seed: int) -> dict[str, tuple[Sequence[Record], Priors]]:
    """The images with their priors: as they are from ever farther, and degraded."""
    degradations = choose_degradations("" if kinds == "all" else kinds, levels) if kinds else []
    hard = perturbed_priors(queries, _DEGRADED_FROM, seed)
    return {
        **{str(p): (queries, perturbed_priors(queries, p, seed)) for p in PERTURBATIONS},
        **{str(d): (degrade_records(queries, d, seed), hard) for d in degradations},
    }


def _evaluate(
    models: Mapping[str, PyramidExtractor],
    images: _Images,
    sets: Mapping[str, tuple[Sequence[Record], Priors]],
    options: OptionTree,
    out: Path,
    picture: str,
    seed: int,
) -> None:
    """Aligns everything with every model; writes the report and the picture, and shows the table."""
    out.mkdir(parents=True, exist_ok=True)
    basins: dict[str, dict[str, Basin]] = {}
    for name, extractor in models.items():
        task = ConvergenceTask(images.visual_map, extractor, images.mapped, options, bar)
        basins[name] = {key: task.basin(*of_set, f"{name}, {key}", bar) for key, of_set in sets.items()}
    report = _report(basins, [key for key in sets if ":" in key])
    details = {"num_images": len(images.queries), "dataset": images.dataset, "command": command_line(), "seed": seed}
    write_report(out / "report.json", {**report, **details})
    plot_basins(out / picture, {name: _shares(found) for name, found in basins.items()})
    console.print(_table(f"{images.dataset}, {len(images.queries)} images", basins, report["models"]))
    console.print(f"written to {out}")


def _shares(basins: Mapping[str, Basin]) -> dict[str, float]:
    return {key: basin.share for key, basin in basins.items()}


def _report(basins: Mapping[str, Mapping[str, Basin]], degraded: Sequence[str]) -> dict[str, Any]:
    """Shares and medians of every model; those of the first also under the keys of every report."""
    models: dict[str, Any] = {}
    for name, found in basins.items():
        models[name] = {
            "converged": {key: basin.share for key, basin in found.items() if key not in degraded},
            "medians": {key: basin.as_dict() for key, basin in found.items()},
        }
        if degraded:
            models[name]["degraded"] = {key: found[key].share for key in degraded}
            models[name]["mean_degraded"] = sum(found[key].share for key in degraded) / len(degraded)
    first = next(iter(models.values()), None)
    if first is None:
        raise ConfigError("no model was given")
    return {**{key: value for key, value in first.items() if key != "medians"}, "models": models}


def _table(title: str, basins: Mapping[str, Mapping[str, Basin]], models: Mapping[str, Any]) -> Table:
    """A row for each kind of prior or image, a column for each model."""
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.caption = f"share within 0.25 m and 1 deg in %; degraded images from {_DEGRADED_FROM}".replace("_", ", ")
    table.add_column("from", style="bold", no_wrap=True)
    for name in basins:
        table.add_column(Text(name), justify="right")
    for key in next(iter(basins.values())):
        table.add_row(key.replace("_", ", "), *(f"{100 * found[key].share:.1f}" for found in basins.values()))
    if all("mean_degraded" in model for model in models.values()):
        table.add_section()
        table.add_row("mean of degraded", *(f"{100 * model['mean_degraded']:.1f}" for model in models.values()))
    return table
