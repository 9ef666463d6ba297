"""The files that every evaluation leaves: poses in two formats, ``report.json`` and pictures."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.plots import plot_errors, plot_overlay, plot_trajectory
from vizloc_ros.evaluation.recall import evaluate_poses
from vizloc_ros.evaluation.report import write_report
from vizloc_ros.evaluation.trajectories import write_tum, write_visuallocalization
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.localization.localizer import HierarchicalLocalizer
from vizloc_ros.mapping.visual_map import VisualMap

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
        estimates: world_from_cam of those that were localized.
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
    world_from_cam: Rigid3d,
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
        projected, _ = record.camera.project(transform_points(world_from_cam.inverse(), pose.points))
        correction = visual_map.info.correction_of(record.camera)
        projections[inliers] = projected + correction.shift(projected, record.camera)  # where the real camera sees them
    caption = f"{record.name}: {outcome.inliers} of {outcome.matches} matches are inliers"
    plot_overlay(path, image, keypoints.astype(np.float64), inliers, projections, caption)
