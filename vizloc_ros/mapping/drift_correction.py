"""Correction of poses that drift, from the matches of their images: bundle adjustment and loop closures.

The errors of an odometry are small from image to image and add up, so that the priors are on relative poses. Images
show rotations and directions. Lengths come from the odometry, and images cannot tell if all of them are wrong alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Float64, Int64
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.colmap_camera import colmap_camera
from vizloc_ros.geometry.epipolar import epipolar_distance, fundamental_matrix
from vizloc_ros.mapping.drift_report import DriftReport, drift_report
from vizloc_ros.mapping.image_pairs import Pair, match_images
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions, growing_ranks, keyframe_pairs
from vizloc_ros.mapping.loop_closures import LoopOptions, close_loops, find_loops, loop_candidates, open_stretches
from vizloc_ros.mapping.pair_matching import PairMatches
from vizloc_ros.mapping.pose_adjustment import Observations, RelativePoses, State, adjust
from vizloc_ros.mapping.structure_from_motion import SfmOptions, UnposedImage, verify_pairs
from vizloc_ros.mapping.triangulation import Triangulation, TriangulationOptions, triangulate
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress, silent

_RATIO = 0.8
_MIN_STD = (0.002, np.radians(0.02))  # of a step, however short: m, rad
_OF_TURN = 0.02  # share of a turn that the odometry may be off
_ERRORS: tuple[float, ...] = (8.0, 4.0, 2.0)  # px: the landmarks of each round
_KEYPOINTS = 1000  # the best ones of a keyframe, which are matched here
_WANTED = 200  # observations of a keyframe that are adjusted
_GRAPH_TURN = 0.2  # of the drift in rotation that is left after the first adjustment
_SIGNIFICANT = 0.85  # error of the matches after the correction, of that before it
_MAX_ERROR = 3.0  # px, of the matches after it; else the poses have another fault, which the build names


class DriftOptions(Options):
    """Correction of poses that drift."""

    enabled: bool = Field(False, description="correct poses that drift; the command's option is --refine-poses")
    drift: float = Field(0.02, gt=0, description="drift of the position, as a share of the way")
    turn_drift: float = Field(0.05, gt=0, description="drift of the rotation [deg/m]")
    loops: LoopOptions = LoopOptions()


@dataclass(frozen=True)
class _Matcher:
    """Matches of pairs of keyframes that fit the geometry of two views, whatever their poses."""

    images: Sequence[UnposedImage]
    cameras: Sequence[PinholeCamera]
    seed: int
    progress: Progress

    @classmethod
    def of(cls, keyframes: Sequence[Keyframe], seed: int, progress: Progress) -> "_Matcher":
        cameras = list(dict.fromkeys(k.camera for k in keyframes))
        images = [UnposedImage(k.name, cameras.index(k.camera), k.features) for k in keyframes]
        return cls(images, cameras, seed, progress)

    def matches(self, pairs: Sequence[Pair]) -> dict[Pair, PairMatches]:
        cameras = [colmap_camera(camera, k + 1) for k, camera in enumerate(self.cameras)]
        for camera in cameras:
            camera.has_prior_focal_length = True
        found = match_images([image.features for image in self.images], pairs, _RATIO, self.progress)
        verified = verify_pairs(self.images, cameras, found, SfmOptions(), self.seed, self.progress)
        return {
            pair: PairMatches(*pair, matches, np.zeros(len(matches)), 1.0)
            for pair, geometry in verified.items()
            for matches in [geometry.inlier_matches.astype(np.int32)]
        }


def correct_drift(
    keyframes: Sequence[Keyframe],
    cameras: Sequence[str],
    options: DriftOptions,
    pairs: PairOptions,
    triangulation: TriangulationOptions,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[list[Keyframe], DriftReport]:
    """Correct the poses of keyframes; the first one stays, and all do if the images agree with them already.

    Args:
        keyframes: described keyframes in order of time, with poses that drift.
        cameras: name of the camera on the vehicle of each.
        options: options of the correction.
        pairs: options of the pairs that are matched.
        triangulation: conditions for landmarks; the maximum error is looser here.
        seed: seed of RANSAC.
        progress: progress display.

    Returns:
        The keyframes with new poses, and the report.
    """
    given, keyframes = keyframes, [replace(k, features=k.features.best(_KEYPOINTS)) for k in keyframes]
    way = way_of(keyframes, cameras)
    odometry = _steps(State.of([k.map_from_cam for k in keyframes]), way, options.drift, options.turn_drift)
    matcher = _Matcher.of(keyframes, seed, progress)
    nearby = matcher.matches(nearby_pairs(keyframes, way, pairs))
    moved = _adjusted(keyframes, nearby, odometry, triangulation, _ERRORS[:2], progress)
    landmarks = triangulate(moved, list(nearby.values()), triangulation, progress)
    candidates = loop_candidates(moved, way, options.loops)
    found = find_loops(moved, way, landmarks, candidates, options.loops, seed, progress)
    state = State.of([k.map_from_cam for k in moved])
    steps = _steps(state, way, options.drift, _GRAPH_TURN * options.turn_drift)
    state, loops = close_loops(state, steps, found, way, options.loops)
    matches, errors_left = nearby, _ERRORS[2:]
    if loops:
        moved = _with_poses(moved, state)
        known = set(nearby)
        matches = nearby | matcher.matches([pair for pair in keyframe_pairs(moved, pairs) if pair not in known])
        errors_left = _ERRORS[1:]
    moved = _adjusted(moved, matches, odometry, triangulation, errors_left, progress)
    revisits = [m for m in matches.values() if abs(way[m.j] - way[m.i]) >= options.loops.min_way]
    errors = [(_matching_error(keyframes, of), _matching_error(moved, of)) for of in (list(nearby.values()), revisits)]
    is_better = errors[0][1] <= _MAX_ERROR and any(after < _SIGNIFICANT * before for before, after in errors)
    report = drift_report(keyframes, moved if is_better else keyframes, way, errors)
    corrected = [replace(k, map_from_cam=m.map_from_cam) for k, m in zip(given, moved, strict=True)]
    return (corrected if is_better else list(given)), report.model_copy(
        update={
            "loops_tried": len(candidates),
            "loops_verified": len(found),
            "loops_rejected": len(found) - len(loops),
            "open_stretches": [
                f"{keyframes[a].name} to {keyframes[b].name}, {way[b] - way[a]:.0f} m"
                for a, b in open_stretches(loops, way)
                if way[b] - way[a] >= min(options.loops.min_way, way[-1]) > 0
            ],
        }
    )


def way_of(keyframes: Sequence[Keyframe], cameras: Sequence[str]) -> Float64:
    """(N,) way [m] of the vehicle from the first keyframe to each, along the keyframes of one camera."""
    of_first = np.flatnonzero([camera == cameras[0] for camera in cameras])
    centers = np.array([keyframes[k].map_from_cam.translation for k in of_first.tolist()])
    steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    return np.interp(np.arange(len(keyframes)), of_first, np.concatenate([[0.0], np.cumsum(steps)]))


def nearby_pairs(keyframes: Sequence[Keyframe], way: Float64, options: PairOptions) -> list[Pair]:
    """Pairs (i, j), i < j, that are so near along the way that their poses tell it, drift or not."""
    directions = np.array([k.map_from_cam.rotation.matrix()[:, 2] for k in keyframes])
    min_cosine = np.cos(np.radians(options.max_angle))
    chosen = []
    for i in range(len(keyframes)):
        first, last = np.searchsorted(way, way[i] + np.array([options.min_distance, options.max_distance]))
        later = np.arange(max(first, i + 1), last)
        later = later[directions[later] @ directions[i] >= min_cosine]
        chosen += [(i, int(j)) for j in later[growing_ranks(len(later), options.by_pose)]]
    return chosen


def _steps(state: State, way: Float64, drift: float, turn_drift: float) -> RelativePoses:
    """Relative poses from each keyframe to the next, as certain as an odometry is."""
    poses = state.poses
    steps = [a.inverse() * b for a, b in pairwise(poses)]
    moved, turned = np.diff(way), np.array([step.rotation.angle() for step in steps])
    stds = np.column_stack(
        [
            np.hypot(drift * moved, _MIN_STD[0]),
            np.hypot(np.radians(turn_drift) * moved + _OF_TURN * turned, _MIN_STD[1]),
        ]
    )
    return RelativePoses.of([(k, k + 1) for k in range(len(steps))], steps, stds, robust=False)


def _adjusted(
    keyframes: Sequence[Keyframe],
    matches: dict[Pair, PairMatches],
    odometry: RelativePoses,
    options: TriangulationOptions,
    max_errors: Sequence[float],
    progress: Progress,
) -> list[Keyframe]:
    """Keyframes after a round of triangulation and bundle adjustment for each maximum error [px]."""
    moved = list(keyframes)
    for max_error in max_errors:
        loose = options.model_copy(update={"max_reprojection_error": max_error})
        landmarks = triangulate(moved, list(matches.values()), loose, progress)
        rows = _wanted_rows(landmarks, len(moved))
        used, index = np.unique(landmarks.landmarks[rows], return_inverse=True)
        owners = landmarks.keyframes[rows]
        seen_at = zip(owners.tolist(), landmarks.keypoints[rows].tolist(), strict=True)
        pixels = np.array([moved[k].features.keypoints[p] for k, p in seen_at], np.float64).reshape(-1, 2)
        seen = Observations(owners, index, pixels, [k.camera for k in moved])
        state = State.of([k.map_from_cam for k in moved], landmarks.positions[used])
        moved = _with_poses(moved, adjust(state, odometry, seen))
    return moved


def _wanted_rows(landmarks: Triangulation, count: int) -> Int64:
    """Rows of the observations of the landmarks to adjust: the longest tracks, until each keyframe sees enough."""
    tracks = np.bincount(landmarks.landmarks, minlength=len(landmarks.positions))
    order = np.argsort(landmarks.landmarks, kind="stable")
    ends = np.cumsum(tracks)
    seen, chosen = np.zeros(count, np.int64), [np.zeros(0, np.int64)]
    for landmark in np.argsort(-tracks, kind="stable"):
        rows = order[ends[landmark] - tracks[landmark] : ends[landmark]]
        owners = landmarks.keyframes[rows]
        if (seen[owners] < _WANTED).any():
            seen[owners] += 1
            chosen.append(rows)
    return np.sort(np.concatenate(chosen))


def _with_poses(keyframes: Sequence[Keyframe], state: State) -> list[Keyframe]:
    return [replace(k, map_from_cam=pose) for k, pose in zip(keyframes, state.poses, strict=True)]


def _matching_error(keyframes: Sequence[Keyframe], matches: Sequence[PairMatches]) -> float:
    """Median distance of matches, which fit some geometry, from the epipolar lines of the poses [px]; 0 without any."""
    errors = [np.zeros(int(not matches))]
    for pair in matches:
        a, b = keyframes[pair.i], keyframes[pair.j]
        pixels_a = a.features.keypoints[pair.tentative[:, 0]].astype(np.float64)
        pixels_b = b.features.keypoints[pair.tentative[:, 1]].astype(np.float64)
        fundamental = fundamental_matrix(a.camera, b.camera, a.map_from_cam, b.map_from_cam)
        errors.append(epipolar_distance(fundamental, pixels_a, pixels_b))
    return float(np.median(np.concatenate(errors)))
