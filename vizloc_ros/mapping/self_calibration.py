"""Self-calibration: intrinsics corrections of the map's cameras from its landmarks and known poses.

Triangulated landmarks fit the images of the map even with a wrong calibration: its errors become errors of depth, which
show in queries from other viewpoints. Many tracks across the image separate the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pycolmap import Rigid3d
from pydantic import Field
from scipy import sparse

from vizloc_ros.arrays import Float32, Float64, Int64, evenly
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera, shift_jacobian
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.triangulation import Triangulation
from vizloc_ros.options import Options
from vizloc_ros.parallel import silent
from vizloc_ros.work.stages import IN_MEMORY, Arrays, Stages

_PRIOR_STD = (0.005, 2.0, 2.0, 0.01)  # standard deviations of the errors of a calibration: focal, cx, cy, radial
_STRETCH_LENGTH = 50  # keyframes of a stretch at most, whose unknowns are eliminated together
_MAX_STRETCHES = 12
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
    keyframes: Sequence[Keyframe],
    triangulation: Triangulation,
    options: SelfCalibrationOptions,
    work: Stages = IN_MEMORY,
) -> Mapping[PinholeCamera, IntrinsicsCorrection]:
    """Estimate the intrinsics corrections of the cameras, without those that are not significant.

    Args:
        keyframes: keyframes of the map.
        triangulation: landmarks of the map and their observations.
        options: accuracy of the known poses.
        work: place where the stretches are computed.
    """
    rows = triangulation.rows_of_keyframes(len(keyframes))
    cameras = dict.fromkeys(keyframe.camera for keyframe in keyframes)
    chosen = {camera: _stretches(camera, keyframes, triangulation) for camera in cameras}
    stretches = [
        _Stretch.of(camera, keyframes, triangulation, rows, stretch)
        for camera, of_camera in chosen.items()
        for stretch in of_camera
    ]
    sums = {camera: (np.diag(np.array(_PRIOR_STD) ** -2.0), np.zeros(4)) for camera in cameras}
    equations = work.map("equations", _NormalEquations(options), stretches, "calibrating cameras", silent)
    for stretch, (hessian, gradient) in zip(stretches, equations, strict=True):
        sums[stretch.camera] = sums[stretch.camera][0] + hessian, sums[stretch.camera][1] + gradient
    solutions = {camera: np.linalg.solve(hessian, gradient) for camera, (hessian, gradient) in sums.items()}
    return {
        camera: IntrinsicsCorrection(*map(float, solution))
        for camera, solution in solutions.items()
        if sums[camera][1] @ solution >= _SIGNIFICANT_CHI2
    }


def calibration_warnings(corrections: Mapping[PinholeCamera, IntrinsicsCorrection]) -> list[str]:
    """Warning for every camera whose correction is so large that it should be calibrated again."""
    return [
        f"the calibration of the {camera.width}x{camera.height} camera (fx {camera.fx:g}) is off by up to "
        f"{correction.max_shift(camera):.1f} px (focal length {correction.focal:+.1%}, principal point "
        f"({correction.cx:+.1f}, {correction.cy:+.1f}) px), which the map corrects: calibrate the camera"
        for camera, correction in corrections.items()
        if correction.max_shift(camera) > _WARNING_SHIFT
    ]


def _stretches(camera: PinholeCamera, keyframes: Sequence[Keyframe], triangulation: Triangulation) -> list[list[int]]:
    """Keyframes of a camera, in stretches all along the map."""
    observing = [i for i in np.unique(triangulation.keyframes).tolist() if keyframes[i].camera == camera]
    if not observing:
        return []
    stretches = [part.tolist() for part in np.array_split(observing, -(-len(observing) // _STRETCH_LENGTH))]
    if len(stretches) > _MAX_STRETCHES:
        stretches = [stretches[i] for i in evenly(len(stretches), _MAX_STRETCHES)]
    return stretches


class _View(NamedTuple):
    """Observations of a keyframe of a stretch.

    Attributes:
        map_from_cam: pose of the keyframe.
        pixels: (M, 2) keypoints of its observations [px].
        landmarks: (M,) their landmarks, by number in the stretch.
    """

    map_from_cam: Rigid3d
    pixels: Float32
    landmarks: Int64


@dataclass(frozen=True)
class _Stretch:
    """Keyframes of one camera, and what they see.

    Attributes:
        camera: the camera.
        positions: (L, 3) positions of the landmarks that the keyframes see [m].
        views: view of each keyframe.
    """

    camera: PinholeCamera
    positions: Float64
    views: list[_View]

    @classmethod
    def of(
        cls,
        camera: PinholeCamera,
        keyframes: Sequence[Keyframe],
        triangulation: Triangulation,
        rows: Sequence[slice],
        stretch: Sequence[int],
    ) -> "_Stretch":
        """Stretch of some keyframes, by index; ``rows`` are those of the observations of every keyframe."""
        seen = [triangulation.landmarks[rows[i]] for i in stretch]
        observed, numbers = np.unique(np.concatenate(seen), return_inverse=True)
        of_views = np.split(numbers, np.cumsum([len(landmarks) for landmarks in seen])[:-1])
        pixels = [keyframes[i].features.keypoints[triangulation.keypoints[rows[i]]] for i in stretch]
        poses = [keyframes[i].map_from_cam for i in stretch]
        return cls(camera, triangulation.positions[observed], list(map(_View, poses, pixels, of_views)))


@dataclass(frozen=True)
class _NormalEquations:
    """Function of the stage: Hessian (4, 4) and gradient (4,) of the calibration, from a stretch.

    They come from one Gauss-Newton step over landmarks (l), poses (p) and calibration (c), with the Cauchy loss (1 px).
    With the residuals r as a last column of the Jacobian, its product holds the Hessian H and the gradient b::

                                           [H_ll  H_lp  H_lc  b_l    ]
        J = [J_l  J_p  J_c  r]   J^T W J = [ .    H_pp  H_pc  b_p    ]
                                           [ .     .    H_cc  b_c    ]
                                           [ .     .     .    r^T W r]

    Schur complements eliminate the landmarks, whose H_ll is block-diagonal, and then the poses, with their prior added
    to H_pp. With fixed poses, errors of the poses would be attributed to the calibration.

    Attributes:
        options: standard deviations of the known poses.
    """

    options: SelfCalibrationOptions

    def __call__(self, stretch: _Stretch) -> Arrays:
        pose_std = np.array([self.options.position_std] * 3 + [np.radians(self.options.rotation_std)] * 3)
        count = len(stretch.views)
        parts = [_linearize(stretch.camera, stretch.positions, view) for view in stretch.views]
        residuals, by_landmark, by_pose, by_calibration = map(np.concatenate, zip(*parts, strict=True))
        weights = np.repeat(1 / (1 + (residuals**2).sum(axis=1)) / _CORRELATED, 2)
        poses = np.repeat(np.arange(count), [len(part.residuals) for part in parts])
        landmarks = np.concatenate([view.landmarks for view in stretch.views])
        landmark_jacobian = _sparse_jacobian(by_landmark, landmarks, len(stretch.positions))
        other_jacobian = sparse.hstack(
            [
                _sparse_jacobian(by_pose, poses, count),
                by_calibration.reshape(-1, 4),
                residuals.reshape(-1, 1),
            ]
        ).tocsr()
        product = _eliminate_landmarks(landmark_jacobian, other_jacobian, weights)
        product = _eliminate_poses(product, np.diag(np.tile(pose_std**-2.0, count)))
        return product[:4, :4], product[:4, 4]


class _Linearization(NamedTuple):
    """Residuals of one keyframe's M observations and the derivatives of the pixels.

    Attributes:
        residuals: (M, 2) observed minus projected pixels [px].
        by_landmark: (M, 2, 3) derivatives by the landmark's position in the map.
        by_pose: (M, 2, 6) derivatives by the errors of the pose: position, rotation in the map frame.
        by_calibration: (M, 2, 4) derivatives by the parameters of ``IntrinsicsCorrection``.
    """

    residuals: Float64
    by_landmark: Float64
    by_pose: Float64
    by_calibration: Float64


def _linearize(camera: PinholeCamera, positions: Float64, view: _View) -> _Linearization:
    """Linearize the observations of a keyframe."""
    map_from_cam, points = view.map_from_cam, positions[view.landmarks]
    points_cam = transform_points(map_from_cam.inverse(), points)
    pixels = camera.project(points_cam)[0]
    residuals = view.pixels - pixels
    by_landmark = camera.projection_jacobian(points_cam) @ map_from_cam.rotation.matrix().T
    by_rotation = np.cross(by_landmark, (points - map_from_cam.translation)[:, None])
    by_pose = np.concatenate([-by_landmark, by_rotation], axis=2)
    return _Linearization(residuals, by_landmark, by_pose, shift_jacobian(pixels, camera))


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
