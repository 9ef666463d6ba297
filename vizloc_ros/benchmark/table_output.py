"""Output of a table: our rows beside the paper's, on the console, as Markdown and as ``report.json``."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pycolmap
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from vizloc_ros import __version__
from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.paper_table import PaperTable, TableRow
from vizloc_ros.benchmark.table_figure import plot_table
from vizloc_ros.evaluation.report import write_report
from vizloc_ros.files import replacing

OURS = "vizloc_ros"


def write_table(table: PaperTable, rows: Sequence[TableRow], run: BenchmarkRun, notes: Sequence[str] = ()) -> None:
    """Write ``TABLE.md``, ``TABLE.png`` and ``report.json`` into the run's folder.

    Args:
        table: table of the paper.
        rows: our rows.
        run: run that made them.
        notes: remarks, such as the datasets that are missing.
    """
    with replacing(run.out / f"{table.name}.md") as file:
        file.write(table_markdown(table, rows, run, notes).encode())
    plot_table(run.out / f"{table.name}.png", table, rows)
    write_report(run.out / "report.json", table_report(table, rows, run, notes))


def console_table(table: PaperTable, rows: Sequence[TableRow]) -> Table:
    """Table for the console: the paper's rows, then ours."""
    shown = Table(title=Text(f"{table.citation}: {table.title}"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    shown.caption, shown.caption_justify = Text(table.caption), "left"
    grouped = is_grouped(table)
    if grouped:
        shown.add_column("dataset", overflow="fold")
    shown.add_column("method", overflow="fold")
    for column in table.columns:
        shown.add_column(Text(column.title), justify="right", min_width=max(map(len, column.title.split())))
    for of_paper, ordered in ((True, table.papers), (False, rows)):
        for row in ordered:
            names = ([row.group] if grouped else []) + [row.method if of_paper else f"ours: {row.method}"]
            cells = [*names, *(row.cell(column) for column in table.columns)]
            shown.add_row(*map(Text, cells), style="" if of_paper else "bold")
        shown.add_section()
    return shown


def is_grouped(table: PaperTable) -> bool:
    """Return true if the table has rows for several datasets."""
    return any(row.group for row in table.papers)


def table_markdown(table: PaperTable, rows: Sequence[TableRow], run: BenchmarkRun, notes: Sequence[str]) -> str:
    """Page with both tables in one, the command, the seed, versions and weights."""
    heads = [*(["dataset"] if is_grouped(table) else []), "method", "from", *(c.title for c in table.columns)]
    lines = [f"# {table.name}: {table.title}", "", table.caption, "", _line(heads), _line(["---"] * len(heads))]
    for source, ordered in ((table.citation, table.papers), (f"**{OURS}**", rows)):
        for row in ordered:
            names = [*([row.group] if is_grouped(table) else []), row.method, source]
            lines.append(_line([*names, *(row.cell(column) for column in table.columns)]))
    lines += ["", f"Made by `{run.command}`, seed {run.seed}."]
    lines += ["", *(f"- {note}" for note in (*partial_notes(run), *notes))]
    lines += [f"- submission to visuallocalization.net: `{name}`" for name in submissions(rows)]
    weights = {row.method: row.weights for row in rows if row.weights}
    lines += [*(f"- {method}: `{identifier}`" for method, identifier in weights.items())]
    lines += [f"- {name} {version}" for name, version in versions().items()]
    return "\n".join(lines) + "\n"


def table_report(
    table: PaperTable, rows: Sequence[TableRow], run: BenchmarkRun, notes: Sequence[str]
) -> dict[str, Any]:
    """Keys of ``report.json``."""
    ours: dict[str, dict[str, Any]] = {}
    weights: dict[str, str] = {}
    for row in rows:
        ours.setdefault(row.method, {}).update(row.figures)
        weights[row.method] = row.weights
    return {
        "table": table.name,
        "rows": [_row(row) for row in rows],
        "paper": [_row(row) for row in table.papers],
        "figures": ours,
        "weights": weights,
        "submissions": submissions(rows),
        "every": run.every,
        "map_every": run.map_every,
        "limit": run.limit,
        "notes": [*partial_notes(run), *notes],
        "versions": versions(),
        "command": run.command,
        "seed": run.seed,
    }


def submissions(rows: Sequence[TableRow]) -> list[str]:
    """Files of submissions, relative to the run's folder."""
    return list(dict.fromkeys(name for row in rows for name in row.submissions))


def partial_notes(run: BenchmarkRun) -> list[str]:
    """Remark that a run takes only some of the images, if so."""
    taken = [f"--every {run.every}"] if run.every > 1 else []
    taken += [f"--map-every {run.map_every}"] if run.map_every > 1 else []
    taken += [f"--limit {run.limit}"] if run.limit is not None else []
    return [f"not the whole dataset: {', '.join(taken)}"] if taken else []


def versions() -> dict[str, str]:
    """Versions of the package and of the libraries that its figures depend on, and the machine of its times."""
    return {
        "vizloc_ros": __version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "OpenCV": cv2.__version__,
        "ONNX Runtime": onnxruntime.__version__,
        "pycolmap": pycolmap.__version__,
        "CPU": f"{_cpu_name()}, {os.cpu_count()} cores",
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(": ")[2] if names else platform.processor() or platform.machine()


def _row(row: TableRow) -> dict[str, Any]:
    cells: Mapping[str, str] = row.cells
    return {**({"dataset": row.group} if row.group else {}), "method": row.method, **cells}


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
