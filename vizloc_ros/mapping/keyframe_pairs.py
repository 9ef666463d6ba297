"""Keyframes, and the choice of pairs of them for matching."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d
from pydantic import Field

from vizloc_ros.arrays import Float32, Float64, Int64
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.options import Options

_NEAREST = 32  # keyframes among which the nearest one that faces alike is looked for


@dataclass(frozen=True)
class Keyframe:
    """Posed image of a map.

    Attributes:
        name: name of the image in its dataset.
        timestamp_ns: time of exposure [ns].
        camera: camera of the image.
        map_from_cam: known pose of the camera's optical frame in the map.
        features: features of the image.
    """

    name: str
    timestamp_ns: int
    camera: PinholeCamera
    map_from_cam: Rigid3d
    features: Features


class PairOptions(Options):
    """Choice of the pairs of keyframes that are matched."""

    min_distance: float = Field(
        0.05, ge=0, description="minimum distance of two cameras: at rest they see no depth [m]"
    )
    max_distance: float = Field(25.0, gt=0, description="maximum distance of two cameras, unless they see far [m]")
    min_overlap: float = Field(
        0.33, gt=0, le=1, description="overlap of views down to which those that see far are matched; 1: none"
    )
    max_angle: float = Field(50.0, gt=0, le=180, description="maximum angle between their viewing directions [deg]")
    by_pose: int = Field(8, ge=1, description="partners of a keyframe chosen by distance")
    by_retrieval: int = Field(2, ge=0, description="partners chosen by global descriptor, for revisits")


def keyframe_pairs(keyframes: Sequence[Keyframe], options: PairOptions) -> list[tuple[int, int]]:
    """Return the pairs (i, j) of keyframes to match, with i < j, sorted.

    Partners by distance are the nearest one, and then ever farther ones at growing steps: near views match well, far
    ones triangulate well. Partners by retrieval are the most similar ones within twice the maximum distance.
    """
    from scipy.spatial import cKDTree  # a third of the start of a worker process, which chooses no pairs

    centers = np.array([k.map_from_cam.translation for k in keyframes])
    directions = np.array([k.map_from_cam.rotation.matrix()[:, 2] for k in keyframes])
    min_cosine = np.cos(np.radians(options.max_angle))
    tree = cKDTree(centers)
    pairs: set[tuple[int, int]] = set()
    for i, center in enumerate(centers):
        near = _facing_alike(
            i, np.array(tree.query_ball_point(center, options.max_distance), np.int64), directions, min_cosine
        )
        distance = np.linalg.norm(centers[near] - center, axis=1)
        order = np.argsort(distance, kind="stable")
        near = near[order[distance[order] >= options.min_distance]]
        chosen = near[growing_ranks(len(near), options.by_pose)]
        if options.by_retrieval:
            far = np.array(tree.query_ball_point(center, 2 * options.max_distance), np.int64)
            far = far[np.linalg.norm(centers[far] - center, axis=1) >= options.min_distance]
            others = np.setdiff1d(_facing_alike(i, far, directions, min_cosine), chosen)
            ranked = np.argsort(-_similarities(keyframes, i, others), kind="stable")
            chosen = np.concatenate([chosen, others[ranked[: options.by_retrieval]]])
        pairs.update((min(i, int(j)), max(i, int(j))) for j in chosen)
    return sorted(pairs)


def nearest_partners(keyframes: Sequence[Keyframe], options: PairOptions) -> dict[int, int]:
    """Nearest keyframe to each, at any distance, among those that face alike and are ``min_distance`` apart."""
    from scipy.spatial import cKDTree

    centers = np.array([k.map_from_cam.translation for k in keyframes])
    directions = np.array([k.map_from_cam.rotation.matrix()[:, 2] for k in keyframes])
    min_cosine = np.cos(np.radians(options.max_angle))
    tree, found = cKDTree(centers), {}
    for i, center in enumerate(centers):
        distances, near = tree.query(center, k=min(len(centers), _NEAREST))
        near = np.atleast_1d(near)[np.atleast_1d(distances) >= options.min_distance]
        facing = _facing_alike(i, near.astype(np.int64), directions, min_cosine)
        if len(facing):
            found[i] = int(facing[0])
    return found


def _similarities(keyframes: Sequence[Keyframe], i: int, others: Int64) -> Float32:
    """Similarities (N,) of keyframe i and others by their global descriptors; those of all may not fit into memory."""
    if len(others) == 0:
        return np.zeros(0, np.float32)
    descriptors = np.array([keyframes[k].features.global_descriptor for k in others])
    return descriptors @ keyframes[i].features.global_descriptor


def _facing_alike(i: int, others: Int64, directions: Float64, min_cosine: float) -> Int64:
    """Those of the keyframes ``others`` that face about the same direction as keyframe i, without i."""
    others = others[others != i]
    return others[directions[others] @ directions[i] >= min_cosine]


def growing_ranks(available: int, wanted: int) -> Int64:
    """At most ``wanted`` ranks below ``available``: the first, the last, and others between them at growing steps."""
    if available <= wanted:
        return np.arange(available)
    return np.unique(np.geomspace(1, available, wanted).round().astype(np.int64)) - 1
