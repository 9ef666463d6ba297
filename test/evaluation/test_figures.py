"""Words and numbers in the figures of a report: they agree, lie within the figure and hide nothing."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import ImageError
from vizloc_ros.evaluation.convergence_figures import plot_convergence
from vizloc_ros.evaluation.overlays import draw_overlay
from vizloc_ros.evaluation.plots import plot_errors
from vizloc_ros.evaluation.recall import evaluate_poses
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.mapping.visual_map import VisualMap


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that were written."""
    written: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: Any, **options: Any) -> None:
        save(figure, *arguments, **options)
        written.append(figure)

    monkeypatch.setattr(Figure, "savefig", keep)
    return written


def legend_counts(figure: Figure) -> dict[str, int]:
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    return {found[1]: int(found[2]) for label in labels if (found := re.fullmatch(r"(.*) \((\d+)\)", label))}


def test_title_and_legend_of_the_overlay_count_the_same_matches(
    street: SyntheticStreet, street_map: VisualMap, figures: list[Figure], tmp_path: Path
) -> None:
    record = street.records("query")[8]
    localizer = HierarchicalLocalizer(street_map)
    draw_overlay(tmp_path / "a.png", [record], {record.name: record.world_from_cam}, street_map, localizer)
    counts = legend_counts(figures[0])
    inliers, rejected = counts["inlier matches"], counts["rejected matches"]
    title = figures[0].axes[0].get_title(loc="left")
    assert inliers > 15
    assert title == f"{record.name}: {inliers} of {inliers + rejected} matches are inliers, 0.000 m, 0.00 deg off"


def test_the_overlay_shows_a_typical_image_and_the_worst_one(
    street: SyntheticStreet, street_map: VisualMap, figures: list[Figure], tmp_path: Path
) -> None:
    """Of errors 0.1, 0.2 and 3 m, the middle and the last; but an image without a pose is worse."""
    records = street.records("query")[4:8]
    names = [record.name for record in records]
    localizer = HierarchicalLocalizer(street_map)
    estimates = {
        record.name: Rigid3d(
            record.world_from_cam.rotation, record.world_from_cam.translation + np.array([shift, 0.0, 0.0])
        )
        for record, shift in zip(records, (0.2, 3.0, 0.1), strict=False)
        if record.world_from_cam is not None
    }
    draw_overlay(tmp_path / "a.png", records[:3], estimates, street_map, localizer)
    draw_overlay(tmp_path / "b.png", records, estimates, street_map, localizer, {names[3]: "too few matches"})
    titles = [[axes.get_title(loc="left") for axes in figure.axes] for figure in figures]
    assert [re.sub(r": \d+ of \d+ matches are inliers", "", title) for title in titles[0]] == [
        f"typical: {names[0]}, 0.200 m, 0.00 deg off",
        f"worst: {names[1]}, 3.000 m, 0.00 deg off",
    ]
    assert titles[1][0] == titles[0][0]
    assert titles[1][1].startswith(f"worst: {names[3]}: ")


def test_an_unreadable_image_is_not_the_worst_one(
    street: SyntheticStreet, street_map: VisualMap, figures: list[Figure], tmp_path: Path
) -> None:
    def missing() -> UInt8:
        raise ImageError("gone")

    good, bad = street.records("query")[4:6]
    localizer = HierarchicalLocalizer(street_map)
    records = [good, replace(bad, read_image=missing)]
    estimates = {record.name: record.world_from_cam for record in records if record.world_from_cam is not None}
    draw_overlay(tmp_path / "a.png", records, estimates, street_map, localizer, {bad.name: "cannot be read"})
    (axes,) = figures[0].axes
    assert good.name in axes.get_title(loc="left")


def test_an_overlay_without_a_pose_shows_keypoints_and_calls_nothing_a_match(
    street: SyntheticStreet, street_map: VisualMap, figures: list[Figure], tmp_path: Path
) -> None:
    record = street.records("query")[8]
    localizer = HierarchicalLocalizer(street_map, pose=PoseOptions(min_inliers=5000))
    draw_overlay(tmp_path / "a.png", [record], {record.name: record.world_from_cam}, street_map, localizer)
    assert list(legend_counts(figures[0])) == ["keypoints"]
    assert "5000 are needed" in " ".join(figures[0].axes[0].get_title(loc="left").split())


def test_the_footer_of_the_errors_fits_and_its_numbers_add_up(figures: list[Figure], tmp_path: Path) -> None:
    truth = {f"{i:04d}": Rigid3d(Rotation3d(), [float(i), 0.0, 0.0]) for i in range(1000)}
    names = list(truth)
    estimates = {name: truth[name] for name in names[200:]}
    skipped = [*names[:150], "without ground truth"]
    plot_errors(tmp_path / "a.png", evaluate_poses(estimates, truth), names, np.arange(1000.0), skipped)
    figure = figures[0]
    footer = figure._supxlabel
    assert footer.get_text().startswith("800 of 1000 queries localized, 50 without a pose (red), 150 not processed")
    box = footer.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert box.y0 >= 0


def test_errors_below_the_axis_are_marked_as_such(figures: list[Figure], tmp_path: Path) -> None:
    truth = {name: Rigid3d() for name in "abcd"}
    moved = {"a": 0.0, "b": 0.0002, "c": 0.002, "d": 0.2}
    estimates = {name: Rigid3d(Rotation3d(), [meters, 0.0, 0.0]) for name, meters in moved.items()}
    plot_errors(tmp_path / "a.png", evaluate_poses(estimates, truth), list(truth))
    legends = [axes.get_legend().get_texts()[0].get_text() for axes in figures[0].axes]
    assert legends == ["2 below 0.001 m", "4 below 0.001 deg"]
    points = {line.get_marker(): [float(x) for x in line.get_xdata()] for line in figures[0].axes[0].lines}
    assert (points["."], points["v"]) == ([2, 3], [0, 1])


def test_the_legend_of_an_ablation_is_within_the_figure(figures: list[Figure], tmp_path: Path) -> None:
    """Also that of few priors, whose figure is narrow; no two variants have one color."""
    names = ("full", "no fine level", "no uncertainty", "no learned damping", "compact features (16)")
    ratios = {name: {"0.5m_1deg": 1.0, "1m_2deg": 0.9} for name in (*names, "not trained end to end", "photometric")}
    plot_convergence(tmp_path / "ablation.png", ratios)
    (figure,) = figures
    (legend,) = figure.legends
    box, width = legend.get_window_extent(), figure.bbox.width
    assert 0.02 * width < box.x0 < box.x1 < 0.98 * width
    assert len({handle.get_facecolor() for handle in legend.get_patches()}) == len(ratios)
