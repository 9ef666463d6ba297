"""Loop closures: places that a drive comes back to, found by retrieval and measured by PnP against their landmarks.

Poses that drift cannot tell where a drive closes, nor verify it. Relative poses from landmarks have the scale of the
odometry; those of two views have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pycolmap
from pycolmap import Rigid3d
from pydantic import Field

from vizloc_ros.arrays import Float64, Int64
from vizloc_ros.features.descriptor_similarity import similarities
from vizloc_ros.geometry.camera import PIXEL_CENTRE
from vizloc_ros.geometry.colmap_camera import colmap_camera
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.pair_matching import mutual_matches
from vizloc_ros.mapping.pose_adjustment import RelativePoses, State, adjust, relative_residuals
from vizloc_ros.mapping.triangulation import Triangulation
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress, parallel_map

_STD = (0.1, np.radians(0.5))  # of a relative pose by PnP: m, rad
_RATIO = 0.8
_MAX_TRIALS = 1000
_COMEBACK = 0.3  # distance of two cameras over the way between them, up to which the drive came back
_SLACK = 3.0  # m, what a loop may be off however short it is
_CORRELATION = 4.0  # errors of an odometry add up as if they were so much larger: successive ones are alike
_MAX_RESIDUAL = 6.0  # standard deviations of a loop closure after the adjustment


class LoopOptions(Options):
    """Search of loop closures."""

    candidates: int = Field(3, ge=1, description="earlier keyframes that a keyframe is compared with, the most similar")
    min_way: float = Field(30.0, gt=0, description="way between two visits of a place, at least [m]")
    max_drift: float = Field(0.1, gt=0, description="share of the way between two visits that their poses may be off")
    min_inliers: int = Field(30, ge=4, description="minimum number of landmarks that agree with a loop closure")
    max_error: float = Field(4.0, gt=0, description="maximum reprojection error of these [px]")


@dataclass(frozen=True)
class LoopClosure:
    """Two keyframes of the same place.

    Attributes:
        i: index of the earlier keyframe.
        j: index of the later keyframe.
        i_from_j: measured relative pose of their cameras.
    """

    i: int
    j: int
    i_from_j: Rigid3d


def loop_candidates(keyframes: Sequence[Keyframe], way: Float64, options: LoopOptions) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of similar keyframes that the drift may have moved apart.

    Args:
        keyframes: keyframes with global descriptors.
        way: (N,) way from the first keyframe to each, ascending [m].
        options: options of the search.
    """
    descriptors = np.array([k.features.global_descriptor for k in keyframes])
    centers = np.array([k.map_from_cam.translation for k in keyframes])
    pairs = []
    for j in range(len(keyframes)):
        earlier = np.arange(int(np.searchsorted(way, way[j] - options.min_way, side="right")))
        distance = np.linalg.norm(centers[earlier] - centers[j], axis=1)
        reachable = earlier[distance <= _reach(way[j] - way[earlier], options)]
        ranked = np.argsort(-(descriptors[reachable] @ descriptors[j]), kind="stable")[: options.candidates]
        pairs += [(int(i), j) for i in np.sort(reachable[ranked])]
    return pairs


def _reach(way: Float64, options: LoopOptions) -> Float64:
    """Distance at which two poses may be by mistake, and still see the same [m]."""
    return options.max_drift * way + _COMEBACK * options.min_way + _SLACK


def find_loops(
    keyframes: Sequence[Keyframe],
    way: Float64,
    landmarks: Triangulation,
    candidates: Sequence[tuple[int, int]],
    options: LoopOptions,
    seed: int,
    progress: Progress,
) -> list[LoopClosure]:
    """Loop closures among the candidates: keypoints of the later keyframe fit to the landmarks of the earlier one.

    Args:
        keyframes: keyframes whose poses are right nearby.
        way: (N,) way from the first keyframe to each [m].
        landmarks: landmarks of matches nearby.
        candidates: pairs of ``loop_candidates``.
        options: options of the search.
        seed: seed of RANSAC.
        progress: progress display.
    """
    rows = landmarks.rows_of_keyframes(len(keyframes))

    def measure(pair: tuple[int, int]) -> Rigid3d | None:
        i, j = pair
        of_i, query = rows[i], keyframes[j]
        seen = keyframes[i].features.descriptors[landmarks.keypoints[of_i]]
        found = mutual_matches(similarities(seen, query.features.descriptors), _RATIO)
        if len(found) < options.min_inliers:
            return None
        points = landmarks.positions[landmarks.landmarks[of_i]][found[:, 0]]
        pixels = query.features.keypoints[found[:, 1]].astype(np.float64) + PIXEL_CENTRE
        ransac = {"max_error": options.max_error, "max_num_trials": _MAX_TRIALS, "random_seed": seed}
        settings = pycolmap.AbsolutePoseEstimationOptions(ransac=ransac)
        answer = pycolmap.estimate_and_refine_absolute_pose(pixels, points, colmap_camera(query.camera), settings)
        if answer is None or answer["num_inliers"] < options.min_inliers:
            return None
        i_from_map = keyframes[i].map_from_cam.inverse()
        i_from_j: Rigid3d = i_from_map * answer["cam_from_world"].inverse()
        came_back = float(np.linalg.norm(i_from_j.translation)) <= _COMEBACK * (way[j] - way[i])
        return i_from_j if came_back else None

    measured = parallel_map(measure, candidates, "looking for loop closures", progress)
    return [LoopClosure(*pair, pose) for pair, pose in zip(candidates, measured, strict=True) if pose is not None]


def close_loops(
    state: State, steps: RelativePoses, loops: Sequence[LoopClosure], way: Float64, options: LoopOptions
) -> tuple[State, list[LoopClosure]]:
    """Adjust a pose graph, and return it with the loop closures that do not contradict the others.

    Args:
        state: poses of the keyframes.
        steps: relative poses along the drive, which connect all.
        loops: loop closures, some of which may be wrong.
        way: (N,) way from the first keyframe to each [m].
        options: options of the search.
    """
    poses = state.poses
    apart = [(poses[x.i].inverse() * poses[x.j]).translation - x.i_from_j.translation for x in loops]
    off = np.linalg.norm(np.reshape(apart, (-1, 3)), axis=1)
    far = np.array([way[loop.j] - way[loop.i] for loop in loops])
    near = [loop for loop, ok in zip(loops, off <= options.max_drift * far + _SLACK, strict=True) if ok]
    if not near:
        return state, []
    original, steps = steps, replace(steps, stds=_CORRELATION * steps.stds)
    # A robust loss ignores what is far off, so that the loops begin as loose as they are wide.
    slack = max(1.0, float(off.max()) / _STD[0])
    while True:
        closures = _measured(near, slack)
        state = adjust(state, steps + closures)
        if slack == 1.0:
            break
        slack = max(1.0, slack / 3.0)
    squared = (relative_residuals(state, closures)[0] ** 2).sum(axis=1)
    kept = [loop for loop, r in zip(near, squared, strict=True) if r <= _MAX_RESIDUAL**2]
    return (state, kept) if len(kept) == len(near) else close_loops(state, original, kept, way, options)


def _measured(loops: Sequence[LoopClosure], slack: float) -> RelativePoses:
    pairs = [(loop.i, loop.j) for loop in loops]
    stds = slack * np.tile(_STD, (len(loops), 1))
    return RelativePoses.of(pairs, [loop.i_from_j for loop in loops], stds, robust=True)


def open_stretches(loops: Sequence[LoopClosure], way: Float64) -> list[tuple[int, int]]:
    """First and last keyframe of each stretch of the drive that no loop closes, from ``loops`` and the way (N,)."""
    closed: Int64 = np.zeros(len(way), np.int64)
    for loop in loops:
        closed[loop.i : loop.j] += 1  # the steps from keyframe k to k + 1
    is_open = np.append(closed[:-1] == 0, False)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_open]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
