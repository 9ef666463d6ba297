"""Groups of matches that have no keypoint in common, so that each is triangulated without the others.

The keypoints that matches join, directly or through others, are a component of their graph. A landmark lies in one
component, so components can be triangulated anywhere and in any order. Those that begin in the same keyframes are put
together until there is enough work. False matches make a few components large; each of these is a group of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from vizloc_ros.arrays import Int32, Int64
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.pair_matching import PairMatches

_MATCHES = 10_000  # of a group: about a tenth of a second


@dataclass(frozen=True)
class TrackGroup:
    """Matches that are triangulated together.

    Attributes:
        indices: (K,) ascending indices of their keyframes.
        keyframes: these keyframes.
        pairs: (P, 2) positions of the keyframes of each pair in ``indices``.
        matches: (V, 2) keypoints that match, pair by pair.
        starts: (P,) first match of each pair.
    """

    indices: Int64
    keyframes: list[Keyframe]
    pairs: Int64
    matches: Int32
    starts: Int64


def track_groups(keyframes: Sequence[Keyframe], matches: Sequence[PairMatches]) -> list[TrackGroup]:
    """Divide the verified matches of pairs into groups, the largest first."""
    verified = [pair.verified for pair in matches]
    counts = [len(of_pair) for of_pair in verified]
    if not sum(counts):
        return []
    joined = np.concatenate(verified)
    pairs = np.repeat(np.arange(len(matches), dtype=np.int32), counts)
    groups = _group_of_matches(keyframes, matches, joined, pairs)
    order = np.argsort(groups, kind="stable")
    rows_of = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    rows_of.sort(key=len, reverse=True)
    return [_group(keyframes, matches, joined[rows], pairs[rows]) for rows in rows_of]


def _group_of_matches(
    keyframes: Sequence[Keyframe], matches: Sequence[PairMatches], joined: Int32, pairs: Int32
) -> Int32:
    """(V,) group of each of V matches, which are those of all pairs."""
    offsets = np.cumsum([0, *(len(keyframe.features) for keyframe in keyframes)])
    kind = np.int32 if offsets[-1] <= np.iinfo(np.int32).max else np.int64  # there may be more matches than memory
    starts = offsets[np.array([(pair.i, pair.j) for pair in matches])].astype(kind)
    nodes = starts[pairs] + joined
    graph = coo_array((np.ones(len(nodes), np.bool_), (nodes[:, 0], nodes[:, 1])), (offsets[-1], offsets[-1]))
    _, components = connected_components(graph, directed=False)  # numbered in the order of their first keypoints
    of_matches = components[nodes[:, 0]]
    group_of = np.cumsum(np.bincount(of_matches)) // _MATCHES
    return np.asarray(group_of.astype(np.int32)[of_matches])


def _group(keyframes: Sequence[Keyframe], matches: Sequence[PairMatches], joined: Int32, pairs: Int32) -> TrackGroup:
    """Group of some matches, with the pair that each is of, ascending."""
    chosen, starts = np.unique(pairs, return_index=True)
    ends = np.array([(matches[pair].i, matches[pair].j) for pair in chosen])
    indices, positions = np.unique(ends, return_inverse=True)
    return TrackGroup(indices, [keyframes[k] for k in indices], positions.reshape(-1, 2), joined, starts)
