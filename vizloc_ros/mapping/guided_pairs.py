"""Matching of keyframe pairs along the epipolar lines of their known poses.

Keyframes that are far apart, or show repeated structures, have few mutual nearest neighbors that pass the ratio test.
A pair whose poses agree with these is matched again: an epipolar line leaves few candidates for a keypoint. This comes
after the self-calibration, as such matches agree with any calibration.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vizloc_ros.features.types import dequantize
from vizloc_ros.geometry.epipolar import fundamental_matrix, near_epipolar_lines
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.pair_matching import MatchOptions, PairMatches, mutual_matches
from vizloc_ros.parallel import Progress, parallel_map

_MIN_AGREEING = 10  # matches that agree with the poses, before these guide others
_MIN_AGREEMENT = 0.25  # ratio of the tentative matches; chance gives about 0.05


def match_along_lines(
    keyframes: Sequence[Keyframe], matches: Sequence[PairMatches], options: MatchOptions, progress: Progress
) -> list[PairMatches]:
    """Match the pairs with fewer than ``enough_matches`` again, if their poses agree with those that they have.

    A match must be at least as similar as the least similar one that agrees with the poses, and its keypoints at most
    half of ``max_epipolar_error`` from each other's epipolar lines.

    Args:
        keyframes: keyframes with corrected keypoints.
        matches: matches of the pairs, of ``match_pairs``.
        options: options of the matching.
        progress: progress display.

    Returns:
        The matches of all pairs, in the same order.
    """

    def match(pair: PairMatches) -> PairMatches:
        return _guided(keyframes, pair, options) if _is_to_guide(pair, options.enough_matches) else pair

    return parallel_map(match, list(matches), "matching along epipolar lines", progress)


def _is_to_guide(pair: PairMatches, enough: int) -> bool:
    agreeing = len(pair.agreeing)
    return max(_MIN_AGREEING, _MIN_AGREEMENT * len(pair.tentative)) <= agreeing < enough


def _guided(keyframes: Sequence[Keyframe], pair: PairMatches, options: MatchOptions) -> PairMatches:
    a, b = keyframes[pair.i], keyframes[pair.j]
    similarity = dequantize(a.features.descriptors) @ dequantize(b.features.descriptors).T
    least = similarity[tuple(pair.agreeing.T)].min()
    near = near_epipolar_lines(
        fundamental_matrix(a.camera, b.camera, a.map_from_cam, b.map_from_cam),
        a.features.keypoints.astype(np.float64),
        b.features.keypoints.astype(np.float64),
        options.max_epipolar_error / 2,
    )
    similarity[~near | (similarity < least)] = -1
    found = mutual_matches(similarity, options.ratio)
    return replace(pair, guided=found) if len(found) > len(pair.agreeing) else pair
