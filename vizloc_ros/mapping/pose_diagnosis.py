"""Diagnosis of known poses and intrinsics that disagree with the images, with the probable cause.

Epipolar geometry needs no map: if poses and intrinsics are right, most matches lie on their epipolar lines, and their
rays meet in front of the cameras (on a straight street, flipped axes show only in this). Each usual convention error is
corrected on trial; if the matches then fit clearly better, a warning names it. The scale of the whole trajectory does
not change epipolar lines; it is checked by speed and by the depth of the landmarks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64, evenly
from vizloc_ros.datasets.exif import orientation_text
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.epipolar import epipolar_distance, fundamental_matrix, in_front
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.mapping.ambiguous_places import consistency
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions
from vizloc_ros.mapping.pair_matching import MatchOptions, PairMatches
from vizloc_ros.timing import NANOSECONDS

_NUM_PAIRS = 60  # on which the corrections are tried
_MIN_GAIN = 0.12  # minimum increase of the inlier ratio by a correction that is named
_MOST_CAMERAS, _ALIKE = 12, np.cos(np.radians(45.0))  # of one vehicle; keyframes that face alike, for the speed
_MIN_INLIER_RATIO, _USUAL_INLIER_RATIO = 0.25, 0.5  # of right poses, at least; where nothing looks alike
_SPEEDS = (0.02, 45.0)  # m/s; usual ones of a vehicle
_DEPTHS = (0.5, 80.0)  # m; usual ones of landmarks
_FARTHEST = 500.0  # m; those of a view from the air

_PoseChange = Callable[[Rigid3d], Rigid3d]
_CameraChange = Callable[[PinholeCamera], PinholeCamera]


@dataclass(frozen=True)
class _ConventionError:
    """Usual error of poses or intrinsics, and its correction.

    Attributes:
        description: text of the warning.
        correct_pose: function from a wrong pose to the right one.
        correct_camera: function from wrong intrinsics to the right ones.
    """

    description: str
    correct_pose: _PoseChange = lambda pose: pose
    correct_camera: _CameraChange = lambda camera: camera


def _rotated(matrix: list[list[int]]) -> _PoseChange:
    """Rotate the axes of the camera by a constant matrix, right-multiplied."""
    rotation = Rotation3d(np.array(matrix, np.float64))
    return lambda pose: pose * Rigid3d(rotation, np.zeros(3))


def _reordered_quaternion(pose: Rigid3d) -> Rigid3d:
    w, x, y, z = pose.rotation.quat
    return Rigid3d(Rotation3d(np.array([x, y, z, w])), pose.translation)


def _focal(factor: float) -> _CameraChange:
    return lambda camera: replace(camera, fx=camera.fx * factor, fy=camera.fy * factor)


def _all_intrinsics(factor: float) -> _CameraChange:
    return lambda c: replace(c, fx=c.fx * factor, fy=c.fy * factor, cx=c.cx * factor, cy=c.cy * factor)


def _turned_camera(roll: Roll) -> _CameraChange:
    """Change intrinsics of the upright image into those of the image as it is stored."""

    def change(camera: PinholeCamera) -> PinholeCamera:
        width, height = roll.turn_size(camera.size)
        return roll.inverse.turn_camera(replace(camera, width=width, height=height))

    return change


def _turned_pose(roll: Roll) -> _PoseChange:
    """Change the pose of the upright image into that of the image as it is stored."""
    return lambda pose: pose * roll.upright_from_cam


# Roll of the camera that stores an upright scene with an EXIF orientation.
_STORED = {3: Roll.UPSIDE_DOWN, 6: Roll.CLOCKWISE, 8: Roll.COUNTERCLOCKWISE}
_TURNED = (
    "turned images: {} are those of an image as viewers show it with the {}, but the pixels are used as they are "
    "stored; give those of the stored images, or turn the pixels"
)

_CONVENTION_ERRORS = (
    _ConventionError(
        "wrong axis convention: the poses are cam_from_world; give world_from_cam", lambda pose: pose.inverse()
    ),
    _ConventionError(
        "wrong axis convention: the poses are of a body frame (x forward, y left, z up); give those of the optical "
        "frame (x right, y down, z forward)",
        _rotated([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
    ),
    _ConventionError(
        "wrong axis convention: the camera axes are OpenGL's (y up, z backward); give the optical frame's (y down, "
        "z forward)",
        _rotated([[1, 0, 0], [0, -1, 0], [0, 0, -1]]),
    ),
    _ConventionError("wrong quaternion order: they are qw,qx,qy,qz; give qx,qy,qz,qw", _reordered_quaternion),
    _ConventionError(
        "wrong axis convention: the rotations are cam_from_world; give world_from_cam",
        lambda pose: Rigid3d(pose.rotation.inverse(), pose.translation),
    ),
    *(
        _ConventionError(_TURNED.format("the poses", orientation_text(orientation)), _turned_pose(roll))
        for orientation, roll in _STORED.items()
    ),
    *(
        _ConventionError(
            _TURNED.format("poses and intrinsics", orientation_text(orientation)),
            _turned_pose(roll),
            _turned_camera(roll),
        )
        for orientation, roll in _STORED.items()
    ),
    *(
        _ConventionError(
            f"wrong intrinsics: the focal length should be about {factor:g} times as large",
            correct_camera=_focal(factor),
        )
        for factor in (0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.5, 1.75, 2.0)
    ),
    *(
        _ConventionError(
            f"wrong intrinsics: they are those of another image size; scale all of them by {factor:g}",
            correct_camera=_all_intrinsics(factor),
        )
        for factor in (0.25, 0.5, 2.0, 4.0)
    ),
)


def pose_agreement(matches: Sequence[PairMatches]) -> float:
    """Ratio of all tentative matches that lie on their epipolar lines."""
    total = sum(len(m.tentative) for m in matches)
    return sum(len(m.agreeing) for m in matches) / total if total else 0.0


def pose_warnings(
    keyframes: Sequence[Keyframe],
    matches: Sequence[PairMatches],
    pairs: PairOptions | None = None,
    matching: MatchOptions | None = None,
) -> list[str]:
    """Warning with the probable cause, if the matches disagree with the known poses or intrinsics.

    Args:
        keyframes: keyframes with their known poses.
        matches: matches of their pairs.
        pairs: options by which the pairs were chosen.
        matching: options by which they were matched.
    """
    tried = _pairs_over_all_baselines(keyframes, matches)
    known_ratio = _inlier_ratio(keyframes, tried, _ConventionError("none"))
    if known_ratio + _MIN_GAIN >= 1:
        return []  # nothing can fit clearly better
    corrected_ratios = [_inlier_ratio(keyframes, tried, error) for error in _CONVENTION_ERRORS]
    best = int(np.argmax(corrected_ratios))
    fits_better = corrected_ratios[best] > known_ratio + _MIN_GAIN
    if not fits_better and known_ratio >= _USUAL_INLIER_RATIO:
        return []
    figures = f"{known_ratio:.0%} of the matches fit the known poses"
    found = consistency(keyframes, pairs or PairOptions(), matching or MatchOptions())
    if found.repeated:
        return [found.repeated_warning(figures)]
    if fits_better:
        return [f"{_CONVENTION_ERRORS[best].description} ({figures}, with that {corrected_ratios[best]:.0%})"]
    if known_ratio >= _MIN_INLIER_RATIO:
        return []
    if found.too_far_apart:
        return [found.distance_warning(figures)]
    return [
        f"{figures}: poses and images do not belong together. Are the time stamps of both in step, the images "
        "rectified, the poses those of this camera, and in metres?"
    ]


def _pairs_over_all_baselines(keyframes: Sequence[Keyframe], matches: Sequence[PairMatches]) -> list[PairMatches]:
    """Well matched pairs of all baselines: short ones have most matches, but fit wrong poses too."""
    typical = np.median([len(m.tentative) for m in matches])
    matched = [m for m in matches if len(m.tentative) >= typical / 2]

    def baseline(pair: PairMatches) -> float:
        a, b = (keyframes[k].map_from_cam.translation for k in (pair.i, pair.j))
        return float(np.linalg.norm(a - b))

    matched.sort(key=baseline)
    return [matched[i] for i in np.unique(evenly(len(matched), _NUM_PAIRS))]


def _inlier_ratio(keyframes: Sequence[Keyframe], pairs: Sequence[PairMatches], error: _ConventionError) -> float:
    """Ratio of the tentative matches that fit the poses and intrinsics after the correction of an error."""
    inliers = total = 0
    for pair in pairs:
        a, b = keyframes[pair.i], keyframes[pair.j]
        views = (
            error.correct_camera(a.camera),
            error.correct_camera(b.camera),
            error.correct_pose(a.map_from_cam),
            error.correct_pose(b.map_from_cam),
        )
        pixels_a, pixels_b = (
            k.features.keypoints[index].astype(np.float64) for k, index in zip((a, b), pair.tentative.T, strict=True)
        )
        on_line = epipolar_distance(fundamental_matrix(*views), pixels_a, pixels_b) <= pair.max_error
        inliers += int(in_front(*views, pixels_a[on_line], pixels_b[on_line]).sum())
        total += len(pair.tentative)
    return inliers / total if total else 0.0


def scale_warnings(keyframes: Sequence[Keyframe], depths: Float64) -> list[str]:
    """Warnings if the speed, or the (M,) depths [m] of the observations, are unusual for a vehicle in a street."""
    warnings = []
    speed = median_speed(keyframes)
    rests = speed < _SPEEDS[0] and _SPEEDS[0] <= _brisk_speed(keyframes) <= _SPEEDS[1]
    if np.isfinite(speed) and not _SPEEDS[0] <= speed <= _SPEEDS[1] and not rests:
        warnings.append(
            f"wrong scale: the camera moves at {speed:.3g} m/s by poses and time stamps: are positions in metres and "
            "times in seconds?"
        )
    return warnings + depth_warnings(depths)


def depth_warnings(depths: Float64) -> list[str]:
    """Warning if the (M,) depths [m] of the observations are unusual in a street."""
    depth = float(np.median(depths)) if len(depths) else float("nan")
    if np.isfinite(depth) and not _DEPTHS[0] <= depth <= _DEPTHS[1]:
        if _DEPTHS[1] < depth <= _FARTHEST:
            return [
                f"far landmarks: they are {depth:.3g} m from the camera in the median. That is right for a camera that "
                "looks down from the air or far over the land; in a street, positions are not in meters"
            ]
        return [f"wrong scale: landmarks are {depth:.3g} m from the camera in the median: metres?"]
    return []


def median_speed(keyframes: Sequence[Keyframe]) -> float:
    """Median speed from keyframe to keyframe [m/s]; NaN if no time passes between them."""
    speeds = _speeds(keyframes)
    return float(np.median(speeds)) if len(speeds) else float("nan")


def _brisk_speed(keyframes: Sequence[Keyframe]) -> float:
    """Speed that one keyframe in ten exceeds [m/s]: that of the drive, if the camera rests for most of the time."""
    speeds = _speeds(keyframes)
    return float(np.quantile(speeds, 0.9)) if len(speeds) else float("nan")


def _speeds(keyframes: Sequence[Keyframe]) -> Float64:
    """Speeds from keyframe to keyframe [m/s], where time passes between them.

    Each is compared with the last one before it that faces alike: of several cameras in a vehicle, that is its own.
    """
    centers = np.array([k.map_from_cam.translation for k in keyframes])
    directions = np.array([k.map_from_cam.rotation.matrix()[:, 2] for k in keyframes])
    seconds = np.array([k.timestamp_ns for k in keyframes]) / NANOSECONDS
    speeds = []
    for later in range(1, len(keyframes)):
        before = np.arange(max(0, later - _MOST_CAMERAS), later)
        alike = before[(directions[before] @ directions[later] > _ALIKE) & (seconds[before] < seconds[later])]
        if len(alike):
            earlier = alike[-1]
            distance = np.linalg.norm(centers[later] - centers[earlier])
            speeds.append(distance / (seconds[later] - seconds[earlier]))
    return np.array(speeds, np.float64)
