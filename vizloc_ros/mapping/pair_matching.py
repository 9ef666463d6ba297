"""Matching of keyframe pairs: mutual nearest neighbors with the ratio test, verified by the known poses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Float32, Float64, Int32
from vizloc_ros.features.descriptor_similarity import similarities
from vizloc_ros.geometry.epipolar import epipolar_distance, fundamental_matrix
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress
from vizloc_ros.work.stages import IN_MEMORY, Arrays, Stages


class MatchOptions(Options):
    """Options of the matching of keyframes."""

    ratio: float = Field(
        0.9, gt=0, le=1, description="maximum ratio of the distances to the nearest and the second descriptor"
    )
    max_epipolar_error: float = Field(4.0, gt=0, description="maximum distance from the known epipolar lines [px]")
    enough_matches: int = Field(
        250, ge=0, description="pairs with fewer verified matches are matched along the epipolar lines; 0: none"
    )


@dataclass(frozen=True)
class PairMatches:
    """Matches of a pair of keyframes.

    Attributes:
        i: index of the first keyframe.
        j: index of the second keyframe.
        tentative: (M, 2) int32 indices of keypoints in i and in j with similar descriptors.
        error: (M,) epipolar errors of the tentative matches under the known poses [px].
        max_error: maximum epipolar error of a match that agrees with the poses [px].
        guided: (V, 2) matches along the epipolar lines, in place of the tentative ones; None: there are none.
    """

    i: int
    j: int
    tentative: Int32
    error: Float64
    max_error: float
    guided: Int32 | None = None

    @property
    def agreeing(self) -> Int32:
        """(A, 2) tentative matches that agree with the known poses."""
        return self.tentative[self.error <= self.max_error]

    @property
    def verified(self) -> Int32:
        """(V, 2) matches to triangulate, all of which agree with the known poses."""
        return self.agreeing if self.guided is None else self.guided


@dataclass(frozen=True)
class _Matching:
    """Function of the stage: matches of a keyframe with its partners, one after another, and the number of each."""

    options: MatchOptions

    def __call__(self, item: tuple[Keyframe, list[Keyframe]]) -> Arrays:
        keyframe, partners = item
        found = [_match_pair(keyframe, partner, self.options.ratio) for partner in partners]
        tentative, errors = zip(*found, strict=True)
        return np.concatenate(tentative), np.concatenate(errors), np.array([len(matches) for matches in tentative])


def match_pairs(
    keyframes: Sequence[Keyframe],
    pairs: Sequence[tuple[int, int]],
    options: MatchOptions,
    progress: Progress,
    work: Stages = IN_MEMORY,
) -> list[PairMatches]:
    """Match every pair, by the workers of the build; those of the same first keyframe together."""
    partners: dict[int, list[int]] = {}
    for i, j in pairs:
        partners.setdefault(i, []).append(j)
    items = [(keyframes[i], [keyframes[j] for j in others]) for i, others in partners.items()]
    found = work.map("match", _Matching(options), items, "matching keyframes", progress)
    matches: list[PairMatches] = []
    for (i, others), (tentative, errors, counts) in zip(partners.items(), found, strict=True):
        ends = np.cumsum(counts).tolist()
        for j, start, end in zip(others, [0, *ends], ends, strict=False):
            matches.append(PairMatches(i, j, tentative[start:end], errors[start:end], options.max_epipolar_error))
    return matches


def _match_pair(a: Keyframe, b: Keyframe, ratio: float) -> tuple[Int32, Float64]:
    tentative = mutual_matches(similarities(a.features.descriptors, b.features.descriptors), ratio)
    fundamental = fundamental_matrix(a.camera, b.camera, a.map_from_cam, b.map_from_cam)
    pixels_a = a.features.keypoints[tentative[:, 0]].astype(np.float64)
    pixels_b = b.features.keypoints[tentative[:, 1]].astype(np.float64)
    return tentative, epipolar_distance(fundamental, pixels_a, pixels_b)


def mutual_matches(similarity: Float32, ratio: float) -> Int32:
    """(M, 2) index pairs of mutual nearest neighbors that pass Lowe's ratio test.

    Squared distances of unit vectors are ``2 - 2 similarity``.

    Args:
        similarity: (N, K) similarities of unit vectors, -1 for pairs that cannot match; overwritten.
        ratio: maximum ratio of the distances to the nearest and the second neighbor.
    """
    if len(similarity) == 0 or similarity.shape[1] < 2:
        return np.zeros((0, 2), np.int32)
    rows = np.arange(len(similarity))
    nearest = similarity.argmax(axis=1)
    best = similarity[rows, nearest]
    mutual = (best >= similarity.max(axis=0)[nearest]) & (best > -1)
    rows, nearest, best = rows[mutual], nearest[mutual], best[mutual]
    similarity[rows, nearest] = -np.inf
    second = similarity[rows].max(axis=1)
    kept = (1 - best) <= ratio**2 * (1 - second)
    return np.column_stack([rows[kept], nearest[kept]]).astype(np.int32)
