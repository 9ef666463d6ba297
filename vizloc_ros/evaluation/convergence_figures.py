"""Figures of convergence: ratios of converged alignments, and single alignments in their images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import evenly
from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.plots import BLUE, GREEN, MUTED, ORANGE, RED, figure_at
from vizloc_ros.evaluation.recall import readable
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.debug_image import draw_confidence, draw_travel
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.pose_refiner import MapAligner
from vizloc_ros.pixloc.tracking_options import TrackingOptions

_COLORS = (BLUE, ORANGE, GREEN, RED, MUTED, "#8b5cf6", "#06b6d4")  # an ablation has seven bars
_LEGEND_COLUMNS = 3  # four names of variants are wider than a figure of four priors


def plot_convergence(path: Path, ratios: Mapping[str, Mapping[str, float]]) -> None:
    """Draw the ratio of converged alignments as bars.

    Args:
        path: file of the figure.
        ratios: ratios by model and set of queries; all models have the same sets.
    """
    sets = list(next(iter(ratios.values())))
    width = 0.8 / len(ratios)
    with figure_at(path, width=max(7.0, 0.9 * len(sets) + 2), height=4.2) as figure:
        axes = figure.add_subplot()
        for k, (name, values) in enumerate(ratios.items()):
            places = np.arange(len(sets)) + (k - (len(ratios) - 1) / 2) * width
            axes.bar(places, [100 * values[key] for key in sets], width, label=name, color=_COLORS[k % len(_COLORS)])
        axes.set_xticks(range(len(sets)), [readable(key).replace(", ", "\n") for key in sets])
        axes.set_ylabel("converged [%]")
        axes.set(xlim=(-0.6, len(sets) - 0.4), ylim=(0, 105))
        axes.grid(axis="y")
        axes.set_title("Ratio of alignments that end within 0.25 m and 1°")
        figure.legend(loc="outside lower center", ncols=min(len(ratios), _LEGEND_COLUMNS))


_NUM_FIGURES = 6  # evenly spread over the run


def draw_alignments(
    folder: Path,
    records: Sequence[Record],
    priors: Mapping[str, Rigid3d],
    visual_map: VisualMap,
    extractor: PyramidExtractor,
    options: TrackingOptions,
) -> None:
    """Repeat a few alignments and draw each into a figure NAME.png.

    Args:
        folder: folder of the figures, created if it does not exist.
        records: images of the run, in order of time.
        priors: priors map_from_cam by image name.
        visual_map: map with reference features of the extractor.
        extractor: feature extractor.
        options: options of the alignment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with_prior = [record for record in records if record.name in priors]
    if not with_prior:
        return
    aligner = MapAligner(visual_map, extractor, options)
    for i in sorted(set(evenly(len(with_prior), _NUM_FIGURES).tolist())):
        record = with_prior[i]
        name = record.name.replace("/", "_").rsplit(".", 1)[0]
        _draw(folder / f"{name}.png", record, priors[record.name], visual_map, aligner)


def _draw(path: Path, record: Record, prior: Rigid3d, visual_map: VisualMap, aligner: MapAligner) -> None:
    image, camera = record.read_image(), record.camera
    aligned = aligner.align(image, camera, prior, trace=True)
    if aligned is None:
        return
    alignment, pyramid, roll = aligned.alignment, aligned.pyramid, aligned.roll
    correction = visual_map.info.intrinsics_correction(camera)
    panels = [draw_travel(image, aligned.references.positions, alignment.trace, camera, correction)]
    upright = roll.turn_image(image)
    panels += [roll.inverse.turn_image(draw_confidence(upright, level)) for level in pyramid.levels]
    titles = ["landmarks from the prior (red) to the pose (green)"]
    titles += [f"confidence, level {k}, {1 / level.scale[0]:.3g} px" for k, level in enumerate(pyramid.levels)]
    height, width = image.shape[:2]
    rows = (len(panels) + 2) // 2
    with figure_at(path, width=12.0, height=6.0 * rows * height / width + 0.6 * rows + 0.4) as figure:
        axes = figure.subplots(rows, 2, squeeze=False).ravel()
        for axis, panel, title in zip(axes, panels, titles, strict=False):
            axis.imshow(panel[..., ::-1])
            axis.set_axis_off()
            axis.set_title(title, fontsize=9)
        _plot_errors(axes[len(panels)], alignment.trace, alignment.iterations, record.world_from_cam)
        for axis in axes[len(panels) + 1 :]:
            axis.set_axis_off()


def _plot_errors(axis: Any, trace: Sequence[Rigid3d], iterations: Sequence[int], truth: Rigid3d | None) -> None:
    """Draw the error by iteration, coarse levels first; without ground truth, the distance from the last pose."""
    against = truth or trace[-1].inverse()
    errors = np.array([pose_error(pose.inverse(), against) for pose in trace])
    steps = range(len(trace))
    axis.semilogy(steps, np.maximum(errors[:, 0], 1e-4), color=BLUE, label="position [m]")
    axis.semilogy(steps, np.maximum(errors[:, 1], 1e-4), color=ORANGE, label="rotation [deg]")
    for end in np.cumsum(iterations[::-1])[:-1]:
        axis.axvline(end, color="#7b8794", lw=0.7, ls=":")
    axis.set_title("error by iteration, coarse to fine levels", fontsize=9)
    axis.legend(fontsize=8)
    axis.grid(True)
