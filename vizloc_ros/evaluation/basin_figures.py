"""Figures of basins: the cost of each level around the true pose of an image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vizloc_ros.evaluation.basins import LATERAL, YAW, Basins, CostLine, CostMap, Direction
from vizloc_ros.evaluation.plots import BLUE, GREEN, INK, MUTED, ORANGE, RED, figure_at

_COLORS = (RED, BLUE, GREEN, ORANGE, "#8b5cf6", MUTED)  # fine to coarse
_DOT: dict[str, Any] = {"marker": "o", "ms": 6, "mec": "white", "mew": 0.8, "ls": ""}
_TRUTH: dict[str, Any] = {"color": INK, "lw": 0.8, "ls": "--"}


def draw_basins(folder: Path, measured: Sequence[Basins]) -> None:
    """Draw the basins of each image into a figure NAME.png of a folder, which is created if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for basins in measured:
        name = basins.name.replace("/", "_").rsplit(".", 1)[0]
        _draw(folder / f"{name}.png", basins)


def _draw(path: Path, basins: Basins) -> None:
    """Draw the cost by lateral offset and by yaw, far and near, and from above on the coarsest level and the finest."""
    from matplotlib.lines import Line2D

    names = list(basins.strides)
    colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(reversed(names))}
    labels = {name: f"{name}: {stride:.2g} px" for name, stride in basins.strides.items()}
    with figure_at(path, width=13.0, height=7.6) as figure:
        axes = figure.subplots(2, 3, width_ratios=(1.25, 1, 1))
        for row, direction in zip(axes, (LATERAL, YAW), strict=True):
            lines = basins.lines[direction.name]
            _draw_lines(row[0], lines, direction, colors, direction.reach)
            _draw_lines(row[1], lines, direction, colors, direction.near)
        for axis, (name, cost_map) in zip(axes[:, 2], basins.maps.items(), strict=True):
            _draw_map(figure, axis, cost_map, f"{name}, from above")
        handles = {labels[name]: line for name, line in zip(names, axes[0, 0].lines, strict=False)}
        handles["lowest cost"] = Line2D([], [], color=MUTED, **_DOT)
        handles["true pose"] = Line2D([], [], **_TRUTH)
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower center",
            ncols=len(handles),
            title="levels, and the side of their cells in the image",
        )
        figure.suptitle(f"Cost of the alignment around the true pose of {basins.name}", fontweight="bold")


def _draw_lines(
    axis: Any, lines: Mapping[str, CostLine], direction: Direction, colors: Mapping[str, str], limit: float
) -> None:
    """Draw the costs of all levels up to an offset, with a dot at the lowest of each."""
    highest = 0.0
    for name, line in lines.items():
        shown = abs(line.offsets) <= limit + 1e-9
        heights = line.heights[shown]
        axis.plot(line.offsets[shown], heights, color=colors[name], lw=2.4 if colors[name] == RED else 1.4)
        highest = max(highest, float(np.nanmax(heights)))
    for name, line in lines.items():
        if abs(line.lowest) <= limit:
            axis.plot(line.lowest, 0, color=colors[name], clip_on=False, zorder=4, **_DOT)
    axis.axvline(0, zorder=1, **_TRUTH)
    axis.set(xlim=(-limit, limit), ylim=(0, 1.05 * highest), xlabel=f"{direction.name} offset [{direction.unit}]")
    axis.set_ylabel("cost, lowest to highest")
    axis.set_title(f"{direction.name}, up to {limit:g} {direction.unit}")
    axis.grid(True)


def _draw_map(figure: Any, axis: Any, cost_map: CostMap, label: str) -> None:
    """Draw the cost from above, with lines of equal cost and a cross at the true pose."""
    from matplotlib.ticker import MaxNLocator

    offsets, costs = cost_map.offsets, cost_map.costs
    image = axis.contourf(offsets, offsets, costs, levels=20, cmap="viridis")
    axis.contour(offsets, offsets, costs, levels=20, colors="white", linewidths=0.3)
    axis.plot(0, 0, "+", color="white", ms=10, mew=1.6)
    axis.set(aspect="equal", xlabel="lateral offset [m]", ylabel="forward offset [m]", title=label)
    bar = figure.colorbar(image, ax=axis, shrink=0.8, pad=0.02, ticks=MaxNLocator(5))
    bar.outline.set_visible(False)
    bar.set_label("cost")
