"""Matching of keyframe pairs along the epipolar lines of their known poses.

Keyframes that are far apart, or show repeated structures, have few mutual nearest neighbors that pass the ratio test.
A pair whose poses agree with these is matched again: an epipolar line leaves few candidates for a keypoint. This comes
after the self-calibration, as such matches agree with any calibration.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vizloc_ros.arrays import Int32
from vizloc_ros.features.descriptor_similarity import similarities
from vizloc_ros.geometry.epipolar import fundamental_matrix, near_epipolar_lines
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.pair_matching import MatchOptions, PairMatches, mutual_matches
from vizloc_ros.parallel import Progress
from vizloc_ros.work.stages import IN_MEMORY, Arrays, Stages

_MIN_AGREEING = 10  # matches that agree with the poses, before these guide others
_MIN_AGREEMENT = 0.25  # ratio of the tentative matches; chance gives about 0.05


@dataclass(frozen=True)
class _Guiding:
    """Function of the stage: matches of two keyframes along their epipolar lines."""

    options: MatchOptions

    def __call__(self, item: tuple[Keyframe, Keyframe, PairMatches]) -> Arrays:
        return (_guided(*item, self.options),)


def match_along_lines(
    keyframes: Sequence[Keyframe],
    matches: Sequence[PairMatches],
    options: MatchOptions,
    progress: Progress,
    work: Stages = IN_MEMORY,
) -> list[PairMatches]:
    """Match the pairs with fewer than ``enough_matches`` again, if their poses agree with those that they have.

    A match must be at least as similar as the least similar one that agrees with the poses, and its keypoints at most
    half of ``max_epipolar_error`` from each other's epipolar lines.

    Args:
        keyframes: keyframes with corrected keypoints.
        matches: matches of the pairs, of ``match_pairs``.
        options: options of the matching.
        progress: progress display.
        work: place of the results.

    Returns:
        The matches of all pairs, in the same order.
    """
    few = [k for k, pair in enumerate(matches) if _is_to_guide(pair, options.enough_matches)]
    items = [(keyframes[matches[k].i], keyframes[matches[k].j], matches[k]) for k in few]
    found = work.map("guide", _Guiding(options), items, "matching along epipolar lines", progress)
    guided = list(matches)
    for k, (more,) in zip(few, found, strict=True):
        if len(more) > len(matches[k].agreeing):
            guided[k] = replace(matches[k], guided=more)
    return guided


def _is_to_guide(pair: PairMatches, enough: int) -> bool:
    agreeing = len(pair.agreeing)
    return max(_MIN_AGREEING, _MIN_AGREEMENT * len(pair.tentative)) <= agreeing < enough


def _guided(a: Keyframe, b: Keyframe, pair: PairMatches, options: MatchOptions) -> Int32:
    similarity = similarities(a.features.descriptors, b.features.descriptors)
    least = similarity[tuple(pair.agreeing.T)].min()
    near = near_epipolar_lines(
        fundamental_matrix(a.camera, b.camera, a.map_from_cam, b.map_from_cam),
        a.features.keypoints.astype(np.float64),
        b.features.keypoints.astype(np.float64),
        options.max_epipolar_error / 2,
    )
    np.putmask(similarity, ~near | (similarity < least), -1)
    return mutual_matches(similarity, options.ratio)
