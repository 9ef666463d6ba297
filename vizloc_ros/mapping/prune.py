"""Choice of the keyframes and landmarks that a smaller map keeps.

Keyframes go by redundancy: what they see, one that stays sees too. Landmarks go by usefulness: the number of their
observations, how distinct their descriptors are, and how often queries used them. Every keyframe that stays keeps its
best landmarks, so that no place gets lost.
"""

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from vizloc_ros.arrays import Bool, Float32, Float64, Int32, Int64
from vizloc_ros.errors import ConfigError
from vizloc_ros.features.types import dequantize
from vizloc_ros.mapping.map_part import MapPart, keyframe_of_rows
from vizloc_ros.mapping.self_similarity_report import BUILD_KEY
from vizloc_ros.mapping.visual_map import VisualMap

_OF_THE_WHOLE = ("route_m", "localizable_share", BUILD_KEY)  # figures of a build that a part has not
_KEYFRAME_PART = 0.5  # exponent: of what goes, half goes with its keyframes
_FEW = 3  # keyframes; a part of fewer is no map
_USELESS = 2.0  # of keyframes without landmarks: above all parts


def choose_part(visual_map: VisualMap, keep: float, use: Int64 | None = None) -> MapPart:
    """Choose the part of a map with about a share of its observations.

    Args:
        visual_map: the map.
        keep: share of the observations that stay, above 0 and up to 1.
        use: (L,) number of queries whose pose each landmark supported; None if it is not known.

    Raises:
        ConfigError: ``keep`` is not a share.
        MapError: no landmark would remain.
    """
    if not 0 < keep <= 1:
        raise ConfigError(f"--keep {keep:g}: is not a share above 0 and up to 1")
    info = visual_map.info
    wanted = round(keep * info.observations)
    count = max(min(_FEW, info.keyframes), round(keep**_KEYFRAME_PART * info.keyframes))
    keyframes = covering_keyframes(visual_map, count)
    scores = usefulness(visual_map, use)
    return MapPart.of(visual_map, keyframes, _best_landmarks(visual_map, keyframes, scores, wanted))


def pruned_report(part: MapPart, keep: float) -> dict[str, Any]:
    """Report for map.yaml of a pruned map: that of the build, with the numbers and keyframes that are left."""
    names = {part.visual_map.keyframe_names[k] for k in part.keyframes}
    landmarks = len(np.unique(part.visual_map.observation_landmarks[part.rows]))
    build = part.visual_map.info.build
    return {
        **{key: value for key, value in build.items() if key not in _OF_THE_WHOLE},  # see map check
        "keyframes": len(part.keyframes),
        "landmarks": landmarks,
        "observations": len(part.rows),
        "mean_track_length": len(part.rows) / landmarks,
        "weak_keyframes": [name for name in build.get("weak_keyframes", []) if name in names],
        "pruned_to": keep * build.get("pruned_to", 1.0),
    }


def covering_keyframes(visual_map: VisualMap, count: int) -> Bool:
    """Mask (K,) of ``count`` keyframes of which the others see as much as possible.

    The first one sees most. Then, each time, the keyframe is added that shares the smallest part of its landmarks with
    any one that stays. So doubles of a place go first, and the gaps between keyframes remain even.
    """
    keyframes, landmarks = visual_map.info.keyframes, visual_map.info.landmarks
    seen = csr_matrix(
        (
            np.ones(visual_map.info.observations, np.float32),
            visual_map.observation_landmarks,
            visual_map.observation_offsets,
        ),
        shape=(keyframes, landmarks),
    )
    seeing = seen.T.tocsr()
    numbers = np.diff(visual_map.observation_offsets)
    shared = np.where(numbers > 0, 0.0, _USELESS)  # the largest part that a keyframe shares with one that stays
    kept = np.zeros(keyframes, bool)
    chosen = int(numbers.argmax())
    while True:
        kept[chosen] = True
        if kept.sum() == count:
            return kept
        common = seen[chosen] @ seeing
        np.maximum.at(shared, common.indices, common.data / numbers[common.indices])
        chosen = int(np.where(kept, np.inf, shared).argmin())


def usefulness(visual_map: VisualMap, use: Int64 | None = None) -> Float64:
    """Usefulness (L,) of the landmarks: logarithm of their observations, times distinctness, times that of use."""
    observations = np.bincount(visual_map.observation_landmarks, minlength=visual_map.info.landmarks)
    scores = np.asarray(np.log1p(observations) * distinctness(visual_map), np.float64)
    return scores if use is None else scores * (1 + np.log1p(use))


def distinctness(visual_map: VisualMap) -> Float64:
    """Distance (L,) of each landmark's descriptors to the most similar other landmark of the same image, on average."""
    sums = np.zeros(visual_map.info.landmarks)
    for keyframe in range(visual_map.info.keyframes):
        rows = visual_map.observations_of(keyframe)
        landmarks = visual_map.observation_landmarks[rows]
        if len(landmarks):
            np.add.at(sums, landmarks, _distances(dequantize(visual_map.observation_descriptors[rows]), landmarks))
    counts = np.bincount(visual_map.observation_landmarks, minlength=len(sums))
    return sums / np.maximum(counts, 1)


def _distances(descriptors: Float32, landmarks: Int32) -> Float32:
    """Distances (n,) of unit descriptors (n, D) to the nearest one of another landmark."""
    similarity = descriptors @ descriptors.T
    similarity[landmarks[:, None] == landmarks] = -1
    return np.asarray(np.sqrt(np.maximum(2 - 2 * similarity.max(axis=1), 0)), np.float32)


def _best_landmarks(visual_map: VisualMap, keyframes: Bool, scores: Float64, wanted: int) -> Bool:
    """Mask (L,) of landmarks with about ``wanted`` observations in some keyframes: the best of each of them."""
    of_keyframes = keyframes[keyframe_of_rows(visual_map)]
    owners, landmarks = keyframe_of_rows(visual_map)[of_keyframes], visual_map.observation_landmarks[of_keyframes]
    order = np.lexsort((landmarks, -scores[landmarks], owners))
    counts = np.bincount(owners, minlength=len(keyframes))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.empty(len(owners))
    rank[order] = np.arange(len(owners)) - starts[owners[order]]
    best = np.full(len(scores), np.inf)  # rank of a landmark in the keyframe in which it ranks best, 0 to 1
    np.minimum.at(best, landmarks, rank / counts[owners])
    tracks = np.bincount(landmarks, minlength=len(scores))
    best[tracks < 2] = np.inf  # no landmark in a part of these keyframes
    by_rank = np.argsort(best, kind="stable")
    total = np.cumsum(np.where(np.isfinite(best), tracks, 0)[by_rank])
    kept = np.zeros(len(scores), bool)
    kept[by_rank[: int(np.searchsorted(total, wanted, side="right"))]] = True
    return kept
