"""A place: what a cluster of covisible keyframes sees, ready to be matched with a query."""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float32, Int8, Int32, Int64
from vizloc_ros.mapping.visual_map import VisualMap


@dataclass(frozen=True)
class Place:
    """Observations of landmarks, one row an observation, so that a landmark may have several descriptors.

    Attributes:
        positions: (N, 3) float32 landmark positions in the map frame [m].
        landmarks: (N,) int32 landmark ids.
        descriptors: (N, D) int8.
    """

    positions: Float32
    landmarks: Int32
    descriptors: Int8

    @classmethod
    def of_keyframes(cls, visual_map: VisualMap, keyframes: Int64) -> "Place":
        """All that some keyframes of a map see."""
        rows = [visual_map.observations_of(int(k)) for k in keyframes]
        landmarks = np.concatenate([visual_map.observation_landmarks[r] for r in rows])
        descriptors = np.concatenate([visual_map.observation_descriptors[r] for r in rows])
        return cls(visual_map.landmark_positions[landmarks], landmarks, descriptors)
