"""Self-calibration: intrinsics corrections of the map's cameras from its landmarks and known poses.

Triangulated landmarks fit the images of the map even with a wrong calibration: its errors become errors of depth, which
show in queries from other viewpoints. Many tracks across the image separate the two.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field
from scipy import sparse

from vizloc_ros.arrays import Float64, Int32, Int64, evenly
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera, shift_jacobian
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.triangulation import Triangulation
from vizloc_ros.options import Options

_PRIOR_STD = (0.005, 2.0, 2.0, 0.01)  # standard deviations of the errors of a calibration: focal, cx, cy, radial
_STRETCH_LENGTH, _MAX_STRETCHES = 50, 12  # keyframes of a stretch, whose unknowns are eliminated together; stretches
_CORRELATED = 3.0  # observations that count as one: their errors are correlated, as those of one pose are
_MIN_INFORMATION = 1e-6  # of landmarks that only one keyframe of a stretch observes
_WARNING_SHIFT = 4.0  # px
_SIGNIFICANT_CHI2 = 13.3  # of four parameters; without an error of the calibration, chance exceeds it in 1 of 100


class SelfCalibrationOptions(Options):
    """Options of the self-calibration, with the accuracy of the known poses that it relies on."""

    enabled: bool = Field(True, description="correct calibrations that are significantly off")
    position_std: float = Field(
        0.01, gt=0, description="standard deviation of the known positions, from keyframe to keyframe [m]"
    )
    rotation_std: float = Field(
        0.04, gt=0, description="standard deviation of the known rotations, from keyframe to keyframe [deg]"
    )


def estimate_corrections(
    keyframes: Sequence[Keyframe], triangulation: Triangulation, options: SelfCalibrationOptions
) -> Mapping[PinholeCamera, IntrinsicsCorrection]:
    """Estimate the intrinsics corrections of the cameras; without those that are not significant."""
    cameras = dict.fromkeys(keyframe.camera for keyframe in keyframes)
    estimates = {camera: _estimate(camera, keyframes, triangulation, options) for camera in cameras}
    return {camera: estimate for camera, estimate in estimates.items() if estimate is not None}


def calibration_warnings(corrections: Mapping[PinholeCamera, IntrinsicsCorrection]) -> list[str]:
    """Warning for every camera whose correction is so large that it should be calibrated again."""
    return [
        f"the calibration of the {camera.width}x{camera.height} camera (fx {camera.fx:g}) is off by up to "
        f"{correction.max_shift(camera):.1f} px (focal length {correction.focal:+.1%}, principal point "
        f"({correction.cx:+.1f}, {correction.cy:+.1f}) px), which the map corrects: calibrate the camera"
        for camera, correction in corrections.items()
        if correction.max_shift(camera) > _WARNING_SHIFT
    ]


def _estimate(
    camera: PinholeCamera,
    keyframes: Sequence[Keyframe],
    triangulation: Triangulation,
    options: SelfCalibrationOptions,
) -> IntrinsicsCorrection | None:
    """Correction of a camera from stretches all along the map; None if it is not significant."""
    observing = [i for i in np.unique(triangulation.keyframes).tolist() if keyframes[i].camera == camera]
    stretches = [observing[start : start + _STRETCH_LENGTH] for start in range(0, len(observing), _STRETCH_LENGTH)]
    if len(stretches) > _MAX_STRETCHES:
        stretches = [stretches[i] for i in evenly(len(stretches), _MAX_STRETCHES)]
    pose_std = np.array([options.position_std] * 3 + [np.radians(options.rotation_std)] * 3)
    hessian, gradient = np.diag(np.array(_PRIOR_STD) ** -2.0), np.zeros(4)
    for stretch in stretches:
        stretch_hessian, stretch_gradient = _normal_equations(camera, keyframes, triangulation, stretch, pose_std)
        hessian, gradient = hessian + stretch_hessian, gradient + stretch_gradient
    solution = np.linalg.solve(hessian, gradient)
    is_significant = gradient @ solution >= _SIGNIFICANT_CHI2
    return IntrinsicsCorrection(*map(float, solution)) if is_significant else None


def _normal_equations(
    camera: PinholeCamera,
    keyframes: Sequence[Keyframe],
    triangulation: Triangulation,
    stretch: Sequence[int],
    pose_std: Float64,
) -> tuple[Float64, Float64]:
    """Hessian (4, 4) and gradient (4,) of the calibration, from the observations of some keyframes.

    They come from one Gauss-Newton step over landmarks (l), poses (p) and calibration (c), with the Cauchy loss (1 px).
    With the residuals r as a last column of the Jacobian, its product holds the Hessian H and the gradient b::

                                           [H_ll  H_lp  H_lc  b_l    ]
        J = [J_l  J_p  J_c  r]   J^T W J = [ .    H_pp  H_pc  b_p    ]
                                           [ .     .    H_cc  b_c    ]
                                           [ .     .     .    r^T W r]

    Schur complements eliminate the landmarks, whose H_ll is block-diagonal, and then the poses, with their prior added
    to H_pp. With fixed poses, errors of the poses would be attributed to the calibration.

    Args:
        camera: camera of the keyframes.
        keyframes: keyframes of the map.
        triangulation: landmarks of the map and their observations.
        stretch: indices of the keyframes to use, all of this camera.
        pose_std: (6,) standard deviations of their poses: position [m], rotation [rad].
    """
    rows = triangulation.rows_of_keyframes(len(keyframes))
    parts = [_linearize(camera, keyframes[i], triangulation, rows[i]) for i in stretch]
    residuals, by_landmark, by_pose, by_calibration, landmarks = map(np.concatenate, zip(*parts, strict=True))
    weights = np.repeat(1 / (1 + (residuals**2).sum(axis=1)) / _CORRELATED, 2)
    poses = np.repeat(np.arange(len(stretch)), [len(part.residuals) for part in parts])
    observed, landmark_columns = np.unique(landmarks, return_inverse=True)
    landmark_jacobian = _sparse_jacobian(by_landmark, landmark_columns, len(observed))
    other_jacobian = sparse.hstack(
        [
            _sparse_jacobian(by_pose, poses, len(stretch)),
            by_calibration.reshape(-1, 4),
            residuals.reshape(-1, 1),
        ]
    ).tocsr()
    product = _eliminate_landmarks(landmark_jacobian, other_jacobian, weights)
    product = _eliminate_poses(product, np.diag(np.tile(pose_std**-2.0, len(stretch))))
    return product[:4, :4], product[:4, 4]


class _Linearization(NamedTuple):
    """Residuals of one keyframe's M observations and the derivatives of the pixels.

    Attributes:
        residuals: (M, 2) observed minus projected pixels [px].
        by_landmark: (M, 2, 3) derivatives by the landmark's position in the map.
        by_pose: (M, 2, 6) derivatives by the errors of the pose: position, rotation in the map frame.
        by_calibration: (M, 2, 4) derivatives by the parameters of ``IntrinsicsCorrection``.
        landmarks: (M,) indices of the landmarks.
    """

    residuals: Float64
    by_landmark: Float64
    by_pose: Float64
    by_calibration: Float64
    landmarks: Int32


def _linearize(camera: PinholeCamera, keyframe: Keyframe, triangulation: Triangulation, rows: slice) -> _Linearization:
    """Linearize the observations of a keyframe, which are these rows of the triangulation."""
    landmarks, map_from_cam = triangulation.landmarks[rows], keyframe.map_from_cam
    points = triangulation.positions[landmarks]
    points_cam = transform_points(map_from_cam.inverse(), points)
    pixels = camera.project(points_cam)[0]
    residuals = keyframe.features.keypoints[triangulation.keypoints[rows]] - pixels
    by_landmark = camera.projection_jacobian(points_cam) @ map_from_cam.rotation.matrix().T
    by_rotation = np.cross(by_landmark, (points - map_from_cam.translation)[:, None])
    by_pose = np.concatenate([-by_landmark, by_rotation], axis=2)
    return _Linearization(residuals, by_landmark, by_pose, shift_jacobian(pixels, camera), landmarks)


def _sparse_jacobian(jacobian: Float64, variables: Int64, num_variables: int) -> sparse.csr_matrix:
    """(2 M, V S) sparse Jacobian of M observations, each of which depends on one of V variables of size S.

    Args:
        jacobian: (M, 2, S) derivatives by that variable.
        variables: (M,) indices of the variables.
        num_variables: V.
    """
    count, size = len(jacobian), jacobian.shape[2]
    columns = np.repeat(size * variables[:, None] + np.arange(size), 2, axis=0).ravel()
    row_starts = np.arange(2 * count + 1) * size
    return sparse.csr_matrix((jacobian.ravel(), columns, row_starts), (2 * count, size * num_variables))


def _eliminate_landmarks(
    landmark_jacobian: sparse.csr_matrix, other_jacobian: sparse.csr_matrix, weights: Float64
) -> Float64:
    """Schur complement of the landmarks in the product J^T W J, for the other columns of the Jacobian."""
    weighted = landmark_jacobian.multiply(weights[:, None]).T.tocsr()
    coupling = weighted @ other_jacobian
    blocks = (weighted @ landmark_jacobian).tobsr((3, 3))
    blocks = blocks + _MIN_INFORMATION * sparse.identity(landmark_jacobian.shape[1], format="bsr")
    inverse = sparse.bsr_matrix((np.linalg.inv(blocks.data), blocks.indices, blocks.indptr))
    others = other_jacobian.T @ other_jacobian.multiply(weights[:, None])
    return np.asarray((others - coupling.T @ (inverse @ coupling)).toarray())


def _eliminate_poses(product: Float64, prior: Float64) -> Float64:
    """Schur complement of the poses, the first rows and columns of a product, with the Hessian of their prior."""
    pose, rest = slice(0, len(prior)), slice(len(prior), None)
    eliminated = np.linalg.solve(product[pose, pose] + prior, product[pose, rest])
    return product[rest, rest] - product[rest, pose] @ eliminated
