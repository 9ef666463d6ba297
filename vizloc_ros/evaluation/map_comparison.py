"""Comparison of maps that share their kind of features, such as a map and its pruned one, by the same queries."""

from collections.abc import Sequence

from pycolmap import Rigid3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.recall import RecallReport, evaluate_poses, ground_truth
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, silent


def recall_of_maps(
    visual_maps: Sequence[VisualMap],
    records: Sequence[Record],
    progress: Progress = silent,
    pose: PoseOptions | None = None,
) -> list[RecallReport]:
    """Localize the same images in each of several maps, with some options; features are extracted once.

    Raises:
        DatasetError: an image has no ground-truth pose.
        ImageError: an image cannot be read.
    """
    truths = [ground_truth(visual_map.info.place.records_in_map(records)) for visual_map in visual_maps]
    if unposed := sum(record.world_from_cam is None for record in records):
        raise DatasetError(f"{unposed} of {len(records)} images have no ground-truth pose to compare")
    localizers = [HierarchicalLocalizer(visual_map, None, pose) for visual_map in visual_maps]
    estimates: list[dict[str, Rigid3d]] = [{} for _ in visual_maps]
    for record in progress(records, "localizing", len(records)):
        features = visual_maps[0].extractor.extract(record.read_image())
        for localizer, found in zip(localizers, estimates, strict=True):
            localized = localizer.localize(features, record.camera).pose
            if localized is not None:
                found[record.name] = localized.map_from_cam
    return [evaluate_poses(found, truth) for found, truth in zip(estimates, truths, strict=True)]
