"""``vizloc map``: stats and prune: what queries use of a map, and a smaller map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from vizloc_ros.cli.arguments import EveryOption, MapArgument
from vizloc_ros.cli.progress import bar
from vizloc_ros.localization.faiss_index import INDEX_FILE
from vizloc_ros.mapping.map_writer import replacing_map
from vizloc_ros.mapping.prune import choose_part, pruned_report
from vizloc_ros.mapping.visual_map import VisualMap

app = typer.Typer()
console = Console()
_MAX_SHOWN = 5

RESULT_HELP = "Folder of `vizloc localize`, or its images.npz"


@app.command()
def stats(
    map_path: MapArgument,
    results: Annotated[list[Path], typer.Argument(metavar="RESULT...", help=RESULT_HELP)],
) -> None:
    """Show what queries used of a map.

    A landmark is used if it supported a pose; a keyframe, if it sees as many such landmarks as a pose needs.
    """
    from vizloc_ros.evaluation.map_use import map_use

    visual_map = VisualMap.open(map_path)
    use = map_use(visual_map, results)
    _note_other_maps(map_path, use.other_maps)
    unused = [name for name, count in zip(visual_map.keyframe_names, use.keyframes, strict=True) if not count]
    table = Table(title=f"Use of {map_path}", show_header=False)
    for label, used, all_of_them in (
        ("images localized", use.localized, use.images),
        ("keyframes used", visual_map.info.keyframes - len(unused), visual_map.info.keyframes),
        ("landmarks used", int((use.landmarks > 0).sum()), visual_map.info.landmarks),
    ):
        table.add_row(label, f"{used} of {all_of_them} ({used / all_of_them:.0%})")
    table.add_row("landmarks of a pose", f"{use.landmarks.sum() / use.localized:.0f}")
    console.print(table)
    if unused:
        shown = ", ".join(unused[:_MAX_SHOWN]) + (" ..." if len(unused) > _MAX_SHOWN else "")
        console.print(f"{len(unused)} keyframes were never used: {shown}", soft_wrap=True)


@app.command()
def prune(
    map_path: MapArgument,
    keep: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the observations, and so of the size, to keep")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the smaller map; an existing map is replaced", file_okay=False)],
    results: Annotated[
        list[Path] | None, typer.Option(metavar="RESULT", help=f"{RESULT_HELP}: what it used is kept first")
    ] = None,
    queries: Annotated[
        str, typer.Option(metavar="DATASET", help="Localize its images in both maps, and compare the recall")
    ] = "",
    split: Annotated[str, typer.Option(help="Split of these queries")] = "query",
    every: EveryOption = 1,
) -> None:
    """Make a smaller map of the most useful landmarks.

    Keyframes go whose landmarks others see; landmarks go that few keyframes see or that look like others.
    """
    from vizloc_ros.evaluation.map_comparison import recall_of_maps
    from vizloc_ros.evaluation.map_use import map_use
    from vizloc_ros.evaluation.offline_localization import open_queries
    from vizloc_ros.evaluation.recall import readable

    with replacing_map(out) as new:
        visual_map = VisualMap.open(map_path)
        records = open_queries(queries, split, every) if queries else []
        use = map_use(visual_map, results) if results else None
        if use is not None:
            _note_other_maps(map_path, use.other_maps)
        part = choose_part(visual_map, keep, use.landmarks if use else None)
        part.write(pruned_report(part, keep), new)
        smaller = VisualMap.open(new)
        reports = recall_of_maps([visual_map, smaller], records, bar) if records else []
        recalls = [report.recall for report in reports] or [{}, {}]
    table = Table("", str(map_path), str(out), title="Map before and after")
    for label, before, after in (
        ("keyframes", f"{visual_map.info.keyframes}", f"{smaller.info.keyframes}"),
        ("landmarks", f"{visual_map.info.landmarks}", f"{smaller.info.landmarks}"),
        ("observations", f"{visual_map.info.observations}", f"{smaller.info.observations}"),
        ("size", f"{visual_map.info.bytes / 1e6:.1f} MB", f"{smaller.info.bytes / 1e6:.1f} MB"),
        *((f"recall {readable(key)}", f"{a:.1%}", f"{recalls[1][key]:.1%}") for key, a in recalls[0].items()),
    ):
        table.add_row(label, before, after)
    console.print(table)
    if INDEX_FILE in visual_map.info.files:
        console.print(f"the index is of the whole map: make one with 'vizloc map index {out}'", style="yellow")


def _note_other_maps(map_path: Path, others: Sequence[Path]) -> None:
    for other in others:
        console.print(f"results are of {other}: taken for those of {map_path}", style="yellow", soft_wrap=True)
