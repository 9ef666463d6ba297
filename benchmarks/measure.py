"""Measurement of times, and tables of them: on the terminal, in Markdown for docs/performance.md, and as JSON."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import rich.table
from rich.text import Text

Cell = str | float | int | None


def milliseconds(work: Callable[[], object], repeats: int, warm_up: int = 2) -> list[float]:
    """Times of ``repeats`` calls [ms], after ``warm_up`` calls that do not count."""
    for _ in range(warm_up):
        work()
    gc.collect()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def memory_mb(pid: int | str = "self") -> dict[str, float]:
    """Memory of a process [MB]: "peak", "resident", and of this "own" and "files"; empty where Linux does not say.

    "files" is of mapped files: shared with others and with the system's cache, which takes it back when it needs it.
    """
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return {}
    found = dict(line.split(":", 1) for line in status.read_text().splitlines())
    keys = {"peak": "VmHWM", "resident": "VmRSS", "own": "RssAnon", "files": "RssFile"}
    return {name: 1.024e-3 * float(found[key].split()[0]) for name, key in keys.items() if key in found}


@dataclass(frozen=True)
class Table:
    """Results of one benchmark.

    Attributes:
        title: title of the table.
        columns: names of the columns, with units.
        rows: rows of one value per column, or None for no value.
        notes: conditions of the measurement: sizes, repeats, compared quantities.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = field(default_factory=tuple)

    def as_rich(self) -> rich.table.Table:
        """Table for the terminal."""
        table = rich.table.Table(title=self.title, title_justify="left", caption="\n".join(self.notes))
        table.caption_justify = "left"
        for i, column in enumerate(self.columns):
            table.add_column(Text(column), justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*(Text(_text(cell)) for cell in row))
        return table

    def as_markdown(self) -> str:
        """Markdown section with the table and its notes."""
        lines = [
            self.columns,
            ["---", *["---:"] * (len(self.columns) - 1)],
            *([_text(c) for c in r] for r in self.rows),
        ]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        notes = "\n".join(f"- {note}" for note in self.notes)
        return f"## {self.title}\n\n{table}\n\n{notes}\n"

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON, rows by column name."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "notes": list(self.notes)}


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return str(cell)
