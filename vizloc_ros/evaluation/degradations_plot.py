"""The picture of ``vizloc evaluate degradations``. Matplotlib is imported when it is drawn."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

from vizloc_ros.evaluation.degradations import CLEAN, TOLERANCE, Figures
from vizloc_ros.evaluation.degrade import KINDS, LEVELS
from vizloc_ros.evaluation.plots import BLUE, GREEN, INK, ORANGE, RED, STYLE

_COLORS = (BLUE, ORANGE, GREEN, RED, INK)
_PANEL_INCHES = (3.4, 3.6)


def plot_degradations(path: Path, runs: Mapping[str, Mapping[str, Figures]]) -> None:
    """Draws recall over the level, which is 0 for clean queries: a panel a kind, a line an extractor.

    Args:
        path: where the picture goes.
        runs: by extractor and set of queries, of which all have the same, "clean" among them.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    keys = [key for figures in runs.values() for key in figures]
    kinds = [kind for kind in KINDS if any(key.startswith(f"{kind}:") for key in keys)]
    width, height = _PANEL_INCHES
    with rc_context(STYLE):
        figure = Figure(figsize=(width * len(kinds) + 1, height), dpi=140, layout="constrained")
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, kind in zip(panels, kinds, strict=True):
            for color, (name, figures) in zip(cycle(_COLORS), runs.items(), strict=False):
                by_level = {0: figures[CLEAN]} | {
                    level: figures[f"{kind}:{level}"] for level in LEVELS if f"{kind}:{level}" in figures
                }
                shares = [100 * of_level["recall"][TOLERANCE] for of_level in by_level.values()]
                axes.plot(list(by_level), shares, "o-", ms=4, color=color, label=name)
            axes.set(title=kind, xlabel="level", xticks=[0, *LEVELS], ylim=(-3, 103))
            axes.grid(True)
        panels[0].set_ylabel(f"recall at {TOLERANCE.replace('_', ', ')} [%]")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(runs))
        figure.savefig(path)
