"""Guided matching: a verified pose finds further matches, which make it more accurate.

The ratio test leaves out landmarks that resemble others elsewhere in the place. Where the pose is known, only keypoints
near the projection of a landmark can match it, and nearly half as many matches are added. They refine the pose.

Near a wrong pose, too, there are keypoints. But these do not look like the landmarks: how many do is evidence for or
against the pose, see ``pose_evidence``.
"""

from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d
from scipy.spatial import cKDTree

from vizloc_ros.arrays import Int64
from vizloc_ros.features.types import Features, dequantize
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.localization.absolute_pose import Matches
from vizloc_ros.localization.places import Place

_LEAST_SIMILAR = 0.1  # fraction of the verified matches


@dataclass(frozen=True)
class GuidedMatches:
    """Matches near the projections of landmarks.

    Attributes:
        matches: matches as similar as the verified ones.
        near: number of landmarks that a keypoint is near.
        alike: number of those whose most similar keypoint there is as similar as the verified matches.
    """

    matches: Matches
    near: int
    alike: int


def guided_matches(
    features: Features, place: Place, verified: Matches, cam_from_map: Rigid3d, camera: PinholeCamera, radius: float
) -> GuidedMatches:
    """Match keypoints to the landmarks of a place that project near them.

    A match must be at least as similar as the tenth of the verified ones that are least so. Each keypoint is the most
    similar one of its landmark, and the other way round.

    Args:
        features: features of the query.
        place: observations of the place.
        verified: inliers of the verified pose.
        cam_from_map: verified pose.
        camera: camera of the query.
        radius: maximum distance of a keypoint from the projection of its landmark [px].
    """
    by_landmark = np.argsort(place.landmark_ids, kind="stable")
    ids, first, counts = np.unique(place.landmark_ids[by_landmark], return_index=True, return_counts=True)
    positions = place.positions[by_landmark[first]].astype(np.float64)
    points_cam = transform_points(cam_from_map, positions)
    pixels, _ = camera.project(points_cam)
    seen = np.flatnonzero((points_cam[:, 2] > 0) & np.isfinite(pixels).all(axis=1))
    near = cKDTree(pixels[seen]).sparse_distance_matrix(
        cKDTree(features.keypoints.astype(np.float64)), radius, output_type="ndarray"
    )
    landmarks, keypoints = seen[near["i"]], near["j"]
    rows, pair = _observations(by_landmark, first[landmarks], counts[landmarks])
    similarity = np.einsum("nd,nd->n", dequantize(features.descriptors)[keypoints[pair]], place.unit_descriptors[rows])
    best = np.argsort(-similarity, kind="stable")
    of_landmark = _first_of_each(best, landmarks[pair[best]])
    similarity_of = similarity[of_landmark]  # of each landmark, to the keypoint near it that is most similar
    best = _first_of_each(best, keypoints[pair[best]])
    best = _first_of_each(best, landmarks[pair[best]])
    keypoints, landmarks, similarity = keypoints[pair[best]], landmarks[pair[best]], similarity[best]
    landmark_of = np.full(len(features), -1)
    landmark_of[verified.keypoints] = verified.landmark_ids
    known = landmark_of[keypoints] == ids[landmarks]
    if not known.any():
        return GuidedMatches(verified, len(similarity_of), 0)
    least = np.quantile(similarity[known], _LEAST_SIMILAR)
    similar = similarity >= least
    keypoints, landmarks = keypoints[similar], landmarks[similar]
    matches = Matches(
        keypoints.astype(np.int32),
        features.keypoints[keypoints].astype(np.float64),
        ids[landmarks],
        positions[landmarks],
    )
    return GuidedMatches(matches, len(similarity_of), int((similarity_of >= least).sum()))


def _observations(by_landmark: Int64, first: Int64, counts: Int64) -> tuple[Int64, Int64]:
    """Rows of all observations of the landmark of each pair, and the index of the pair for each of them."""
    pair = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    return by_landmark[np.repeat(first, counts) + within], pair


def _first_of_each(order: Int64, labels: Int64) -> Int64:
    """Keep the first of all entries with one label, in the same order."""
    _, first = np.unique(labels, return_index=True)
    return order[np.sort(first)]
