"""Picture of a table: a panel of bars for each column, our rows in color."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vizloc_ros.benchmark.paper_table import Column, PaperTable, TableRow, numbers_of
from vizloc_ros.evaluation.plots import BLUE, INK, MUTED, STYLE

_PAPER = "#a3b0bd"
_PANELS_ABREAST = 4
_PANEL_WIDTH, _ROW_HEIGHT, _HEAD_HEIGHT = 2.7, 0.24, 0.9
_LABEL_WIDTH = 2.4
_BAR = 0.74


def plot_table(path: Path, table: PaperTable, rows: Sequence[TableRow]) -> None:
    """Draw a panel for each column that has numbers, with the paper's rows in gray and ours in blue.

    Args:
        path: file of the figure.
        table: table of the paper.
        rows: our rows.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = [*((row, _PAPER) for row in table.papers), *((row, BLUE) for row in rows)]
    columns = [c for c in table.columns if any(numbers_of(row.cell(c)) for row, _ in shown)]
    abreast = min(_PANELS_ABREAST, len(columns))
    lines = math.ceil(len(columns) / abreast)
    size = (_LABEL_WIDTH + _PANEL_WIDTH * abreast, lines * (_HEAD_HEIGHT + _ROW_HEIGHT * len(shown)) + 0.5)
    with rc_context({**STYLE, "axes.titlesize": 10, "font.size": 9}):
        figure = Figure(figsize=size, dpi=140, layout="constrained")
        figure.suptitle(f"{table.citation}: {table.title}", x=0.01, ha="left", weight="bold", color=INK)
        panels = figure.subplots(lines, abreast, sharey=True, squeeze=False)
        for panel, column in zip(panels.flat, columns, strict=False):
            _draw_column(panel, column, shown)
            panel.tick_params(axis="y", length=0)
        for panel in panels.flat[len(columns) :]:
            panel.set_visible(False)
        for panel in panels[:, 0]:
            panel.set_yticks(range(len(shown)), [_label(row) for row, _ in shown])
            for label, (_, color) in zip(panel.get_yticklabels(), shown, strict=True):
                label.set_color(BLUE if color == BLUE else INK)
        panels[0, 0].invert_yaxis()  # of all: they share it
        figure.savefig(path)


def _label(row: TableRow) -> str:
    return f"{row.group}: {row.method}" if row.group else row.method


def _draw_column(axes: Any, column: Column, shown: Sequence[tuple[TableRow, str]]) -> None:
    """Draw the bars of a column; of several numbers in a cell, the larger ones are lighter."""
    found = [sorted(numbers_of(row.cell(column)), reverse=True) for row, _ in shown]
    depth = max(map(len, found))
    for alpha, level in zip(np.linspace(0.3, 1, depth) if depth > 1 else [1.0], range(depth), strict=True):
        bars = [(y, numbers[level]) for y, numbers in enumerate(found) if level < len(numbers)]
        colors = [shown[y][1] for y, _ in bars]
        axes.barh(*zip(*bars, strict=True), height=_BAR, color=colors, alpha=alpha, linewidth=0)
    for y, ((row, _), numbers) in enumerate(zip(shown, found, strict=True)):
        text = axes.annotate(
            row.cell(column),
            (max(numbers, default=0), y),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=INK if numbers else MUTED,
        )
        text.set_in_layout(False)  # its place is in the margin, and to lay it out takes most of the time
    axes.margins(x=0.55 if depth > 1 else 0.35)
    axes.set_title(column.title)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
