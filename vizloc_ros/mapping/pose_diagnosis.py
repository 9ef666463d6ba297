"""Do the known poses and the images agree? If not, which usual mistake would explain it?

Epipolar geometry needs no map: if poses and intrinsics are right, most matches lie on their epipolar lines, and their
rays meet in front of the cameras (on a straight street, flipped axes show in nothing else). Each usual mistake is
undone on trial, and the one that makes the matches fit is named. The scale of the whole trajectory cannot show in
this; it is judged by speed and by the depth of the landmarks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.epipolar import epipolar_distance, fundamental_matrix, in_front
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.pair_matching import PairMatches

_PAIRS_TRIED = 60
_BETTER_BY = 0.12  # share of matches that a correction must win to be named
_ENOUGH = 0.25  # share of fitting matches below which something must be wrong
_SPEEDS = (0.02, 45.0)  # m/s
_DEPTHS = (0.5, 80.0)  # m

_PoseChange = Callable[[Rigid3d], Rigid3d]
_CameraChange = Callable[[PinholeCamera], PinholeCamera]


@dataclass(frozen=True)
class _Mistake:
    """A usual mistake: what it looks like from outside, and how to undo it."""

    description: str
    pose: _PoseChange = lambda pose: pose
    camera: _CameraChange = lambda camera: camera


def _rotated(matrix: list[list[int]]) -> _PoseChange:
    """Poses whose camera axes are turned by a constant rotation, right-multiplied."""
    rotation = Rotation3d(np.array(matrix, np.float64))
    return lambda pose: pose * Rigid3d(rotation, np.zeros(3))


def _reordered_quaternion(pose: Rigid3d) -> Rigid3d:
    w, x, y, z = pose.rotation.quat
    return Rigid3d(Rotation3d(np.array([x, y, z, w])), pose.translation)


def _focal(factor: float) -> _CameraChange:
    return lambda camera: replace(camera, fx=camera.fx * factor, fy=camera.fy * factor)


def _all_intrinsics(factor: float) -> _CameraChange:
    return lambda c: replace(c, fx=c.fx * factor, fy=c.fy * factor, cx=c.cx * factor, cy=c.cy * factor)


_MISTAKES = (
    _Mistake("wrong axis convention: the poses are cam_from_world; give world_from_cam", lambda pose: pose.inverse()),
    _Mistake(
        "wrong axis convention: the poses are of a body frame (x forward, y left, z up); give those of the optical "
        "frame (x right, y down, z forward)",
        _rotated([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
    ),
    _Mistake(
        "wrong axis convention: the camera axes are OpenGL's (y up, z backward); give the optical frame's (y down, "
        "z forward)",
        _rotated([[1, 0, 0], [0, -1, 0], [0, 0, -1]]),
    ),
    _Mistake("wrong quaternion order: they are qw,qx,qy,qz; give qx,qy,qz,qw", _reordered_quaternion),
    _Mistake(
        "wrong axis convention: the rotations are cam_from_world; give world_from_cam",
        lambda pose: Rigid3d(pose.rotation.inverse(), pose.translation),
    ),
    *(
        _Mistake(f"wrong intrinsics: the focal length should be about {factor:g} times as large", camera=_focal(factor))
        for factor in (0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.5, 1.75, 2.0)
    ),
    *(
        _Mistake(
            f"wrong intrinsics: they are those of another image size; scale all of them by {factor:g}",
            camera=_all_intrinsics(factor),
        )
        for factor in (0.25, 0.5, 2.0, 4.0)
    ),
)


def agreement(matches: Sequence[PairMatches]) -> float:
    """Share of all look-alike matches that lie on their epipolar lines."""
    total = sum(len(m.tentative) for m in matches)
    return sum(len(m.verified) for m in matches) / total if total else 0.0


def disagreement_warnings(keyframes: Sequence[Keyframe], matches: Sequence[PairMatches]) -> list[str]:
    """Warnings, each with its likely cause, when matches and known poses or intrinsics contradict each other."""
    tried = _over_all_baselines(keyframes, matches)
    known = _share(keyframes, tried, _Mistake("nothing"))
    shares = [_share(keyframes, tried, mistake) for mistake in _MISTAKES]
    best = int(np.argmax(shares))
    figures = f"{known:.0%} of the matches fit the known poses"
    if shares[best] > known + _BETTER_BY:
        return [f"{_MISTAKES[best].description} ({figures}, with that {shares[best]:.0%})"]
    if known < _ENOUGH:
        return [
            f"{figures}: poses and images do not belong together. Are the time stamps of both in step, the images "
            "rectified, the poses those of this camera, and in metres?"
        ]
    return []


def _over_all_baselines(keyframes: Sequence[Keyframe], matches: Sequence[PairMatches]) -> list[PairMatches]:
    """Some well matched pairs, near and far ones alike: near ones match best, but there anything fits."""
    typical = np.median([len(m.tentative) for m in matches])
    matched = [m for m in matches if len(m.tentative) >= typical / 2]

    def baseline(pair: PairMatches) -> float:
        a, b = (keyframes[k].map_from_cam.translation for k in (pair.i, pair.j))
        return float(np.linalg.norm(a - b))

    matched.sort(key=baseline)
    chosen = np.unique(np.linspace(0, len(matched) - 1, _PAIRS_TRIED).round().astype(int))
    return [matched[i] for i in chosen]


def _share(keyframes: Sequence[Keyframe], matches: Sequence[PairMatches], mistake: _Mistake) -> float:
    """Share of the tentative matches that fit once a mistake is undone."""
    fitting = total = 0
    for pair in matches:
        a, b = keyframes[pair.i], keyframes[pair.j]
        views = (
            mistake.camera(a.camera),
            mistake.camera(b.camera),
            mistake.pose(a.map_from_cam),
            mistake.pose(b.map_from_cam),
        )
        pixels_a, pixels_b = (
            k.features.keypoints[index].astype(np.float64) for k, index in zip((a, b), pair.tentative.T, strict=True)
        )
        on_line = epipolar_distance(fundamental_matrix(*views), pixels_a, pixels_b) <= pair.max_error
        fitting += int((on_line & in_front(*views, pixels_a, pixels_b)).sum())
        total += len(pair.tentative)
    return fitting / total if total else 0.0


def scale_warnings(keyframes: Sequence[Keyframe], depths: Float64) -> list[str]:
    """Warnings when speed or the (M,) depths [m] of the observations are not those of a vehicle among things."""
    warnings = []
    speed = median_speed(keyframes)
    if np.isfinite(speed) and not _SPEEDS[0] <= speed <= _SPEEDS[1]:
        warnings.append(
            f"wrong scale: the camera moves at {speed:.3g} m/s by poses and time stamps: are positions in metres and "
            "times in seconds?"
        )
    depth = float(np.median(depths)) if len(depths) else float("nan")
    if np.isfinite(depth) and not _DEPTHS[0] <= depth <= _DEPTHS[1]:
        warnings.append(f"wrong scale: landmarks are {depth:.3g} m from the camera in the median: metres?")
    return warnings


def median_speed(keyframes: Sequence[Keyframe]) -> float:
    """Median speed [m/s] from keyframe to keyframe; NaN with fewer than two."""
    centres = np.array([k.map_from_cam.translation for k in keyframes])
    seconds = np.diff([k.timestamp_ns for k in keyframes]) * 1e-9
    moved = seconds > 0
    if not moved.any():
        return float("nan")
    return float(np.median(np.linalg.norm(np.diff(centres, axis=0), axis=1)[moved] / seconds[moved]))
