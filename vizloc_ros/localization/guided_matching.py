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
_DISPLACED = ((40.0, 0.0), (-40.0, 0.0), (0.0, 30.0), (0.0, -30.0))  # px; far enough to meet other things


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


@dataclass(frozen=True)
class FurtherLandmarks:
    """Landmarks that a pose was not found with, but that look like a keypoint where the pose sees them.

    Attributes:
        alike: their number.
        by_chance: number that is to be expected for a wrong pose: the mean for poses that see them elsewhere.
    """

    alike: int
    by_chance: float


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


def further_landmarks(
    features: Features, place: Place, verified: Matches, cam_from_map: Rigid3d, camera: PinholeCamera, radius: float
) -> FurtherLandmarks:
    """Count the landmarks that look like a keypoint near their projections, without the verified ones.

    Nor do the keypoints of the verified matches count. A landmark and a keypoint are alike if they are as similar as
    the verified keypoints and all observations of their landmarks, but for the tenth that is least so. The same number
    with all projections displaced tells what chance gives in this image: few in a clear one, many at night or where
    everything looks the same.

    Args:
        features: features of the query.
        place: observations of the place.
        verified: inliers of the verified pose.
        cam_from_map: pose, as exact as possible.
        camera: camera of the query.
        radius: maximum distance of a keypoint from the projection of its landmark [px].
    """
    free = np.ones(len(features), bool)
    free[verified.keypoints] = False
    keypoints = np.flatnonzero(free)
    of_verified = np.isin(place.landmark_ids, verified.landmark_ids)
    own, others = np.flatnonzero(of_verified), np.flatnonzero(~of_verified)
    pixels, in_front = camera.pixels_of(transform_points(cam_from_map, place.positions[others].astype(np.float64)))
    seen = in_front & camera.contains(pixels, radius)
    rows, pixels = others[seen], pixels[seen]
    if not len(rows) or not len(keypoints) or not len(own):
        return FurtherLandmarks(0, 0.0)
    by_id = np.argsort(verified.landmark_ids)
    match = by_id[np.searchsorted(verified.landmark_ids[by_id], place.landmark_ids[own])]
    of_own = pair_similarities(features, verified.keypoints[match].astype(np.int64), place.compared, own)
    least = np.partition(of_own, rank := int(_LEAST_SIMILAR * len(own)))[rank]
    _, landmark = np.unique(place.landmark_ids[rows], return_inverse=True)
    displaced = np.concatenate([pixels, *(pixels + step for step in _DISPLACED)])
    point, keypoint = _pairs_within(radius, displaced, features.keypoints[keypoints].astype(np.float64), camera.size)
    copy, row = np.divmod(point, len(rows))
    similarity = pair_similarities(features, keypoints[keypoint], place.compared, rows[row])
    shape = (1 + len(_DISPLACED), int(landmark.max()) + 1)
    near, alike = np.zeros(shape, bool), np.zeros(shape, bool)
    near[copy, landmark[row]] = True
    alike[copy[similarity >= least], landmark[row[similarity >= least]]] = True
    counts, found = near.sum(axis=1), alike.sum(axis=1)
    return FurtherLandmarks(int(found[0]), float((found[1:] / np.maximum(counts[1:], 1)).mean() * counts[0]))


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
