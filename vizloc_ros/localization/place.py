"""A place: what a cluster of covisible keyframes sees, ready to be matched with a query."""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float32, Int8, Int32, Int64
from vizloc_ros.mapping.visual_map import VisualMap


@dataclass(frozen=True)
class Place:
    """Observations of landmarks, one row an observation; a landmark may have several, with a descriptor each.

    Attributes:
        positions: (N, 3) float32 landmark positions in the map frame [m].
        landmarks: (N,) int32 landmark ids.
        descriptors: (N, D) int8.
    """

    positions: Float32
    landmarks: Int32
    descriptors: Int8

    @classmethod
    def of_keyframes(cls, visual_map: VisualMap, keyframes: Int64, per_landmark: int) -> "Place":
        """What some keyframes of a map see, at most ``per_landmark`` observations of a landmark.

        Those of the first keyframes stay: in order of retrieval, they look most like the query.
        """
        rows = [visual_map.observations_of(int(k)) for k in keyframes]
        landmarks = np.concatenate([visual_map.observation_landmarks[r] for r in rows])
        descriptors = np.concatenate([visual_map.observation_descriptors[r] for r in rows])
        kept = _first_of_each(landmarks, per_landmark)
        return cls(visual_map.landmark_positions[landmarks[kept]], landmarks[kept], descriptors[kept])


def _first_of_each(values: Int32, count: int) -> Int64:
    """Ascending indices of the first ``count`` occurrences of every value."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-1))
    occurrence = np.arange(len(values)) - np.repeat(starts, np.diff(starts, append=len(values)))
    return np.sort(order[occurrence < count])
