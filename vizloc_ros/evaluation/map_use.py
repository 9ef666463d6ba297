"""Use of a map by queries: keyframes and landmarks that supported their poses, from results of ``vizloc localize``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vizloc_ros.arrays import Bool, Int32, Int64
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.image_results import IMAGES_FILE, ImageResults
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.mapping.visual_map import VisualMap

_ENOUGH = PoseOptions().min_inliers


@dataclass(frozen=True)
class MapUse:
    """Use of a map by queries.

    Attributes:
        images: number of queries.
        localized: number of queries with a pose and its matches.
        landmarks: (L,) number of queries whose pose each landmark supported.
        keyframes: (K,) number of queries whose pose each keyframe could have supported alone: it sees as many of the
            landmarks as a pose needs.
        other_maps: folders of maps that results name instead of this one, because it was moved or is another.
    """

    images: int
    localized: int
    landmarks: Int64
    keyframes: Int64
    other_maps: tuple[Path, ...] = ()


def map_use(visual_map: VisualMap, results: Sequence[Path]) -> MapUse:
    """Count what queries used of a map.

    Args:
        visual_map: the map.
        results: folders of ``vizloc localize``, or their files ``images.npz``.

    Raises:
        DatasetError: a file is missing or damaged, has no matches, or is of another map.
    """
    info = visual_map.info
    landmarks, keyframes = np.zeros(info.landmarks, np.int64), np.zeros(info.keyframes, np.int64)
    images, localized, others = 0, 0, dict[Path, None]()
    for path in results:
        file = path / IMAGES_FILE if path.is_dir() else path
        read = ImageResults.read(file)
        if read.map_path.resolve() != visual_map.folder.resolve():
            others[read.map_path] = None
        matched = [np.unique(image.matches.inliers.landmarks) for image in read.images]
        supported = [ids for ids in matched if len(ids)]
        if not supported:
            raise DatasetError(f"{file}: has no matches: give results of 'vizloc localize' that localized images")
        if max(int(ids.max()) for ids in supported) >= info.landmarks:
            raise DatasetError(f"{file}: names landmarks that {visual_map.folder} does not have: it is of another map")
        images, localized = images + len(read.images), localized + len(supported)
        for ids in supported:
            landmarks[ids] += 1
            keyframes += _supporting(visual_map, ids)
    return MapUse(images, localized, landmarks, keyframes, tuple(others))


def _supporting(visual_map: VisualMap, landmarks: Int32) -> Bool:
    """Mask (K,) of the keyframes that see enough of some landmarks."""
    used = np.zeros(visual_map.info.landmarks, bool)
    used[landmarks] = True
    sums = np.concatenate([[0], np.cumsum(used[visual_map.observation_landmarks])])
    return np.asarray(np.diff(sums[visual_map.observation_offsets]) >= _ENOUGH)
