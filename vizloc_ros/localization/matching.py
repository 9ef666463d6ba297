"""Matches between a query and a place (HF-Net paper, sec. 3, "Local feature matching and localization")."""

import numpy as np

from vizloc_ros.arrays import Int8, Int32
from vizloc_ros.features.types import dequantize
from vizloc_ros.localization.place import Place


def match_to_place(descriptors: Int8, place: Place, ratio: float) -> tuple[Int32, Int32]:
    """Nearest observation of every query keypoint, if it is distinctive.

    One matrix product of (N, D) by (D, M) gives all distances ``2 - 2 similarity``. A match is accepted if the nearest
    is clearly nearer than the second, ``d1^2 <= ratio^2 d2^2``, or if both are observations of the same landmark. Of
    several keypoints that match one landmark the most similar stays, so that no landmark counts twice.

    Returns:
        (m,) query keypoints and (m,) rows of the place.
    """
    if len(descriptors) == 0 or len(place.landmarks) < 2:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    similarity = dequantize(descriptors) @ dequantize(place.descriptors).T
    rows = np.arange(len(descriptors))
    nearest = similarity.argmax(axis=1)
    best = similarity[rows, nearest]
    similarity[rows, nearest] = -np.inf
    second = similarity.argmax(axis=1)
    same = place.landmarks[nearest] == place.landmarks[second]
    distinct = (1 - best) <= ratio**2 * (1 - similarity[rows, second])
    query = np.flatnonzero(same | distinct)
    query = query[np.argsort(-best[query], kind="stable")]
    _, first = np.unique(place.landmarks[nearest[query]], return_index=True)
    query = query[np.sort(first)]
    return query.astype(np.int32), nearest[query].astype(np.int32)
