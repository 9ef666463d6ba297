"""``report.json``, the pictures beside it, and the table of a report."""

import json
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycolmap import Rigid3d
from rich.table import Table
from rich.text import Text

from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.plots import plot_errors, plot_overlay, plot_trajectory
from vizloc_ros.evaluation.recall import evaluate_poses
from vizloc_ros.evaluation.trajectories import write_tum, write_visuallocalization
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.visual_map import VisualMap

PERCENTILES = {"p50", "p99"}
SHARES = ("recall", "recall_of_processed", "retrieval", "converged")


def write_report(path: Path, report: Mapping[str, object]) -> None:
    """Writes a report as JSON: whole or not at all. NumPy values become plain, and what is not finite null."""
    text = json.dumps(_plain(report), indent=2, allow_nan=False)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text + "\n", encoding="utf-8")
    aside.replace(path)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def report_table(report: Mapping[str, object]) -> Table:
    """A table of a report's figures; shares as per cent, times as median and 99th percentile."""
    table = Table(title="Report", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for label, value in _rows(report):
        table.add_row(Text(label), Text(value))  # plain: rich would take "[m]" for markup
    return table


def _rows(report: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in report.items():
        if not isinstance(value, Mapping) or value.keys() == PERCENTILES:
            yield _label(key), _cell(value)
            continue
        for name, item in value.items():
            text = f"{100 * item:.1f} %" if key in SHARES and isinstance(item, float) else _cell(item)
            yield f"{_label(key)}: {str(name).replace('_', ', ')}", text


def _label(key: str) -> str:
    """``median_translation_m`` to ``median translation [m]``."""
    for unit in ("m", "deg", "ms"):
        key = f"{key.removesuffix('_' + unit)} [{unit}]" if key.endswith(f"_{unit}") else key
    return key.replace("_", " ").removeprefix("num ")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


_POINTS_DRAWN = 20_000


def write_results(
    out: Path,
    records: Sequence[Record],
    estimates: Mapping[str, Rigid3d],
    visual_map: VisualMap,
    details: Mapping[str, Any],
    skipped: Collection[str] = (),
) -> dict[str, Any]:
    """Evaluates poses by image name and writes all files into ``out``.

    Args:
        out: a folder, made if need be.
        records: all images asked for, in order of time.
        estimates: map_from_cam of those that were localized.
        visual_map: the map they were localized in.
        details: further keys of the report.
        skipped: names of images that were not even tried, such as those a camera outran.

    Returns:
        The report.
    """
    out.mkdir(parents=True, exist_ok=True)
    for picture in ("trajectory.png", "errors.png", "overlay.png"):
        (out / picture).unlink(missing_ok=True)  # those of an earlier run would belie this one
    truth = {r.name: r.world_from_cam for r in records if r.world_from_cam is not None}
    recall = evaluate_poses(estimates, truth)
    report = {**recall.as_dict(), "num_images": len(records), "num_poses": len(estimates), **details}
    write_report(out / "report.json", report)
    found = [r for r in records if r.name in estimates]
    write_tum(out / "poses_tum.txt", ((r.timestamp_ns, estimates[r.name]) for r in found))
    write_visuallocalization(out / "poses_visuallocalization.txt", {r.name: estimates[r.name] for r in found})
    step = -(-len(visual_map.landmark_positions) // _POINTS_DRAWN)
    landmarks = np.array(visual_map.landmark_positions[::step], np.float64)
    plot_trajectory(out / "trajectory.png", landmarks, visual_map.keyframe_poses[:, :3], truth, estimates, skipped)
    if truth:
        posed = [r for r in records if r.name in truth]
        seconds = np.array([r.timestamp_ns for r in posed]) * 1e-9
        plot_errors(out / "errors.png", recall, [r.name for r in posed], seconds, skipped)
    return report


def draw_overlay(
    path: Path,
    record: Record,
    visual_map: VisualMap,
    map_from_cam: Rigid3d,
    localizer: HierarchicalLocalizer,
) -> None:
    """Draws a query, its matches, and the matched landmarks as seen from an estimated pose."""
    image = record.read_image()
    features = visual_map.extractor.extract(image)
    outcome = localizer.localize(features, record.camera)
    if outcome.pose is None:
        keypoints, projections = features.keypoints, None
        inliers = np.zeros(len(keypoints), bool)
    else:
        pose = outcome.pose
        keypoints = features.keypoints[np.concatenate([pose.keypoints, pose.rejected])]
        inliers = np.arange(len(keypoints)) < len(pose.keypoints)
        projections = np.zeros((len(keypoints), 2))
        projected, _ = record.camera.project(transform_points(map_from_cam.inverse(), pose.points))
        correction = visual_map.info.intrinsics_correction(record.camera)
        projections[inliers] = projected + correction.shift(projected, record.camera)  # where the real camera sees them
    caption = f"{record.name}: {outcome.inliers} of {outcome.matches} matches are inliers"
    plot_overlay(path, image, keypoints.astype(np.float64), inliers, projections, caption)
