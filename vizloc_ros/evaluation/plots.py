"""Figures of results, drawn without a display. Matplotlib is imported when the first one is drawn."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Bool, Float64, UInt8
from vizloc_ros.evaluation.recall import TOLERANCES, RecallReport, readable
from vizloc_ros.evaluation.top_view import NO_ROTATIONS, TopView

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
BLUE, GREEN, ORANGE, RED = "#2563eb", "#10b981", "#f59e0b", "#dc2626"
TOLERANCE_COLORS = (GREEN, ORANGE, RED)
ERROR_RANGE_M = (0.01, 10.0)
_WIDE = 0.7  # height by width of images that are drawn one below the other
DPI = 140
ERROR_FLOOR = 1e-3  # lower end of logarithmic axes
STYLE = {
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "savefig.facecolor": "white",
}


def plot_trajectory(
    path: Path,
    landmarks: Float64,
    keyframes: Float64,
    truth: Mapping[str, Rigid3d],
    estimates: Mapping[str, Rigid3d],
    skipped: Collection[str] = (),
    title: str = "Localization in the map, from above",
    *,
    rotations: Float64 = NO_ROTATIONS,
    unit: str = "m",
) -> None:
    """Draw a view from above: the map, the ground truth, and each estimate in the color of its error.

    Any axis may be up, see ``TopView``. A line joins an estimate that is wrong to its true place.

    Args:
        path: file of the figure.
        landmarks: (N, 3) landmarks [m]; a subset of many is drawn.
        keyframes: (K, 3) positions of the keyframes [m], in the same frame as all others.
        truth: ground-truth poses of the queries, in order of time; may be empty.
        estimates: estimated poses by the same names; missing ones are marked.
        skipped: names of queries that were not processed.
        title: title of the figure.
        rotations: (K, 3, 3) rotations world_from_cam of the keyframes, which tell the vertical.
        unit: unit of the axes.
    """
    true = {name: pose.translation for name, pose in truth.items()}
    found = {name: pose.translation for name, pose in estimates.items()}
    known = np.concatenate([_stack(keyframes), _stack(true.values())])
    trajectory = known if len(known) else _stack(found.values())  # an outlier must not shrink the map in the figure
    view = TopView.of(trajectory, rotations, landmarks)
    width, height = view.high - view.low
    with figure_at(path, width=10.0, height=float(np.clip(8.0 * height / width, 2.0, 9.0)) + 1.5) as figure:
        axes = figure.add_subplot()
        shown = view.flat(landmarks)[:: max(1, len(landmarks) // 40_000)]
        size = float(np.clip(20_000 / max(len(shown), 1), 0.6, 5.0))
        axes.scatter(*shown.T, s=size, c="#a3b0bd", linewidths=0, label="landmarks", rasterized=True)
        dots = {"s": float(np.clip(3000 / max(len(keyframes), 1), 6, 30)), "c": "#93b4f5", "linewidths": 0}
        axes.scatter(*view.flat(_stack(keyframes)).T, label="keyframes", zorder=2, **dots)
        if true:
            axes.plot(*view.flat(_stack(true.values())).T, color=INK, lw=0.8, label="ground truth of the queries")
        outside = int((~view.shows(_stack(found.values()))).sum())
        label = f"estimates ({outside} outside the figure)" if outside else "estimates"
        _draw_estimates(figure, axes, true, found, view, label, unit)
        unprocessed = view.flat(_stack([true[name] for name in true if name not in found and name in skipped]))
        if len(unprocessed):
            axes.scatter(*unprocessed.T, s=5, c=MUTED, label=f"not processed ({len(unprocessed)})")
        missing = view.flat(_stack([true[name] for name in true if name not in found and name not in skipped]))
        if len(missing):
            style = {"marker": "x", "s": 34, "c": RED, "linewidths": 1.4, "zorder": 4}
            axes.scatter(*missing.T, label=f"no pose ({len(missing)})", **style)
        axes.set(aspect="equal", xlim=(view.low[0], view.high[0]), ylim=(view.low[1], view.high[1]), title=title)
        axes.set_xlabel(f"{'xyz'[view.right]} [{unit}]")
        axes.set_ylabel(f"{'xyz'[view.upwards]} [{unit}]")
        if view.inverted:
            axes.invert_yaxis()
        axes.grid(True)
        legend = figure.legend(loc="outside lower center", ncols=4, markerscale=1.0)
        for handle in legend.legend_handles[:1]:  # the landmarks: their dots are too small for the legend
            handle.set_sizes([16])
        figure.draw_without_rendering()  # a layout for the axes' shape: the next one has room for the title


def _draw_estimates(
    figure: Any,
    axes: Any,
    true: Mapping[str, Float64],
    found: Mapping[str, Float64],
    view: TopView,
    label: str,
    unit: str,
) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LogNorm

    compared = [name for name in found if name in true]
    without_truth = _stack([found[name] for name in found if name not in true])
    if len(without_truth):
        axes.scatter(*view.flat(without_truth).T, s=14, c=BLUE, label=label, zorder=3)
    if compared:
        points, places = _stack([found[name] for name in compared]), _stack([true[name] for name in compared])
        errors = np.linalg.norm(points - places, axis=1)
        dots = axes.scatter(
            *view.flat(points).T,
            c=errors.clip(*ERROR_RANGE_M),
            norm=LogNorm(*ERROR_RANGE_M),
            cmap="plasma",
            s=22,
            linewidths=0.4,
            edgecolors="white",
            label=label,
            zorder=3,
        )
        wrong = errors > TOLERANCES[0].translation_m
        if wrong.any():
            lines = np.stack([view.flat(points), view.flat(places)], axis=1)[wrong]
            text = f"to the true place, beyond {TOLERANCES[0].translation_m:g} {unit} ({int(wrong.sum())})"
            axes.add_collection(LineCollection(list(lines), colors=RED, linewidths=0.9, label=text), autolim=False)
        bar = figure.colorbar(dots, ax=axes, shrink=0.8, pad=0.02, aspect=24, format="%g")
        bar.set_label(f"translation error [{unit}]")
        bar.outline.set_visible(False)


def plot_errors(
    path: Path,
    report: RecallReport,
    names: Sequence[str],
    times_s: Float64 | None = None,
    skipped: Collection[str] = (),
    title: str = "Error of each query",
) -> None:
    """Draw translation and rotation errors by query, the tolerances, and marks for queries without a pose.

    Args:
        path: file of the figure.
        report: errors of the estimates.
        names: all queries in order of time.
        times_s: (len(names),) times of the queries [s]; None to number them instead.
        skipped: names of queries that were not processed; they are not drawn as failures.
        title: title of the figure.
    """
    x = np.arange(len(names)) if times_s is None else times_s - times_s[:1]
    found = np.array([name in report.errors for name in names], dtype=bool)
    passed_over = ~found & np.array([name in skipped for name in names], dtype=bool)
    failed = ~found & ~passed_over
    errors = np.array([report.errors[name] for name in names if name in report.errors]).reshape(-1, 2)
    with figure_at(path, width=10.0, height=5.4) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        for column, (axes, quantity, unit) in enumerate(
            zip(panels, ("translation error", "rotation error"), ("m", "deg"), strict=True)
        ):
            axes.vlines(x[failed], 0, 1, transform=axes.get_xaxis_transform(), color=RED, alpha=0.25, lw=2)
            below = errors[:, column] < ERROR_FLOOR
            axes.plot(x[found][~below], errors[~below, column], ".", color=BLUE, ms=6)
            if below.any():  # at the lower end of the axis, since a logarithm has none
                label = f"{int(below.sum())} below {ERROR_FLOOR:g} {unit}"
                axes.plot(x[found][below], np.full(below.sum(), ERROR_FLOOR), "v", color=BLUE, ms=5, label=label)
                axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderpad=0.0, handletextpad=0.2)
            for tolerance, color in zip(TOLERANCES, TOLERANCE_COLORS, strict=True):
                axes.axhline(tolerance[column], color=color, lw=1, ls="--")
                axes.annotate(
                    f"{tolerance[column]:g} {unit}",
                    (1.0, tolerance[column]),
                    xycoords=("axes fraction", "data"),
                    xytext=(5, 0),
                    textcoords="offset points",
                    color=color,
                    va="center",
                    annotation_clip=False,
                )
            largest = max([TOLERANCES[-1][column], *errors[:, column]])
            smallest = min([TOLERANCES[0][column], *errors[:, column]])
            axes.set(yscale="log", ylabel=f"{quantity} [{unit}]")
            axes.set_ylim(max(ERROR_FLOOR, smallest) / 1.6, largest * 1.8)
            axes.yaxis.set_major_formatter("{x:g}")
            axes.grid(True)
        panels[0].set_title(title)
        recall = ",  ".join(f"{100 * ratio:.1f} % within {readable(key)}" for key, ratio in report.recall.items())
        panels[1].set_xlabel("query image" if times_s is None else "time [s]")
        figure.supxlabel(  # two lines: one would be wider than the figure
            f"{report.num_poses} of {report.num_images} queries localized, {int(failed.sum())} without a pose (red)"
            f"{f', {int(passed_over.sum())} not processed' if passed_over.any() else ''}\nrecall: {recall}",
            fontsize=10,
            color=MUTED,
        )


@dataclass(frozen=True)
class Overlay:
    """Query image with its matches, or with its keypoints alone.

    Attributes:
        image: (H, W) gray or (H, W, 3) BGR image.
        keypoints: (N, 2) matched keypoints [px]; all of the image without ``inliers``.
        inliers: (N,) mask of the inlier matches; None if there are no matches.
        projections: (N, 2) matched landmarks projected with the estimated pose [px]; drawn for the inliers.
        caption: title of the panel, e.g. the errors.
    """

    image: UInt8
    keypoints: Float64
    inliers: Bool | None = None
    projections: Float64 | None = None
    caption: str = ""


def plot_overlay(
    path: Path,
    image: UInt8,
    keypoints: Float64,
    inliers: Bool | None = None,
    projections: Float64 | None = None,
    caption: str = "",
) -> None:
    """Draw one ``Overlay``, of its attributes."""
    plot_overlays(path, [Overlay(image, keypoints, inliers, projections, caption)])


def plot_overlays(path: Path, overlays: Sequence[Overlay]) -> None:
    """Draw overlays side by side, or wide images one below the other."""
    ratio = max(o.image.shape[0] / o.image.shape[1] for o in overlays)
    rows = len(overlays) if ratio < _WIDE else 1
    columns = len(overlays) // rows
    with figure_at(path, width=10.0, height=rows * (10.0 / columns * ratio + 0.8) + 0.3) as figure:
        for axes, overlay in zip(figure.subplots(rows, columns, squeeze=False).flat, overlays, strict=True):
            height, width = overlay.image.shape[:2]
            axes.imshow(
                overlay.image if overlay.image.ndim == 2 else overlay.image[..., ::-1], cmap="gray", vmin=0, vmax=255
            )
            if overlay.inliers is None:
                keypoints = overlay.keypoints
                axes.scatter(*keypoints.T, s=9, c=ORANGE, linewidths=0, label=f"keypoints ({len(keypoints)})")
            else:
                _draw_matches(axes, overlay.keypoints, overlay.inliers, overlay.projections)
            axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
            axes.set_axis_off()
            axes.set_title(fill(overlay.caption, 95 if columns == 1 else 58), fontsize=12 if columns == 1 else 9)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3 if columns == 1 else 1, labelcolor=INK)


def _draw_matches(axes: Any, keypoints: Float64, inliers: Bool, projections: Float64 | None) -> None:
    from matplotlib.collections import LineCollection

    out, used = keypoints[~inliers], keypoints[inliers]
    axes.scatter(*out.T, s=9, c=RED, linewidths=0, alpha=0.8, label=f"rejected matches ({len(out)})")
    if projections is not None:
        ends = np.stack([used, projections[inliers]], axis=1)
        axes.add_collection(LineCollection(list(ends), colors="#fde047", linewidths=1.2), autolim=False)
        ring = {"marker": "o", "facecolors": "none", "edgecolors": "#fde047", "linewidths": 1.0}
        axes.scatter(*projections[inliers].T, s=34, label="landmarks, projected with the estimated pose", **ring)
    axes.scatter(*used.T, s=9, c="#34d399", linewidths=0, label=f"inlier matches ({len(used)})")


@contextmanager
def figure_at(path: Path, width: float, height: float) -> Iterator[Any]:
    """Figure of a size in inches; it is written to the path at the end of the block, a quarter larger but soon."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
        yield figure
        figure.savefig(path, pil_kwargs={"compress_level": 1})


def _stack(points: Any) -> Float64:
    """(N, 3) array of any number of points, zero included."""
    return np.array(list(points), dtype=np.float64).reshape(-1, 3)
