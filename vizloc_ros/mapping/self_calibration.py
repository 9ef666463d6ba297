"""What the calibration of a map's cameras is off by, from the map's own landmarks and known poses.

Landmarks fit into the images that they were triangulated from whatever the calibration is: its errors become errors of
depth, and show when a query looks from elsewhere. Many tracks across the image tell them apart.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field
from scipy import sparse

from vizloc_ros.arrays import Float64, Int64
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera, shift_jacobian
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.triangulation import Triangulation
from vizloc_ros.options import Options

EXPECTED = (0.005, 2.0, 2.0, 0.01)  # standard deviations of a calibration's errors: focal, cx, cy, radial
_STRETCH, _MOST_STRETCHES = 50, 12  # keyframes in a stretch, and stretches: what is eliminated together
_TOGETHER = 3.0  # observations that err together, as those of one pose do, count as one
_LEAST_INFORMATION = 1e-6  # for landmarks that one keyframe of a stretch sees
_WORTH_A_WARNING = 4.0  # px
_SIGNIFICANT = 13.3  # chi squared of four parameters that chance exceeds in 1 of 100


class SelfCalibrationOptions(Options):
    """Whether the calibration is corrected, and how well the poses are known that it is judged by."""

    enabled: bool = Field(True, description="correct calibrations that are significantly off")
    position_std: float = Field(0.01, gt=0, description="how well the poses are known, from keyframe to keyframe [m]")
    rotation_std: float = Field(0.04, gt=0, description="how well the poses are known, from keyframe to keyframe [deg]")


def estimate_corrections(
    keyframes: Sequence[Keyframe], triangulation: Triangulation, options: SelfCalibrationOptions
) -> Mapping[PinholeCamera, IntrinsicsCorrection]:
    """The corrections of those cameras whose calibration is significantly off."""
    cameras = dict.fromkeys(keyframe.camera for keyframe in keyframes)
    estimates = {camera: _estimate(camera, keyframes, triangulation, options) for camera in cameras}
    return {camera: estimate for camera, estimate in estimates.items() if estimate is not None}


def calibration_warnings(corrections: Mapping[PinholeCamera, IntrinsicsCorrection]) -> list[str]:
    """One for every camera that would better be calibrated anew."""
    return [
        f"the calibration of the {camera.width}x{camera.height} camera (fx {camera.fx:g}) is off by up to "
        f"{correction.largest_shift(camera):.1f} px (focal length {correction.focal:+.1%}, principal point "
        f"({correction.cx:+.1f}, {correction.cy:+.1f}) px), which the map corrects: calibrate the camera"
        for camera, correction in corrections.items()
        if correction.largest_shift(camera) > _WORTH_A_WARNING
    ]


def _estimate(
    camera: PinholeCamera,
    keyframes: Sequence[Keyframe],
    triangulation: Triangulation,
    options: SelfCalibrationOptions,
) -> IntrinsicsCorrection | None:
    """From stretches all along the map. None if the calibration may well be right."""
    mine = [i for i in np.unique(triangulation.keyframes).tolist() if keyframes[i].camera == camera]
    stretches = [mine[start : start + _STRETCH] for start in range(0, len(mine), _STRETCH)]
    if len(stretches) > _MOST_STRETCHES:
        chosen = np.linspace(0, len(stretches) - 1, _MOST_STRETCHES).round().astype(int)
        stretches = [stretches[i] for i in chosen]
    pose_std = np.array([options.position_std] * 3 + [np.radians(options.rotation_std)] * 3)
    information, gradient = np.diag(np.array(EXPECTED) ** -2.0), np.zeros(4)
    for stretch in stretches:
        learned = _information(camera, keyframes, triangulation, stretch, pose_std)
        information, gradient = information + learned[0], gradient + learned[1]
    solution = np.linalg.solve(information, gradient)
    return IntrinsicsCorrection(*map(float, solution)) if gradient @ solution >= _SIGNIFICANT else None


def _information(
    camera: PinholeCamera,
    keyframes: Sequence[Keyframe],
    triangulation: Triangulation,
    stretch: Sequence[int],
    pose_std: Float64,
) -> tuple[Float64, Float64]:
    """What some keyframes know of the calibration: its (4, 4) information and the (4,) gradient.

    One step of Gauss and Newton over landmarks, poses and calibration with Cauchy's loss (1 px). Landmarks and poses
    are eliminated (Schur complement). Were the poses taken for exact, their errors would become the calibration's.

    Args:
        camera: whose calibration it is.
        keyframes: of the map.
        triangulation: of them.
        stretch: the keyframes, all of this camera.
        pose_std: (6,) standard deviations of their poses: position [m], rotation [rad].
    """
    first = np.searchsorted(triangulation.keyframes, np.arange(len(keyframes) + 1))
    parts = []
    for i in stretch:
        keyframe, rows = keyframes[i], slice(first[i], first[i + 1])
        landmarks, map_from_cam = triangulation.landmarks[rows], keyframe.map_from_cam
        points = triangulation.positions[landmarks]
        points_cam = transform_points(map_from_cam.inverse(), points)
        pixels = camera.project(points_cam)[0]
        residuals = keyframe.features.keypoints[triangulation.keypoints[rows]] - pixels
        by_point = camera.projection_jacobian(points_cam) @ map_from_cam.rotation.matrix().T
        by_rotation = np.cross(by_point, (points - map_from_cam.translation)[:, None])
        by_pose = np.concatenate([-by_point, by_rotation], axis=2)
        parts.append((residuals, by_point, by_pose, shift_jacobian(pixels, camera), landmarks))
    residuals, by_point, by_pose, by_correction, landmarks = map(np.concatenate, zip(*parts, strict=True))
    weights = np.repeat(1 / (1 + (residuals**2).sum(axis=1)) / _TOGETHER, 2)
    poses = np.repeat(np.arange(len(stretch)), [len(part[0]) for part in parts])
    known = np.diag(np.tile(pose_std**-2.0, len(stretch)))

    seen, variables = np.unique(landmarks, return_inverse=True)
    points = _columns(by_point, variables, len(seen))
    others = sparse.hstack(
        [_columns(by_pose, poses, len(stretch)), by_correction.reshape(-1, 4), residuals.reshape(-1, 1)]
    ).tocsr()
    weighted = points.multiply(weights[:, None]).T.tocsr()
    mixed = weighted @ others
    blocks = (weighted @ points).tobsr((3, 3)) + _LEAST_INFORMATION * sparse.identity(points.shape[1], format="bsr")
    inverse = sparse.bsr_matrix((np.linalg.inv(blocks.data), blocks.indices, blocks.indptr))
    reduced = (others.T @ others.multiply(weights[:, None]) - mixed.T @ (inverse @ mixed)).toarray()
    pose, rest = slice(0, len(known)), slice(len(known), None)
    unknown = np.linalg.solve(reduced[pose, pose] + known, reduced[pose, rest])
    reduced = reduced[rest, rest] - reduced[rest, pose] @ unknown
    return reduced[:4, :4], reduced[:4, 4]


def _columns(jacobian: Float64, variables: Int64, total: int) -> sparse.csr_matrix:
    """(2 M, total V) of M observations' derivatives (M, 2, V) by the one of the variables that each depends on."""
    count, size = len(jacobian), jacobian.shape[2]
    columns = np.repeat(size * variables[:, None] + np.arange(size), 2, axis=0).ravel()
    return sparse.csr_matrix((jacobian.ravel(), columns, np.arange(2 * count + 1) * size), (2 * count, size * total))
