"""Places: covisible clusters of retrieved keyframes with their landmarks (HF-Net, section 3).

The map server runs this half of the hierarchical localization; the localizer runs the other half, ``pose_solver``.
"""

from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vizloc_ros.arrays import Bool, Float32, Float64, Int8, Int32, Int64, ranges
from vizloc_ros.features.descriptor_similarity import Compared
from vizloc_ros.localization.global_search import open_search
from vizloc_ros.localization.localization_options import RetrievalOptions
from vizloc_ros.localization.place_memory import PlaceMemory
from vizloc_ros.localization.retrieval import (
    SPACING_PER_DEPTH,
    averaged_over_neighbors,
    best_first,
    depth_of,
    require_query,
    suppress_neighbors,
)
from vizloc_ros.mapping.search_area import SearchArea
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch


@dataclass(frozen=True)
class Place:
    """Observations of the landmarks of a place, one in each row; a landmark may have several.

    Attributes:
        positions: (N, 3) float32 landmark positions in the map frame [m].
        landmark_ids: (N,) int32 ids of the landmarks.
        descriptors: (N, D) int8 descriptors of the observations.
    """

    positions: Float32
    landmark_ids: Int32
    descriptors: Int8

    @cached_property
    def compared(self) -> Compared:
        """The descriptors as others are compared with them; one place may be matched twice."""
        return Compared(self.descriptors)

    def __len__(self) -> int:
        return len(self.landmark_ids)

    def first(self, count: int) -> "Place":
        """Place of the first ``count`` observations, which are of the keyframes that resemble the query most."""
        if count >= len(self):
            return self
        return Place(self.positions[:count], self.landmark_ids[:count], self.descriptors[:count])

    @classmethod
    def of_keyframes(cls, visual_map: VisualMap, keyframes: Int64, per_landmark: int) -> "Place":
        """Observations of some keyframes of a map, at most ``per_landmark`` of each landmark.

        Observations of the first keyframes are kept: in order of retrieval, these are most similar to the query.
        """
        return Observations.of(visual_map, keyframes).place(keyframes, per_landmark)


@dataclass(frozen=True)
class Observations:
    """All observations of some keyframes of a map, one keyframe after the other.

    Attributes:
        visual_map: the map.
        keyframes: (k,) the keyframes.
        rows: (N,) rows of the map's observations.
        ranks: (N,) index of the keyframe of each.
        landmarks: (N,) ids of the landmarks.
        by_landmark: (N,) indices that sort them by landmark; those of one landmark in the order of the keyframes.
    """

    visual_map: VisualMap
    keyframes: Int64
    rows: Int64
    ranks: Int64
    landmarks: Int32
    by_landmark: Int64

    @classmethod
    def of(cls, visual_map: VisualMap, keyframes: Int64) -> "Observations":
        """Collect them. Raises ``MapError`` as ``VisualMap.landmarks_of``."""
        landmarks = np.concatenate([visual_map.landmarks_of(k) for k in keyframes.tolist()])
        first = visual_map.observation_offsets[keyframes]
        rows, ranks = ranges(first, visual_map.observation_offsets[keyframes + 1] - first)
        by_landmark = np.argsort(landmarks, kind="stable")  # keyframes see runs of landmarks, which a merge sort uses
        return cls(visual_map, keyframes, rows, ranks, landmarks, by_landmark)

    def clusters(self) -> list[Int64]:
        """Connected components of the covisibility graph of the keyframes, as ``covisible_clusters``."""
        landmarks, ranks, count = self.landmarks[self.by_landmark], self.ranks[self.by_landmark], len(self.keyframes)
        same = landmarks[1:] == landmarks[:-1]  # one after the other, the keyframes of a landmark are a chain of edges
        edges = np.bincount((ranks[1:] * count + ranks[:-1])[same], minlength=count**2)
        linked = edges.reshape(count, count) > 0
        clusters = [self.keyframes[members] for members in _components(linked | linked.T)]
        return sorted(clusters, key=len, reverse=True)

    def place(self, keyframes: Int64, per_landmark: int) -> Place:
        """Place of some of the keyframes, in their order here, with the first observations of each landmark."""
        of_place, kept = self.by_landmark, np.zeros(len(self.rows), bool)
        if len(keyframes) < len(self.keyframes):
            of_place = of_place[(self.keyframes[:, None] == keyframes).any(axis=1)[self.ranks[of_place]]]
        kept[of_place[_occurrence(self.landmarks[of_place]) < per_landmark]] = True
        landmark_ids, rows = self.landmarks[kept], self.rows[kept]
        return Place(
            self.visual_map.landmark_positions[landmark_ids],
            landmark_ids,
            self.visual_map.observation_descriptors[rows],
        )


def _occurrence(values: Int32) -> Int64:
    """Number (N,) of equal values before each of (N,) sorted ones."""
    new = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    starts = np.flatnonzero(new)
    return np.arange(len(values)) - starts[np.cumsum(new) - 1]


def covisible_clusters(visual_map: VisualMap, keyframes: Int64) -> list[Int64]:
    """Connected components of the covisibility graph of retrieved keyframes; one shared landmark is an edge.

    Args:
        visual_map: the map.
        keyframes: (k,) retrieved keyframes, best first.

    Returns:
        The clusters, the largest first; among equals, the one with the better retrieved keyframe. Within a cluster,
        keyframes keep the order of retrieval.
    """
    return Observations.of(visual_map, keyframes).clusters()


def _components(linked: Bool) -> list[Bool]:
    """Masks (N,) of the connected components of a graph with a symmetric (N, N) matrix, by their first nodes."""
    components, left = [], np.ones(len(linked), bool)
    while left.any():
        reached = np.arange(len(linked)) == left.argmax()
        while not np.array_equal(wider := reached | linked[reached].any(axis=0), reached):
            reached = wider
        components.append(reached)
        left &= ~reached
    return components


def within_reach(keyframes: Int64, positions: Float64, reach: float) -> list[Int64]:
    """Split a cluster into the keyframes within reach of its best one, those within reach of the next best, and so on.

    Landmarks link houses that look alike, and a long chain of keyframes joins what no view has in common. A pose would
    find no rival among its own place.

    Args:
        keyframes: (k,) keyframes of the cluster, best first.
        positions: (k, 3) their positions [m].
        reach: maximum distance from the best one of a part [m].
    """
    parts, left = [], np.ones(len(keyframes), bool)
    while left.any():
        best = int(left.argmax())
        near = left & (np.linalg.norm(positions - positions[best], axis=1) <= reach)
        near[best] = True  # also where numbers of the map are none
        parts.append(keyframes[near])
        left &= ~near
    return parts


_PROPOSALS = 10  # candidates of the non-maximum suppression for each retrieved keyframe
_REACH_PER_DEPTH = 2.0  # median depths, over which one view has landmarks in common with another


@dataclass(frozen=True)
class RetrievedPlaces:
    """Result of the retrieval for one query.

    Attributes:
        keyframes: (k,) retrieved keyframes, best first; further ones, if none is similar, follow, best first.
        similarities: (k,) cosines of their global descriptors and the query's, averaged with their neighbors' ones.
        places: covisible clusters of the first keyframes, best first, then those that further ones belong to.
        searched: number of keyframes that the query was compared with, directly or through the index.
    """

    keyframes: Int64
    similarities: Float32
    places: list[Place]
    searched: int


class PlaceFinder:
    """Retrieval of places of a map by global descriptor.

    Attributes:
        options: options of the retrieval.
        index: search among all keyframes of the map.
    """

    def __init__(self, visual_map: VisualMap, options: RetrievalOptions | None = None) -> None:
        """Open the search that the options select. Raises ``ConfigError`` or ``MapError`` as ``open_search`` does."""
        self._map = visual_map
        self.options = options or RetrievalOptions()
        self.index = open_search(visual_map, self.options)
        depth = depth_of(visual_map)
        self._spacing = SPACING_PER_DEPTH * depth if self.options.spacing < 0 else self.options.spacing
        self._view, self._reach = depth, _REACH_PER_DEPTH * depth
        self._memory = PlaceMemory(visual_map.keyframe_poses[:, :3], self.options.memory, self.options.max_speed)

    def of_another_camera(self) -> "PlaceFinder":
        """Finder with the same index, and a memory of its own: for the images of another camera."""
        other = copy(self)
        other._memory = self._memory.empty()
        return other

    def find(
        self,
        global_descriptor: Float32,
        stopwatch: Stopwatch,
        stamp_ns: int | None = None,
        area: SearchArea | None = None,
        *,
        anew: bool = False,
    ) -> RetrievedPlaces:
        """Return the places most similar to the query. Raises ``FeatureError`` for a descriptor of another kind.

        Args:
            global_descriptor: (G,) global descriptor of the query.
            stopwatch: takes the stages.
            stamp_ns: time of the query if it is one of a sequence, of which the last seconds are remembered; None for
                an image for itself.
            area: where the vehicle is said to be: only keyframes that see it are searched, if there are any.
            anew: forget the images before, as after a person's word.
        """
        with stopwatch("retrieve"):
            if anew:
                self._memory.forget()
            inside = self._seeing(area)
            keyframes, similarities = self._retrieve(global_descriptor, None if anew else stamp_ns, inside)
        with stopwatch("cluster"):
            places = self._places(keyframes)
        searched = self._map.info.keyframes if inside is None else len(inside)
        return RetrievedPlaces(keyframes, similarities, places, searched)

    def _seeing(self, area: SearchArea | None) -> Int64 | None:
        """Ascending keyframes that see an area; None for all of the map, and where nothing of it is in the map."""
        if area is None:
            return None
        inside = np.flatnonzero(area.within(self._map.keyframe_poses[:, :3], self._view))
        return inside if len(inside) else None

    def _propose(self, global_descriptor: Float32, inside: Int64 | None) -> tuple[Int64, Float32]:
        """Most similar keyframes of the map, or of those inside an area; and their similarities."""
        count = _PROPOSALS * self.options.top_k
        if inside is None:
            return self.index.search(global_descriptor, count)
        require_query(global_descriptor, self._map.global_descriptors.shape[1])
        return best_first(inside, self.index.descriptors_of(inside) @ global_descriptor, count)

    def _retrieve(
        self, global_descriptor: Float32, stamp_ns: int | None, inside: Int64 | None
    ) -> tuple[Int64, Float32]:
        """Best keyframes and their similarities: ``top_k``, and ``further_k`` if none of them is similar."""
        options = self.options
        keyframes, similarities = self._propose(global_descriptor, inside)
        descriptors = self.index.descriptors_of(keyframes)
        order, likely = np.arange(len(keyframes)), None
        if stamp_ns is not None and options.memory and options.remembered_k:
            expected = np.setdiff1d(self._memory.expect(stamp_ns), keyframes)
            expected = expected if inside is None else np.intersect1d(expected, inside)
            theirs = self.index.descriptors_of(expected)
            keyframes, descriptors = np.concatenate([keyframes, expected]), np.concatenate([descriptors, theirs])
            similarities = np.concatenate([similarities, theirs @ global_descriptor])
            averaged = averaged_over_neighbors(similarities, descriptors, np.arange(len(keyframes)), options.neighbors)
            likely = self._memory.update(keyframes, averaged)
            order = self._alone_then_likely(keyframes, similarities, likely)
        chosen = np.sort(order[self._spaced(keyframes[order], options.top_k)])
        further = np.zeros(0, np.int64)
        if options.further_k and similarities[0] < options.confident_similarity:
            further = np.setdiff1d(order[self._spaced(keyframes[order], options.top_k + options.further_k)], chosen)
        ordered = []
        for part in (chosen, further) if len(further) else (chosen,):
            averaged = averaged_over_neighbors(similarities, descriptors, part, options.neighbors)
            best = np.argsort(-(averaged if likely is None else likely[part]), kind="stable")
            ordered.append((part[best], averaged[best]))
        rows, averaged = (np.concatenate(parts) for parts in zip(*ordered, strict=True))
        return keyframes[rows], averaged

    def _alone_then_likely(self, keyframes: Int64, similarities: Float32, likely: Float64) -> Int64:
        """Indices of keyframes: some by the image alone, spaced, then all others, the likely ones first."""
        alone = np.argsort(-similarities, kind="stable")
        alone = alone[self._spaced(keyframes[alone], max(self.options.top_k - self.options.remembered_k, 0))]
        others = np.argsort(-likely, kind="stable")
        return np.concatenate([alone, others[~np.isin(others, alone)]])

    def _places(self, keyframes: Int64) -> list[Place]:
        """Places of the first ``top_k`` keyframes, then those of all that have one of the others."""
        if not self.options.cluster:
            return [Place.of_keyframes(self._map, keyframes, self.options.descriptors_per_landmark)]
        first, others = keyframes[: self.options.top_k], set(keyframes[self.options.top_k :].tolist())
        places = self._covisible_places(first, set(first.tolist()))
        return places + self._covisible_places(keyframes, others) if others else places

    def _covisible_places(self, keyframes: Int64, needed: set[int]) -> list[Place]:
        """Covisible clusters with a needed keyframe, split where keyframes are too far apart; the largest first."""
        observations = Observations.of(self._map, keyframes)
        parts = [
            part
            for cluster in observations.clusters()
            for part in within_reach(cluster, self._map.keyframe_poses[cluster, :3], self._reach)
        ]
        parts.sort(key=lambda part: (-len(part), np.flatnonzero(keyframes == part[0])[0]))
        per_landmark = self.options.descriptors_per_landmark
        return [observations.place(part, per_landmark) for part in parts if not needed.isdisjoint(part.tolist())]

    def _spaced(self, keyframes: Int64, count: int) -> Int64:
        """Ascending indices of at most ``count`` of some keyframes, best first, ``spacing`` apart."""
        if not self._spacing:
            return np.arange(min(count, len(keyframes)))
        poses = self._map.keyframe_poses[keyframes]
        x, y, z, w = poses[:, 3:].T
        directions = np.column_stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
        return suppress_neighbors(poses[:, :3], directions, self._spacing, count)
