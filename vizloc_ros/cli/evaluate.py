"""``vizloc evaluate``: matching, degradations, consistency, trust, convergence, ablation, submission."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vizloc_ros.cli.arguments import DatasetArgument, ExtractorConfigOption, ProviderOption, SeedOption, command_line
from vizloc_ros.cli.evaluate_alignment import ablation, convergence
from vizloc_ros.cli.evaluate_consistency import consistency
from vizloc_ros.cli.evaluate_submission import submission
from vizloc_ros.cli.evaluate_trust import trust
from vizloc_ros.cli.extractor_choice import open_extractors, open_named_extractors
from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.displacements import DISPLACEMENTS_READER, open_displacements
from vizloc_ros.datasets.homographies import HOMOGRAPHY_READERS, open_homographies
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.evaluation.homography_matching import LONG_SIDE, evaluate_extractor, matching_report, plot_mma
from vizloc_ros.evaluation.matching_metrics import HOMOGRAPHY_THRESHOLDS_PX, MatchingSummary
from vizloc_ros.evaluation.recall import readable
from vizloc_ros.evaluation.report import require_result_folder, write_report
from vizloc_ros.evaluation.robustness import (
    TOLERANCE,
    DegradationTask,
    Figures,
    choose_degradations,
    evaluate_degradations,
    mean_of_hard,
    plot_degradations,
)
from vizloc_ros.evaluation.season_matching import evaluate_seasons, season_report
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.readers import open_dataset

app = typer.Typer(help="Evaluate single parts of the system.", no_args_is_help=True)
app.command()(convergence)
app.command()(ablation)
app.command()(submission)
app.command()(trust)
app.command()(consistency)
console = Console()
_KEYPOINTS = [300, 1000]  # HF-Net, section 5.1, has 300 for all metrics but MMA
_COLUMNS = ("matches", "Rep", "MLE", "MS", "mAP", "MMA@3", *(f"HA@{px}" for px in HOMOGRAPHY_THRESHOLDS_PX))


@app.command()
def matching(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help=f"{HOMOGRAPHY_READERS}, {DISPLACEMENTS_READER}")],
    extractor: Annotated[list[str], typer.Option(help="Feature extractor; give several to compare them")],
    out: Annotated[Path | None, typer.Option(help="Folder for report.json and mma.png", file_okay=False)] = None,
    keypoints: Annotated[list[int], typer.Option(help="Best keypoints of an image; may be given again", min=1)] = (
        _KEYPOINTS
    ),
    long_side: Annotated[
        int, typer.Option(help="Shrink longer planar images to this longer side, as the paper does; 0: do not", min=0)
    ] = LONG_SIDE,
    sequences: Annotated[bool, typer.Option("--sequences", help="Also show each sequence")] = False,
    extractor_config: ExtractorConfigOption = None,
    provider: ProviderOption = "cpu",
) -> None:
    """Match planar images, or places in different months.

    The homographies between the planar images are known.
    """
    from vizloc_ros.features.device import Device

    if dataset.startswith("months:"):
        _match_seasons(dataset, open_extractors(extractor, extractor_config, Device(provider)), out)
        return
    pairs = open_homographies(dataset)
    extractors = open_extractors(extractor, extractor_config, Device(provider))  # fails now, and not after the work
    if out is not None:
        require_result_folder(out)  # as well
    counts = sorted(set(keypoints))
    runs = {
        name: evaluate_extractor(opened, pairs, counts, bar, long_side or None) for name, opened in extractors.items()
    }
    for name, of_counts in runs.items() if sequences else ():
        rows = {(sequence, n): found for n, run in of_counts.items() for sequence, found in run.sequences.items()}
        console.print(_table(name, "sequence", rows))
    rows = {(name, n): run.overall for name, of_counts in runs.items() for n, run in of_counts.items()}
    size = f"at most {long_side} px" if long_side else "full size"
    console.print(_table(f"{dataset}, {len(pairs)} pairs, {size}", "extractor", rows))
    if out is not None:
        write_report(
            out / "report.json",
            {**matching_report(runs), "dataset": dataset, "long_side": long_side, "command": command_line()},
        )
        plot_mma(out / "mma.png", runs)
        console.print(f"written to {out}")


@app.command()
def degradations(
    dataset: DatasetArgument,
    extractor: Annotated[list[str], typer.Option(help="Feature extractor; give several to compare them")],
    out: Annotated[Path, typer.Option(help="Folder for maps, results, report.json and a figure", file_okay=False)],
    map_split: Annotated[str, typer.Option(help="Split of the dataset to map")] = "map",
    split: Annotated[str, typer.Option(help="Split of the dataset to localize")] = "query",
    map_every: Annotated[int, typer.Option(help="Map every N-th image", min=1)] = 1,
    every: Annotated[int, typer.Option(help="Localize every N-th image", min=1)] = 1,
    kinds: Annotated[str, typer.Option(metavar="KIND,KIND,...", help="Degradations; empty: all")] = "",
    levels: Annotated[str, typer.Option(metavar="LEVEL,LEVEL,...", help="Levels; empty: 1 to 5")] = "",
    extractor_config: ExtractorConfigOption = None,
    provider: ProviderOption = "cpu",
    seed: SeedOption = 0,
) -> None:
    """Localize queries of a dataset, clean and degraded.

    The dataset is mapped first. An interrupted run is continued.
    """
    from vizloc_ros.features.device import Device

    chosen = choose_degradations(kinds, levels)
    device = Device(provider, threads=1)  # images are processed in parallel
    extractors = open_named_extractors(extractor, extractor_config, device)
    source = open_dataset(dataset)
    mapped, queries = every_nth(source.records(map_split), map_every), every_nth(source.records(split), every)
    task = DegradationTask(dataset, mapped, queries, chosen, seed)
    require_result_folder(out)
    runs = {name: evaluate_degradations(name, opened, task, out, bar, device) for name, opened in extractors.items()}
    means = {name: mean_of_hard(figures) for name, figures in runs.items()}
    report = {"degradations": runs, "mean": means, "num_mapped": len(mapped), "num_queries": len(queries)}
    write_report(out / "report.json", {**report, "dataset": dataset, "command": command_line(), "seed": seed})
    plot_degradations(out / "degradations.png", runs)
    console.print(_recall_table(f"{dataset}, {len(queries)} queries", runs, means))
    console.print(f"written to {out}")


def _match_seasons(dataset: str, extractors: Mapping[str, FeatureExtractor], out: Path | None) -> None:
    """Evaluate extractors on places in different months, and show and write the result."""
    images = open_displacements(dataset)
    if out is not None:
        require_result_folder(out)
    found = {name: evaluate_seasons(opened, images, bar) for name, opened in extractors.items()}
    table = Table(title=Text(f"{dataset}, {len(images)} images"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.caption = "ratios in %; right: within 20 px of the marked displacement, found: within 35 px"
    table.add_column("extractor", style="bold", overflow="fold")
    for column in ("pairs", "matches", "right", "found", "R@1"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, metrics in found.items():
        ratios = (metrics.right_matches, metrics.displacement_found, metrics.r1)
        cells = (f"{metrics.pairs}", f"{metrics.matches:.0f}", *(f"{100 * ratio:.1f}" for ratio in ratios))
        table.add_row(Text(name), *cells)
    console.print(table)
    if out is not None:
        report = {**season_report(found), "dataset": dataset, "command": command_line()}
        write_report(out / "report.json", report)
        console.print(f"written to {out}")


def _recall_table(
    title: str, runs: Mapping[str, Mapping[str, Figures]], means: Mapping[str, Mapping[str, Any] | None]
) -> Table:
    """Table of recalls: a row for each set of queries, and one for the mean of the hard ones."""
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.caption = f"recall at {readable(TOLERANCE)} in %; mean: night, blur, noise at levels 3 to 5"
    table.add_column("queries", style="bold", no_wrap=True)
    for name in runs:
        table.add_column(Text(name), justify="right")
    for key in next(iter(runs.values())):
        table.add_row(key, *_recalls([figures[key] for figures in runs.values()]))
    if all(means.values()):
        table.add_section()
        table.add_row("mean", *_recalls([mean for mean in means.values() if mean]))
    return table


def _recalls(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{100 * row['recall'][TOLERANCE]:.1f}" for row in rows]


def _table(title: str, head: str, summaries: Mapping[tuple[str, int], MatchingSummary]) -> Table:
    """Table of matching metrics.

    Args:
        title: title of the table.
        head: title of the column of names.
        summaries: metrics by name and number of keypoints, a row each.
    """
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.caption = "ratios in %, MLE in px"
    table.add_column(head, style="bold", overflow="fold")
    for column in ("points", *_COLUMNS):
        table.add_column(column, justify="right", no_wrap=True)
    for (name, count), summary in sorted(summaries.items(), key=lambda row: row[0][1]):
        table.add_row(Text(name), f"{count}", *_cells(summary))
    return table


def _cells(summary: MatchingSummary) -> list[str]:
    error = summary.localization_error_px
    ratios = (summary.matching_score, summary.mean_average_precision, summary.mma_at(3), *summary.homography)
    return [
        f"{summary.matches:.0f}",
        f"{100 * summary.repeatability:.1f}",
        "-" if error is None else f"{error:.2f}",
        *(f"{100 * ratio:.1f}" for ratio in ratios),
    ]
