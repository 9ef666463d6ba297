"""Landmarks that two maps of one frame both have: found by matches between their keyframes, and made one each.

Left apart, two landmarks at one point would look alike, and the ratio test of a query would reject both. They are one
if a single point is seen where both were, in all keyframes of both.
"""

from dataclasses import dataclass, replace

import numpy as np

from vizloc_ros.arrays import Bool, Float64, Int32, Int64
from vizloc_ros.features.descriptor_similarity import similarities
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions, keyframe_pairs
from vizloc_ros.mapping.landmark_refinement import Views, refined_points
from vizloc_ros.mapping.map_part import Structure
from vizloc_ros.mapping.pair_matching import mutual_matches
from vizloc_ros.parallel import Progress, parallel_map

_PAIRS = PairOptions(min_distance=0.0, by_pose=16, by_retrieval=4)
_RATIO = 0.9
_NEAR = 4.0  # px from the projection of the other map's landmark, for a match
_MAX_ERROR = 3.0  # px of the common point, in every keyframe
_LEAST_SIMILAR = 0.1  # fraction of the matches by appearance that are less similar than those by place may be
_LOSS_PX = 1.0  # of the landmarks' refinement: up to _MAX_ERROR, observations of other points are among theirs
_FEW = 10  # matches by appearance, from which the similarity of right ones is known


@dataclass(frozen=True)
class Fusion:
    """Result of the fusion.

    Attributes:
        structure: the common structure; landmarks of the first map keep their order.
        joined: number of landmarks that became part of another one.
        linked: (K,) whether a keyframe of the second map, in its order, sees a landmark of the first one.
    """

    structure: Structure
    joined: int
    linked: Bool


def fuse_landmarks(first: Structure, second: Structure, progress: Progress) -> Fusion:
    """Join two structures in one frame, with one landmark where both have the same.

    Args:
        first: structure of the first map.
        second: structure of the second map, in the frame of the first one.
        progress: progress display.
    """
    both = _side_by_side(first, second)
    views = _views_of(both)
    candidates = _matched_landmarks(both, len(first.keyframes), progress)
    same = _is_one_point(both, views, candidates, np.arange(2 * len(candidates)) // 2)
    groups = _groups(both, candidates[same])
    label = np.arange(len(both.positions))
    members = np.concatenate([np.array(g, np.int64) for g in groups]) if groups else np.zeros(0, np.int64)
    of_group = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
    kept = _is_one_point(both, views, members, of_group)
    for group, one in zip(groups, kept, strict=True):
        if one:
            label[group] = min(group)
    _, label = np.unique(label, return_inverse=True)
    landmarks = label[both.landmarks]
    counts = np.bincount(label)
    positions: Float64 = np.stack([np.bincount(label, both.positions[:, i]) / counts for i in range(3)], axis=1)
    refined, _ = refined_points(positions, landmarks, views, _LOSS_PX)
    positions[counts > 1] = refined[counts > 1]
    structure = Structure(both.keyframes, positions, both.owners, both.keypoints, landmarks.astype(np.int32))
    of_first = np.zeros(len(positions), bool)
    of_first[landmarks[: len(first.owners)]] = True
    linked = np.zeros(len(second.keyframes), bool)
    later = slice(len(first.owners), None)
    np.logical_or.at(linked, both.owners[later] - len(first.keyframes), of_first[landmarks[later]])
    return Fusion(structure, int((counts[counts > 1] - 1).sum()), linked)


def with_refined_landmarks(structure: Structure) -> Structure:
    """Structure whose landmarks have the least reprojection errors, after its keypoints have moved."""
    positions, _ = refined_points(structure.positions, structure.landmarks, _views_of(structure), _LOSS_PX)
    return replace(structure, positions=positions)


def _views_of(structure: Structure) -> Views:
    return Views.of(structure.keyframes, structure.owners, structure.keypoints)


def _side_by_side(first: Structure, second: Structure) -> Structure:
    return Structure(
        [*first.keyframes, *second.keyframes],
        np.concatenate([first.positions, second.positions]),
        np.concatenate([first.owners, second.owners + len(first.keyframes)]),
        np.concatenate([first.keypoints, second.keypoints]),
        np.concatenate([first.landmarks, second.landmarks + np.int32(len(first.positions))]),
    )


def _matched_landmarks(both: Structure, num_first: int, progress: Progress) -> Int64:
    """(N, 2) distinct landmarks of the first and of the second map that matches join, most matches first."""
    keyframes = both.keyframes
    pairs = [(i, j) for i, j in keyframe_pairs(keyframes, _PAIRS) if i < num_first <= j]
    offsets = np.searchsorted(both.owners, np.arange(len(keyframes) + 1))

    def match(pair: tuple[int, int]) -> Int64:
        rows = [slice(offsets[k], offsets[k + 1]) for k in pair]
        seen = [both.landmarks[r] for r in rows]
        a, b = (keyframes[k] for k in pair)
        found = _matches(a, b, both.positions[seen[0]], both.positions[seen[1]])
        return np.stack([seen[0][found[:, 0]], seen[1][found[:, 1]]], axis=1).astype(np.int64)

    found = parallel_map(match, pairs, "matching the maps", progress)
    if not found:
        return np.zeros((0, 2), np.int64)
    landmarks, votes = np.unique(np.concatenate(found), axis=0, return_counts=True)
    return landmarks[np.argsort(-votes, kind="stable")]


def _matches(a: Keyframe, b: Keyframe, points_a: Float64, points_b: Float64) -> Int32:
    """(M, 2) matches of the observations of two keyframes, each of which sees where the other's landmark is."""
    similarity = similarities(a.features.descriptors, b.features.descriptors)
    near = _near(b, points_a) | _near(a, points_b).T
    found = mutual_matches(similarity.copy(), _RATIO)
    found = found[near[tuple(found.T)]]
    if len(found) < _FEW:
        return found
    least = np.quantile(similarity[tuple(found.T)], _LEAST_SIMILAR)
    similarity[~near | (similarity < least)] = -1
    return mutual_matches(similarity, _RATIO)


def _near(keyframe: Keyframe, points: Float64) -> Bool:
    """(N, K) whether the projections of (N, 3) points are near the K keypoints of a keyframe."""
    in_camera = transform_points(keyframe.map_from_cam.inverse(), points)
    projected, _ = keyframe.camera.project(in_camera)
    x, y = keyframe.features.keypoints.T.astype(np.float64)
    squares = np.subtract.outer(projected[:, 0], x) ** 2 + np.subtract.outer(projected[:, 1], y) ** 2
    return np.asarray((squares <= _NEAR**2) & (in_camera[:, 2] > 0)[:, None])


def _is_one_point(both: Structure, views: Views, landmarks: Int64, group: Int64) -> Bool:
    """(G,) whether all observations of the landmarks of a group are those of one point.

    Args:
        both: the structures side by side.
        views: the observations.
        landmarks: landmarks, of all groups one after the other; (N, 2) for pairs.
        group: index of the group of each of them.
    """
    landmarks = landmarks.ravel()
    if not len(landmarks):
        return np.zeros(0, bool)
    count = int(group[-1]) + 1
    order = np.argsort(both.landmarks, kind="stable")
    starts = np.searchsorted(both.landmarks[order], np.arange(len(both.positions) + 1))
    tracks = np.diff(starts)[landmarks]
    within = np.arange(tracks.sum()) - np.repeat(np.cumsum(tracks) - tracks, tracks)
    rows = order[np.repeat(starts[landmarks], tracks) + within]
    of_rows = np.repeat(group, tracks)
    sizes = np.bincount(group)
    means: Float64 = np.stack([np.bincount(group, both.positions[landmarks, i]) / sizes for i in range(3)], axis=1)
    _, errors = refined_points(means, of_rows, views.at(rows))
    good = np.ones(count, bool)
    np.logical_and.at(good, of_rows, errors <= _MAX_ERROR)
    return good


def _groups(both: Structure, pairs: Int64) -> list[list[int]]:
    """Groups of landmarks that pairs join, none of which a keyframe observes twice."""
    order = np.argsort(both.landmarks, kind="stable")
    starts = np.searchsorted(both.landmarks[order], np.arange(len(both.positions) + 1))
    owners = both.owners[order]
    group_of: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    seen_by: dict[int, set[int]] = {}
    for pair in pairs.tolist():
        for landmark in pair:
            if landmark not in group_of:
                group_of[landmark], members[landmark] = landmark, [landmark]
                seen_by[landmark] = set(owners[starts[landmark] : starts[landmark + 1]].tolist())
        a, b = (group_of[landmark] for landmark in pair)
        if a == b or seen_by[a] & seen_by[b]:
            continue
        for landmark in members[b]:
            group_of[landmark] = a
        members[a] += members.pop(b)
        seen_by[a] |= seen_by.pop(b)
    return [group for group in members.values() if len(group) > 1]
