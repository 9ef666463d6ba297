"""Overlays of an evaluation: a typical image beside the worst one, with their matches."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import CameraError, ImageError
from vizloc_ros.evaluation.plots import Overlay, plot_overlays
from vizloc_ros.evaluation.recall import evaluate_poses, ground_truth
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.image_localizer import ImageLocalizer
from vizloc_ros.mapping.visual_map import VisualMap


def draw_overlay(
    path: Path,
    records: Sequence[Record],
    estimates: Mapping[str, Rigid3d],
    visual_map: VisualMap,
    localizer: HierarchicalLocalizer,
    failed: Mapping[str, str] | None = None,
) -> None:
    """Draw a typical image and the worst one: their matches, and the landmarks projected with the estimated pose.

    The typical image has the median translation error; without ground truth, it is the first one in the second half of
    the records. The worst image has no pose, or else the largest error. Images that cannot be read are passed over.

    Args:
        path: file of the figure; without an image, none is written.
        records: images of the evaluation, in order of time.
        estimates: estimated poses map_from_cam by image name.
        visual_map: map of the estimates.
        localizer: localizer that finds the matches again.
        failed: reason for having no pose by the name of an image that was processed.
    """
    by_name = {record.name: record for record in records}
    errors = evaluate_poses(estimates, ground_truth(records)).errors
    ranked = sorted(errors, key=errors.__getitem__)
    found = [record.name for record in records[len(records) // 2 :] if record.name in estimates]
    typical = sorted(ranked, key=lambda name: abs(ranked.index(name) - (len(ranked) - 1) // 2)) or found
    drawn: dict[str, Overlay] = {}
    for title, names in (("typical", typical), ("worst", [*(failed or {}), *reversed(ranked)])):
        for name, image in _readable(by_name[name] for name in names):
            if name not in drawn:
                start = f"{title}: " if len(names) > 1 else ""
                off = ", {:.3f} m, {:.2f} deg off".format(*errors[name]) if name in errors else ""
                drawn[name] = _overlay(by_name[name], image, estimates.get(name), (start, off), visual_map, localizer)
            break
    if drawn:
        plot_overlays(path, list(drawn.values()))


def _readable(records: Iterable[Record]) -> Iterable[tuple[str, UInt8]]:
    """Names and images of the records that can be read, when they are asked for."""
    for record in records:
        try:
            yield record.name, record.read_image()
        except (CameraError, ImageError):  # such as an image of a size that has no calibration
            continue


def _overlay(
    record: Record,
    image: UInt8,
    map_from_cam: Rigid3d | None,
    around: tuple[str, str],
    visual_map: VisualMap,
    localizer: HierarchicalLocalizer,
) -> Overlay:
    localized = ImageLocalizer(visual_map.extractor, localizer, tuple(Roll)).localize(image, record.camera)
    features, pose = localized.features, localized.outcome.pose
    start, end = around  # of the caption
    if pose is None:
        caption = f"{start}{record.name}: all keypoints; localized again, {localized.outcome.reason}"
        return Overlay(image, features.keypoints.astype(np.float64), caption=caption)
    keypoints = features.keypoints[np.concatenate([pose.keypoints, pose.rejected])]
    inliers = np.arange(len(keypoints)) < len(pose.keypoints)
    projections = np.zeros((len(keypoints), 2))
    cam_from_map = (map_from_cam or pose.map_from_cam).inverse()
    projected, _ = record.camera.project(transform_points(cam_from_map, pose.positions))
    correction = visual_map.info.intrinsics_correction(record.camera)
    projections[inliers] = projected + correction.shift(projected, record.camera)  # pixels of the real camera
    caption = f"{start}{record.name}: {len(pose.keypoints)} of {len(keypoints)} matches are inliers{end}"
    return Overlay(image, keypoints.astype(np.float64), inliers, projections, caption)
