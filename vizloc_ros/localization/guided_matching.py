"""Guided matching: a verified pose finds further matches, which make it more accurate.

The ratio test leaves out landmarks that resemble others elsewhere in the place. Where the pose is known, only keypoints
near the projection of a landmark can match it, and nearly half as many matches are added. They refine the pose.

Near a wrong pose, too, there are keypoints. But these do not look like the landmarks: how many do is evidence for or
against the pose, see ``pose_evidence``. The landmarks that the pose was not found with are the more telling ones: a
wrong pose has been fitted to its inliers, and hardly to the others.
"""

from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, Int64, first_of_each, most_similar_first, ordered, ranges
from vizloc_ros.features.descriptor_similarity import pair_similarities
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.localization.absolute_pose import Matches
from vizloc_ros.localization.places import Place

_LEAST_SIMILAR = 0.1  # fraction of the verified matches
_AROUND = 10.0  # px around a projection, within which the most similar keypoint is looked for
_DISPLACED = ((40.0, 0.0), (0.0, 30.0))  # px; far enough to meet other things
_PRECISION = 0.6  # standard deviation of right matches, as a ratio of the radius of precise ones
_IN_VIEW = np.array([0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8])  # ratios of the landmarks that nothing hides


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
    pixels, in_front = camera.pixels_of(transform_points(cam_from_map, place.positions.astype(np.float64)))
    seen = np.flatnonzero(in_front & camera.contains(pixels, radius))
    near, keypoint = _pairs_within(radius, pixels[seen], features.keypoints.astype(np.float64), camera.size)
    row = seen[near]
    similarity = pair_similarities(features, keypoint, place.compared, row)
    best = most_similar_first(similarity)
    row, keypoint, similarity = row[best], keypoint[best], similarity[best]
    ids, landmark = np.unique(place.landmark_ids[row], return_inverse=True)
    similarity_of = similarity[first_of_each(landmark, len(ids))]  # of each landmark, to the most similar keypoint
    best = np.flatnonzero(first_of_each(keypoint, len(features)))
    best = best[first_of_each(landmark[best], len(ids))]
    row, keypoint, similarity = row[best], keypoint[best], similarity[best]
    landmark_of = np.full(len(features), -1)
    landmark_of[verified.keypoints] = verified.landmark_ids
    known = landmark_of[keypoint] == place.landmark_ids[row]
    if not known.any():
        return GuidedMatches(verified, len(ids), 0)
    least = np.partition(similarity[known], rank := int(_LEAST_SIMILAR * known.sum()))[rank]
    row, keypoint = row[similarity >= least], keypoint[similarity >= least]
    matches = Matches(
        keypoint.astype(np.int32),
        features.keypoints[keypoint].astype(np.float64),
        place.landmark_ids[row],
        place.positions[row].astype(np.float64),
    )
    return GuidedMatches(matches, len(ids), int((similarity_of >= least).sum()))


def further_support(
    features: Features,
    place: Place,
    verified: Matches,
    cam_from_map: Rigid3d,
    camera: PinholeCamera,
    radius: float,
    every: int = 1,
) -> float:
    """Support of a pose by the landmarks that it was not found with: logarithm of a likelihood ratio, 0 or more.

    Neither the landmarks nor the keypoints of the verified matches count. Among the keypoints around the projection of
    a landmark, the most similar one lies anywhere if the pose is wrong. If it is right, it lies close, and is more
    similar than those around displaced projections, which tell what chance gives in this image. Obstacles hide some of
    the landmarks, and these look as by chance; so the ratio of those in view is the one that explains the image best.
    Landmarks without a keypoint around say nothing.

    Args:
        features: features of the query.
        place: observations of the place.
        verified: inliers of the verified pose.
        cam_from_map: pose, as exact as possible.
        camera: camera of the query.
        radius: maximum distance of a precise match from the projection of its landmark [px].
        every: look at each N-th of their observations only.
    """
    free = np.ones(len(features), bool)
    free[verified.keypoints] = False
    keypoints = np.flatnonzero(free)
    others = np.flatnonzero(~np.isin(place.landmark_ids, verified.landmark_ids))[::every]
    pixels, in_front = camera.pixels_of(transform_points(cam_from_map, place.positions[others].astype(np.float64)))
    seen = in_front & camera.contains(pixels)
    rows, pixels = others[seen], pixels[seen]
    if not len(rows) or not len(keypoints):
        return 0.0
    ids, landmark = np.unique(place.landmark_ids[rows], return_inverse=True)
    copies = np.concatenate([pixels, *(pixels + step for step in _DISPLACED)])
    point, keypoint = _pairs_within(_AROUND, copies, features.keypoints[keypoints].astype(np.float64), camera.size)
    keypoint = keypoints[keypoint]
    copy, row = np.divmod(point, len(rows))
    similarity = pair_similarities(features, keypoint, place.compared, rows[row])
    best = most_similar_first(similarity)
    best = best[first_of_each((copy * len(ids) + landmark[row])[best], len(ids) * (1 + len(_DISPLACED)))]
    found, by_chance = best[copy[best] == 0], best[copy[best] > 0]
    distances = np.linalg.norm(copies[point[found]] - features.keypoints[keypoint[found]], axis=1)
    rank = np.searchsorted(np.sort(similarity[by_chance]), similarity[found]) / max(len(by_chance), 1)
    ratio = _by_similarity(rank) * _by_distance(distances, _PRECISION * radius)
    return float(np.log1p(_IN_VIEW[:, None] * (ratio - 1)).sum(axis=1).max())


def _by_similarity(rank: Float64) -> Float64:
    """Densities (N,) of the ranks, 0 to 1, of the similarities of right matches among those by chance: 1.5 sqrt."""
    return 1.5 * np.sqrt(rank)


def _by_distance(distances: Float64, deviation: float) -> Float64:
    """Densities (N,) of right matches at distances from their projections, as ratios of those by chance [px]."""
    scale, furthest = 2 * deviation**2, _AROUND**2
    return furthest / scale / (1 - np.exp(-furthest / scale)) * np.exp(-np.square(distances) / scale)


def _pairs_within(radius: float, pixels: Float64, keypoints: Float64, size: tuple[int, int]) -> tuple[Int64, Int64]:
    """Indices (P,) and (P,) of all pairs of (L, 2) pixels and (N, 2) keypoints within a radius [px].

    Both are near the image. Keypoints are sorted into square cells of two radii, row by row; those near a pixel are in
    two pieces of two cells. A search tree takes five times as long.
    """
    columns, rows = (int((side + 2 * radius) / (2 * radius)) + 4 for side in size)

    def cells(points: Float64, shift: float) -> Int64:
        cells = ((points.T + (0.5 - shift + 4 * radius)) / (2 * radius)).astype(np.int64)
        column, row = cells.clip(0, [[columns - 2], [rows - 2]])
        return row * columns + column

    of_keypoint = cells(keypoints, 0.0)
    order = ordered(of_keypoint)
    starts = np.zeros(rows * columns + 1, np.int64)
    np.cumsum(np.bincount(of_keypoint, minlength=rows * columns), out=starts[1:])
    upper = cells(pixels, radius)
    piece = np.concatenate([upper, upper + columns])
    counts = starts[piece + 2] - starts[piece]
    filled = np.flatnonzero(counts)
    found, owner = ranges(starts[piece[filled]], counts[filled])
    pixel, keypoint = filled[owner] % len(pixels), order[found]
    (u, v), (x, y) = pixels.T, keypoints.T  # column by column: rows of two are slow to index
    near = np.square(u[pixel] - x[keypoint]) + np.square(v[pixel] - y[keypoint]) <= radius**2
    return pixel[near], keypoint[near]
