"""Tables of the papers: columns, the papers' rows as printed, and what computes our rows."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vizloc_ros.benchmark.sources import Source
from vizloc_ros.evaluation.recall import TOLERANCES

if TYPE_CHECKING:
    from vizloc_ros.benchmark.benchmark_run import BenchmarkRun

MISSING = "-"


@dataclass(frozen=True)
class TableRow:
    """One row: a method, on a dataset where the table has rows for several.

    Attributes:
        method: name of the method.
        cells: texts by key of the column; a column without one shows "-".
        group: dataset of the row; empty in tables with one row for each method.
        figures: figures behind our row, for ``report.json``, by dataset; empty for the papers' rows.
        weights: identifier of weights and settings of our row.
        submissions: files for visuallocalization.net, relative to the run's folder.
    """

    method: str
    cells: Mapping[str, str]
    group: str = ""
    figures: Mapping[str, object] = field(default_factory=dict)
    weights: str = ""
    submissions: Sequence[str] = ()

    def cell(self, column: "Column") -> str:
        """Text of the cell in a column."""
        return self.cells.get(column.key, MISSING)


@dataclass(frozen=True)
class Column:
    """Column of a table.

    Attributes:
        key: name in code.
        title: head of the column.
    """

    key: str
    title: str


@dataclass(frozen=True)
class PaperTable:
    """Table of a paper that the package repeats.

    Attributes:
        name: name on the command line.
        title: subject.
        citation: paper and number of the table.
        columns: columns.
        papers: rows of the paper, with its numbers as printed.
        sources: datasets; rows are computed of those that are present.
        rows: generator of our rows; called if at least one dataset is present.
        caption: units, and what differs from the paper.
    """

    name: str
    title: str
    citation: str
    columns: tuple[Column, ...]
    papers: tuple[TableRow, ...]
    sources: tuple[Source, ...]
    rows: "Callable[[BenchmarkRun], Iterator[TableRow]]"
    caption: str


def paper_rows(columns: Sequence[Column], text: str, grouped: bool = False) -> tuple[TableRow, ...]:
    """Rows from lines ``method | cell | cell ...``, as printed in a paper; ``-`` is an empty cell.

    Args:
        columns: columns of the cells.
        text: the lines.
        grouped: true if each line begins with ``group |``.
    """
    rows = []
    for line in text.strip().splitlines():
        fields = [part.strip() for part in line.split("|")]
        group = fields.pop(0) if grouped else ""
        method, *cells = fields
        named = zip(columns, cells, strict=True)
        rows.append(TableRow(method, {column.key: cell for column, cell in named if cell != MISSING}, group))
    return tuple(rows)


def numbers_of(cell: str) -> list[float]:
    """Numbers of a cell: ``75.7 / 84.3 / 90.9`` has three, ``92+263`` their sum, ``685k`` is 685,000; none for "-"."""
    numbers = []
    for part in cell.strip("()").split("/"):
        terms = re.findall(r"([\d,.]*\d)\s*(k?)", part)
        if terms:
            numbers.append(sum(float(text.replace(",", "")) * (1000 if kilo else 1) for text, kilo in terms))
    return numbers


def recalls(recall: Mapping[str, float]) -> str:
    """Cell of the recalls at the papers' three tolerances: ``75.7 / 84.3 / 90.9``."""
    return " / ".join(f"{100 * recall[str(tolerance)]:.1f}" for tolerance in TOLERANCES)
