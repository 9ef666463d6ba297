"""A posed image on its way into a map."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d
from pydantic import Field
from scipy.spatial import cKDTree

from vizloc_ros.arrays import Float64, Int64
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.options import Options


@dataclass(frozen=True)
class Keyframe:
    """One image of the map: name, time [ns], camera, known pose, features."""

    name: str
    timestamp_ns: int
    camera: PinholeCamera
    map_from_cam: Rigid3d
    features: Features


class PairOptions(Options):
    """Which keyframes are matched with each other."""

    min_distance: float = Field(0.05, ge=0, description="least distance of two cameras: standing ones see no depth [m]")
    max_distance: float = Field(25.0, gt=0, description="largest distance of two cameras [m]")
    max_angle: float = Field(50.0, gt=0, le=180, description="largest angle between their viewing directions [deg]")
    by_pose: int = Field(8, ge=1, description="partners of a keyframe chosen by distance")
    by_retrieval: int = Field(2, ge=0, description="partners chosen by global descriptor, for revisits")


def keyframe_pairs(keyframes: Sequence[Keyframe], options: PairOptions) -> list[tuple[int, int]]:
    """Sorted pairs (i, j) with i < j of keyframes worth matching.

    By distance: the nearest partners first, then at growing steps, so that a landmark is seen from close enough to
    match and from far enough to triangulate. By retrieval: the most similar ones, within twice the distance.
    """
    centres = np.array([k.map_from_cam.translation for k in keyframes])
    directions = np.array([k.map_from_cam.rotation.matrix()[:, 2] for k in keyframes])
    looks = np.array([k.features.global_descriptor for k in keyframes])
    min_cosine = np.cos(np.radians(options.max_angle))
    tree = cKDTree(centres)
    pairs: set[tuple[int, int]] = set()
    for i, centre in enumerate(centres):
        near = _facing_alike(
            i, np.array(tree.query_ball_point(centre, options.max_distance), np.int64), directions, min_cosine
        )
        distance = np.linalg.norm(centres[near] - centre, axis=1)
        order = np.argsort(distance, kind="stable")
        near = near[order[distance[order] >= options.min_distance]]
        chosen = near[_spread(len(near), options.by_pose)]
        if options.by_retrieval:
            far = np.array(tree.query_ball_point(centre, 2 * options.max_distance), np.int64)
            far = far[np.linalg.norm(centres[far] - centre, axis=1) >= options.min_distance]
            alike = np.setdiff1d(_facing_alike(i, far, directions, min_cosine), chosen)
            most = np.argsort(-(looks[alike] @ looks[i]), kind="stable")[: options.by_retrieval]
            chosen = np.concatenate([chosen, alike[most]])
        pairs.update((min(i, int(j)), max(i, int(j))) for j in chosen)
    return sorted(pairs)


def _facing_alike(i: int, others: Int64, directions: Float64, min_cosine: float) -> Int64:
    """Those of ``others`` that are not i and look about the same way."""
    others = others[others != i]
    return others[directions[others] @ directions[i] >= min_cosine]


def _spread(available: int, wanted: int) -> Int64:
    """At most ``wanted`` ranks below ``available``: the first, the last, and between them ever larger steps."""
    if available <= wanted:
        return np.arange(available)
    return np.unique(np.geomspace(1, available, wanted).round().astype(np.int64)) - 1
