"""The picture of ``vizloc evaluate convergence``: shares that converge, by prior and model."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vizloc_ros.evaluation.plots import BLUE, GREEN, MUTED, ORANGE, RED, figure_at

_COLORS = (BLUE, ORANGE, GREEN, RED, MUTED, "#8b5cf6")


def plot_basins(path: Path, shares: Mapping[str, Mapping[str, float]]) -> None:
    """Bars of every model's shares, by kind of prior."""
    kinds = list(next(iter(shares.values())))
    width = 0.8 / len(shares)
    with figure_at(path, width=max(7.0, 0.9 * len(kinds) + 2), height=4.2) as figure:
        axes = figure.add_subplot()
        for k, (name, values) in enumerate(shares.items()):
            places = np.arange(len(kinds)) + (k - (len(shares) - 1) / 2) * width
            axes.bar(places, [100 * values[kind] for kind in kinds], width, label=name, color=_COLORS[k % len(_COLORS)])
        axes.set_xticks(range(len(kinds)), [kind.replace("_", "\n") for kind in kinds])
        axes.set_ylabel("converged [%]")
        axes.set_ylim(0, 105)
        axes.grid(axis="y")
        axes.set_title("Share of alignments that end within 0.25 m and 1°")
        figure.legend(loc="outside lower center", ncols=min(len(shares), 4))
