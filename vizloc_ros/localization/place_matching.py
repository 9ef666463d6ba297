"""Matching of a query's keypoints with the observations of places, each pair compared once (HF-Net, section 5.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float32, Int8, Int32, Int64, most_similar_first
from vizloc_ros.features.types import Features, inverse_norms
from vizloc_ros.localization.absolute_pose import Matches
from vizloc_ros.localization.places import Place
from vizloc_ros.parallel import in_parts

_BLOCK = 256  # keypoints whose similarities are computed at a time: in a place of 10,000 observations, 10 MB
_WORTH_THREADS = 4_000_000  # pairs of a keypoint and an observation that take 3 ms on one core


@dataclass(frozen=True)
class _Nearest:
    """Nearest observation of each of N keypoints, and the second: (N,) rows of the place and similarities."""

    nearest: Int64
    best: Float32
    second: Int64
    second_best: Float32

    @classmethod
    def of(cls, descriptors: Int8, scales: Float32, place: Place) -> "_Nearest":
        """Compare (N, D) descriptors of inverse lengths (N,) with all observations of a place: two or more."""
        count = len(descriptors)
        found = cls(
            np.empty(count, np.int64),
            np.empty(count, np.float32),
            np.empty(count, np.int64),
            np.empty(count, np.float32),
        )

        def compare(part: slice) -> None:
            for start in range(part.start, part.stop, _BLOCK):
                rows = slice(start, min(start + _BLOCK, part.stop))
                similarity = place.compared.projections(descriptors[rows])
                every = np.arange(len(similarity))
                found.nearest[rows] = nearest = similarity.argmax(axis=1)
                found.best[rows] = similarity[every, nearest]
                similarity[every, nearest] = -np.inf
                found.second[rows] = second = similarity.argmax(axis=1)
                found.second_best[rows] = similarity[every, second]

        if count * len(place) < _WORTH_THREADS:
            compare(slice(0, count))
        else:
            in_parts(compare, count)
        found.best[:] *= scales
        found.second_best[:] *= scales
        return found

    def followed_by(self, others: "_Nearest") -> "_Nearest":
        """Join those of these keypoints and of others."""
        return _Nearest(
            np.concatenate([self.nearest, others.nearest]),
            np.concatenate([self.best, others.best]),
            np.concatenate([self.second, others.second]),
            np.concatenate([self.second_best, others.second_best]),
        )

    def matches(self, place: Place, ratio: float) -> tuple[Int32, Int32]:
        """Matches that pass the ratio test, as of ``match_to_place``."""
        same = place.landmark_ids[self.nearest] == place.landmark_ids[self.second]
        distinct = (1 - self.best) <= ratio**2 * (1 - self.second_best)
        query = np.flatnonzero(same | distinct)
        query = query[most_similar_first(self.best[query])]
        _, first = np.unique(place.landmark_ids[self.nearest[query]], return_index=True)
        query = query[np.sort(first)]
        return query.astype(np.int32), self.nearest[query].astype(np.int32)


def match_to_place(descriptors: Int8, place: Place, ratio: float) -> tuple[Int32, Int32]:
    """Match each query keypoint to its nearest observation, with the modified ratio test (HF-Net, section 5.2).

    All similarities give the squared distances ``2 - 2 similarity``. A match is accepted if the nearest observation is
    clearly nearer than the second one, ``d1^2 <= ratio^2 d2^2``, or if both belong to the same landmark. Of several
    keypoints that match one landmark, the most similar one stays, so no landmark counts twice.

    Args:
        descriptors: (N, D) int8 descriptors of the query.
        place: M observations.
        ratio: maximum ratio of the distances to the nearest and the second observation.

    Returns:
        (m,) indices of query keypoints and (m,) rows of the place.
    """
    if len(descriptors) == 0 or len(place.landmark_ids) < 2:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    return _Nearest.of(descriptors, inverse_norms(descriptors), place).matches(place, ratio)


class PlaceMatcher:
    """Matches of one query's best keypoints with places; what was compared for fewer of them is kept."""

    def __init__(self, features: Features, ratio: float) -> None:
        self._features, self._ratio = features, ratio
        self._compared: dict[tuple[int, int], _Nearest] = {}  # by index and number of observations of the place

    def matches(self, index: int, place: Place, count: int) -> Matches:
        """Match the best ``count`` keypoints with a place of some index, or its first part, as ``match_to_place``."""
        features = self._features
        count = min(count, len(features))
        if count == 0 or len(place.landmark_ids) < 2:
            keypoints, rows = np.zeros(0, np.int32), np.zeros(0, np.int32)
        else:
            keypoints, rows = self._nearest(index, place, count).matches(place, self._ratio)
        pixels, positions = features.keypoints[keypoints], place.positions[rows]
        return Matches(keypoints, pixels.astype(np.float64), place.landmark_ids[rows], positions.astype(np.float64))

    def _nearest(self, index: int, place: Place, count: int) -> _Nearest:
        """Nearest observations of the best ``count`` keypoints, which never become fewer for a place."""
        known = self._compared.get(key := (index, len(place)))
        done = 0 if known is None else len(known.nearest)
        if known is None or count > done:
            features, rows = self._features, slice(done, count)
            more = _Nearest.of(features.descriptors[rows], features.inverse_norms[rows], place)
            self._compared[key] = known = more if known is None else known.followed_by(more)
        return known


@dataclass(frozen=True)
class Matched:
    """Places that a query is matched with, and how.

    Attributes:
        places: places, or their first observations.
        matcher: matcher of the query.
        keypoints: number of the best keypoints that are matched.
    """

    places: Sequence[Place]
    matcher: PlaceMatcher
    keypoints: int

    def matches(self, index: int) -> Matches:
        """Matches in one of the places."""
        return self.matcher.matches(index, self.places[index], self.keypoints)
