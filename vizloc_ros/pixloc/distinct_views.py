"""Choice of a few observations of each landmark that stand for all: those whose views are the most different."""

import numpy as np

from vizloc_ros.arrays import Float64, Int64, ordered
from vizloc_ros.mapping.map_part import keyframe_of_rows
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.view_difference import view_difference

_SAME = 0.25  # difference of two views up to which one stands for both


def distinct_views(visual_map: VisualMap, count: int, same: float = _SAME) -> Int64:
    """Return the ascending rows of at most ``count`` observations of each landmark.

    The first is the nearest one, which shows the most detail. Each of the next ones differs the most from all that were
    chosen before (farthest point sampling), so that no view of the map is far from one of them. No more are chosen when
    all are within ``same`` of one.
    """
    seen = np.asarray(visual_map.observation_landmarks)
    order = ordered(seen)
    landmarks, keyframes = seen[order], keyframe_of_rows(visual_map)[order]
    positions = visual_map.landmark_positions[landmarks].astype(np.float64)
    rays = positions - visual_map.keyframe_poses[keyframes, :3]
    begins = np.flatnonzero(np.diff(landmarks, prepend=-1))
    group = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(landmarks)))
    chosen = np.zeros(len(rays), bool)
    difference = np.full(len(rays), np.inf)  # from the nearest chosen view
    candidate = _least_of_each(np.linalg.norm(rays, axis=1), group, begins)
    for _ in range(count):
        new = candidate[difference[candidate] > same]
        if not len(new):
            break
        chosen[new] = True
        difference = np.minimum(difference, view_difference(rays, rays[candidate][group]))
        candidate = _least_of_each(-difference, group, begins)
    return np.sort(order[chosen])


def num_views(visual_map: VisualMap) -> int:
    """Return the largest number of observations of a landmark with reference features, as ``count`` above; 0: all."""
    references = visual_map.references
    if references is None or references.rows is None:
        return 0
    return int(np.bincount(visual_map.observation_landmarks[references.rows]).max())


def _least_of_each(values: Float64, group: Int64, begins: Int64) -> Int64:
    """Return the index of the smallest of (N,) values in each group; those of a group follow one another."""
    return np.lexsort((values, group))[begins]
