"""``vizloc benchmark``: a table of the papers, with our rows beside theirs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from vizloc_ros.benchmark.paper_table import PaperTable
from vizloc_ros.benchmark.sources import Source
from vizloc_ros.cli.arguments import ConfigOption, ExtractorConfigOption, ProviderOption, SeedOption, command_line
from vizloc_ros.cli.config_file import read_options
from vizloc_ros.cli.extractor_choice import open_named_extractors
from vizloc_ros.cli.progress import bar
from vizloc_ros.errors import ConfigError, DatasetError
from vizloc_ros.files import require_folder
from vizloc_ros.option_tree import OptionTree

console = Console()
_EXTRACTORS = ["hfnet", "rootsift"]


def benchmark(
    table: Annotated[str, typer.Argument(metavar="[TABLE]", help="Name of the table; without it, all are listed")] = "",
    data: Annotated[Path | None, typer.Option(help="Folder of the datasets' folders", file_okay=False)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the table, maps and results; a run is continued", file_okay=False)
    ] = None,
    list_tables: Annotated[
        bool, typer.Option("--list", help="List the tables, or TABLE, and what is there for them")
    ] = False,
    extractor: Annotated[list[str], typer.Option(help="Extractor of a row; give several for several rows")] = (
        _EXTRACTORS
    ),
    every: Annotated[int, typer.Option(help="Take every N-th query, or sequence of HPatches", min=1)] = 1,
    map_every: Annotated[int, typer.Option(help="Map every N-th image", min=1)] = 1,
    limit: Annotated[
        int | None, typer.Option(help="Take at most N queries of a split, or sequences of HPatches", min=1)
    ] = None,
    extractor_config: ExtractorConfigOption = None,
    provider: ProviderOption = "cpu",
    config: ConfigOption = None,
    seed: SeedOption = 0,
) -> None:
    """Make a table of the papers.

    It takes the datasets that are present, and shows our rows beside the paper's.
    """
    from vizloc_ros.benchmark.all_tables import TABLES, find_table
    from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
    from vizloc_ros.benchmark.table_output import console_table, submissions, write_table
    from vizloc_ros.features.device import Device

    if data is not None and not data.is_dir():
        raise DatasetError(f"--data {data}: no such folder; it holds the folders of the datasets")
    if list_tables or not table:
        for line in _listing([find_table(table)] if table else list(TABLES.values()), data):
            console.print(line, soft_wrap=True)
        return
    chosen = find_table(table)
    if data is None or out is None:
        raise ConfigError(f"{table} needs --data, the folder of the datasets' folders, and --out, a folder to write")
    missing = [_missing(source, data) for source in chosen.sources if not source.present(data)]
    if len(missing) == len(chosen.sources):
        raise DatasetError(f"{data}: nothing for {table}: {'; '.join(missing)}")
    extractors = open_named_extractors(extractor, extractor_config, Device(provider, threads=1))  # images in parallel
    run = BenchmarkRun(
        data,
        out,
        extractors,
        read_options(config, OptionTree),
        every=every,
        map_every=map_every,
        limit=limit,
        seed=seed,
        device=Device(provider),
        command=command_line(),
        progress=bar,
    )
    require_folder(out)
    for text in missing:
        console.print(text, style="yellow", markup=False, highlight=False)
    rows = list(chosen.rows(run))
    write_table(chosen, rows, run, missing)
    console.print(console_table(chosen, rows))
    for name in submissions(rows):
        console.print(f"for visuallocalization.net: {out / name}", markup=False, highlight=False)
    console.print(f"written to {out}")


def _missing(source: Source, data: Path) -> str:
    return f"{source.title} is missing: expected in {data / source.expected}; {source.page} says where to get it"


def _listing(tables: Sequence[PaperTable], data: Path | None) -> Iterator[Text]:
    """Lines about tables and their datasets; no grid, for names of folders and pages are as wide as a terminal."""
    for table in tables:
        yield Text.assemble((table.name, "bold"), f": {table.title}")
        for source in table.sources:
            found = source.present(data) if data is not None else []
            if data is None:
                where = f"{source.expected} below --data"
            else:
                where = ", ".join(part.name for part in found) or "missing"
            yield Text(f"    {source.title}: {where}")
            if data is not None and not found:
                yield Text(f"        expected: {data / source.expected}")
            if not found:
                yield Text(f"        see {source.page}")
