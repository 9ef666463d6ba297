"""The picture of ``vizloc evaluate matching``. Matplotlib is imported when it is drawn."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

from vizloc_ros.evaluation.matching import MMA_THRESHOLDS_PX
from vizloc_ros.evaluation.matching_run import MatchingRun
from vizloc_ros.evaluation.plots import BLUE, GREEN, INK, ORANGE, RED, STYLE

_COLORS = (BLUE, ORANGE, GREEN, RED, INK)
_PANEL_INCHES = (5.0, 4.6)


def plot_mma(path: Path, runs: Mapping[str, Mapping[int, MatchingRun]]) -> None:
    """Draws the mean matching accuracy over its threshold: a panel a number of keypoints, a line an extractor.

    Args:
        path: where the picture goes.
        runs: by extractor and number of keypoints, of which all have the same.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    counts = sorted({count for of_counts in runs.values() for count in of_counts})
    width, height = _PANEL_INCHES
    with rc_context(STYLE):
        figure = Figure(figsize=(width * len(counts), height), dpi=140, layout="constrained")
        panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
        for axes, count in zip(panels, counts, strict=True):
            for color, (name, of_counts) in zip(cycle(_COLORS), runs.items(), strict=False):
                shares = [100 * share for share in of_counts[count].overall.mma]
                axes.plot(MMA_THRESHOLDS_PX, shares, "o-", ms=4, color=color, label=name)
            axes.set(title=f"{count} keypoints", xlabel="threshold [px]", ylim=(0, 100), xticks=MMA_THRESHOLDS_PX)
            axes.grid(True)
        panels[0].set_ylabel("matches within the threshold (MMA) [%]")
        panels[-1].legend(loc="lower right")
        figure.savefig(path)
