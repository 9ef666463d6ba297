"""Guided matching: a verified pose finds further matches, which make it more accurate.

The ratio test leaves out landmarks that resemble others elsewhere in the place. Where the pose is known, only keypoints
near the projection of a landmark can match it, and nearly half as many matches are added. They refine the pose.

Near a wrong pose, too, there are keypoints. But these do not look like the landmarks: how many do is evidence for or
against the pose, see ``pose_evidence``.
"""

from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, Int64, first_of_each, ordered
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
    by_landmark = ordered(place.landmark_ids)
    sorted_ids = place.landmark_ids[by_landmark]
    first = np.flatnonzero(np.diff(sorted_ids, prepend=-1))
    ids, counts = sorted_ids[first], np.diff(first, append=len(sorted_ids))
    positions = place.positions[by_landmark[first]].astype(np.float64)
    points_cam = transform_points(cam_from_map, positions)
    pixels, _ = camera.project(points_cam)
    beside = (np.abs(pixels - 0.5 * (np.array(camera.size) - 1)) <= 0.5 * np.array(camera.size) + radius).all(axis=1)
    seen = np.flatnonzero((points_cam[:, 2] > 0) & beside)
    near, keypoints = _pairs_within(radius, pixels[seen], features.keypoints.astype(np.float64), camera.size)
    landmarks = seen[near]
    rows, pair = _observations(by_landmark, first[landmarks], counts[landmarks])
    similarity = np.einsum(
        "nd,nd->n", dequantize(features.descriptors)[keypoints[pair]], dequantize(place.descriptors[rows])
    )
    best = np.argsort(-similarity, kind="stable")
    landmark, keypoint = landmarks[pair[best]], keypoints[pair[best]]
    most_similar = first_of_each(landmark, len(ids))
    similarity_of = similarity[best[most_similar]]  # of each landmark, to the keypoint near it that is most similar
    of_keypoint = first_of_each(keypoint, len(features))
    best, landmark = best[of_keypoint], landmark[of_keypoint]
    best = best[first_of_each(landmark, len(ids))]
    keypoints, landmarks, similarity = keypoints[pair[best]], landmarks[pair[best]], similarity[best]
    landmark_of = np.full(len(features), -1)
    landmark_of[verified.keypoints] = verified.landmark_ids
    known = landmark_of[keypoints] == ids[landmarks]
    if not known.any():
        return GuidedMatches(verified, len(similarity_of), 0)
    least = np.partition(similarity[known], rank := int(_LEAST_SIMILAR * known.sum()))[rank]
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
    rows, pair = _ranges(first, counts)
    return by_landmark[rows], pair


def _ranges(first: Int64, counts: Int64) -> tuple[Int64, Int64]:
    """Members of ranges of integers, one range after the other, and the index of the range for each of them."""
    owner = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(first, counts) + within, owner


def _pairs_within(radius: float, pixels: Float64, keypoints: Float64, size: tuple[int, int]) -> tuple[Int64, Int64]:
    """Indices (P,) and (P,) of all pairs of (L, 2) pixels and (N, 2) keypoints within a radius [px].

    Both are near the image. Keypoints are sorted into square cells of two radii, row by row; those near a pixel are in
    two pieces of two cells. A search tree takes five times as long.
    """
    columns, rows = (int((side + 2 * radius) / (2 * radius)) + 4 for side in size)

    def cells(points: Float64, shift: float) -> tuple[Int64, Int64]:
        column, row = ((points + 0.5 - shift) / (2 * radius) + 2.0).astype(np.int64).T
        return column.clip(0, columns - 2), row.clip(0, rows - 2)

    column, row = cells(keypoints, 0.0)
    of_keypoint = row * columns + column
    order = ordered(of_keypoint)
    starts = np.zeros(rows * columns + 1, np.int64)
    np.cumsum(np.bincount(of_keypoint, minlength=rows * columns), out=starts[1:])
    column, row = cells(pixels, radius)
    upper_left = np.stack([row * columns + column, (row + 1) * columns + column], axis=1).ravel()
    first = starts[upper_left]
    found, piece = _ranges(first, starts[upper_left + 2] - first)
    pixel, keypoint = piece // 2, order[found]
    apart = pixels[pixel] - keypoints[keypoint]
    near = np.einsum("nd,nd->n", apart, apart) <= radius**2
    return pixel[near], keypoint[near]
