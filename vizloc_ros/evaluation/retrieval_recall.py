"""Quality of the retrieval for one query with a known pose: rank of a near keyframe, and visible landmarks found."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, Int64
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.mapping.visual_map import VisualMap

_NEAR_M = 5.0
# Local descriptors match across about this change of the view.
_MAX_ANGLE_DEG = 30.0
_MAX_DISTANCE_RATIO = 2.0


@dataclass(frozen=True)
class RetrievalQuality:
    """Quality of the retrieval for one query.

    Attributes:
        rank: rank of the first retrieved keyframe within 5 m; None if there is none.
        landmarks: ratio of the visible landmarks that retrieved keyframes observe; None if none is visible.
    """

    rank: int | None
    landmarks: float | None


class VisibleLandmarks:
    """Landmarks of a map that a camera sees, in a view that is similar to that of a keyframe which observes them."""

    def __init__(self, visual_map: VisualMap) -> None:
        self._map = visual_map
        self._keyframes = np.repeat(np.arange(visual_map.info.keyframes), np.diff(visual_map.observation_offsets))

    def seen_from(self, map_from_cam: Rigid3d, camera: PinholeCamera) -> Int64:
        """Ascending ids of the landmarks in the image that a keyframe sees from a similar place.

        Similar: at most 30 degrees between the two rays to the landmark, and distances within a factor of 2. A landmark
        may be hidden from the camera; a keyframe that sees it from a similar place makes that unlikely.
        """
        positions, centers = self._map.landmark_positions, self._map.keyframe_poses[:, :3]
        pixels, in_front = camera.project(map_from_cam.inverse() * np.asarray(positions, np.float64))
        inside = in_front & camera.contains(pixels)
        rows = np.flatnonzero(inside[self._map.observation_landmarks])
        landmarks = np.asarray(self._map.observation_landmarks[rows], np.int64)
        rays = positions[landmarks] - map_from_cam.translation
        keyframe_rays = positions[landmarks] - centers[self._keyframes[rows]]
        distances, keyframe_distances = _norms(rays), _norms(keyframe_rays)
        cosines = (rays * keyframe_rays).sum(axis=1) / np.maximum(distances * keyframe_distances, 1e-12)
        ratios = np.maximum(distances, 1e-12) / np.maximum(keyframe_distances, 1e-12)
        similar = cosines >= np.cos(np.radians(_MAX_ANGLE_DEG))
        similar &= (ratios <= _MAX_DISTANCE_RATIO) & (ratios >= 1 / _MAX_DISTANCE_RATIO)
        return np.unique(landmarks[similar])

    def evaluate(self, retrieved: Int64, map_from_cam: Rigid3d, camera: PinholeCamera) -> RetrievalQuality:
        """Quality of the retrieved keyframes, best first, of a query with this true pose."""
        centers = self._map.keyframe_poses[retrieved, :3]
        near = np.linalg.norm(centers - map_from_cam.translation, axis=1) <= _NEAR_M
        visible = self.seen_from(map_from_cam, camera)
        observed = np.concatenate([self._map.landmarks_of(int(keyframe)) for keyframe in retrieved])
        found = np.isin(visible, observed)
        return RetrievalQuality(
            int(near.argmax()) if near.any() else None, float(found.mean()) if len(visible) else None
        )


def retrieval_recall(qualities: Collection[RetrievalQuality], top_k: int) -> dict[str, float] | None:
    """Means over queries: keys ``r1_5m``, ``r10_5m`` and ``landmarks`` of ``report.json``; None without queries.

    Args:
        qualities: quality of each query.
        top_k: number of retrieved keyframes; with fewer than ten there is no ``r10_5m``.
    """
    if not qualities:
        return None
    recall = {
        f"r{k}_5m": sum(q.rank is not None and q.rank < k for q in qualities) / len(qualities)
        for k in (1, 10)
        if k <= top_k
    }
    ratios = [q.landmarks for q in qualities if q.landmarks is not None]
    return {**recall, "landmarks": float(np.mean(ratios))} if ratios else recall


def _norms(vectors: Float64) -> Float64:
    return np.asarray(np.linalg.norm(vectors, axis=1))
