"""Matches of a query with the landmarks of a place: nearest neighbors with the ratio test (HF-Net, section 5.2)."""

import numpy as np

from vizloc_ros.arrays import Int8, Int32
from vizloc_ros.features.types import Features, dequantize
from vizloc_ros.localization.absolute_pose import Matches
from vizloc_ros.localization.places import Place


def match_to_place(descriptors: Int8, place: Place, ratio: float) -> tuple[Int32, Int32]:
    """Match each query keypoint to its nearest observation, with the modified ratio test (HF-Net, section 5.2).

    One matrix product of (N, D) by (D, M) gives all squared distances ``2 - 2 similarity``. A match is accepted if the
    nearest observation is clearly nearer than the second one, ``d1^2 <= ratio^2 d2^2``, or if both belong to the same
    landmark. Of several keypoints that match one landmark, the most similar one stays, so no landmark counts twice.

    Args:
        descriptors: (N, D) int8 descriptors of the query.
        place: M observations.
        ratio: maximum ratio of the distances to the nearest and the second observation.

    Returns:
        (m,) indices of query keypoints and (m,) rows of the place.
    """
    if len(descriptors) == 0 or len(place.landmark_ids) < 2:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    similarity = dequantize(descriptors) @ place.unit_descriptors.T
    rows = np.arange(len(descriptors))
    nearest = similarity.argmax(axis=1)
    best = similarity[rows, nearest]
    similarity[rows, nearest] = -np.inf
    second = similarity.argmax(axis=1)
    same = place.landmark_ids[nearest] == place.landmark_ids[second]
    distinct = (1 - best) <= ratio**2 * (1 - similarity[rows, second])
    query = np.flatnonzero(same | distinct)
    query = query[np.argsort(-best[query], kind="stable")]
    _, first = np.unique(place.landmark_ids[nearest[query]], return_index=True)
    query = query[np.sort(first)]
    return query.astype(np.int32), nearest[query].astype(np.int32)


def matches_in_place(features: Features, place: Place, ratio: float) -> Matches:
    """Match the features of a query to a place, as ``match_to_place``."""
    keypoints, rows = match_to_place(features.descriptors, place, ratio)
    pixels, positions = features.keypoints[keypoints], place.positions[rows]
    return Matches(keypoints, pixels.astype(np.float64), place.landmark_ids[rows], positions.astype(np.float64))
