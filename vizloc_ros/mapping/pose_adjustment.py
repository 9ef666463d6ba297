"""Least squares over poses and landmarks: reprojection errors, and relative poses with their standard deviations.

Without landmarks this is the optimization of a pose graph, with them a bundle adjustment with priors on relative poses.
COLMAP's priors are on absolute positions, and the errors of poses that drift are not independent there.

A step moves the positions of a pose by dp [m] and rotates it by dphi [rad], both in the map frame:
``p + dp, exp(dphi) R``. The landmarks are eliminated (Schur complement). The first pose stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pycolmap import Rigid3d, Rotation3d
from scipy.sparse import coo_matrix, csc_matrix
from scipy.sparse.linalg import splu
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Bool, Float64, Int64
from vizloc_ros.geometry.camera import PinholeCamera

_FIRST_DAMPING, _DAMPING_FACTOR, _MAX_DAMPING = 1e-4, 6.0, 1e6
_SMALL_GAIN = 1e-4  # of the loss
_MIN_DEPTH = 0.1  # m
_BEHIND = 100.0  # px, the error of a landmark that came behind a camera


@dataclass(frozen=True)
class RelativePoses:
    """Measured poses i_from_j of pairs of cameras.

    Attributes:
        i: (E,) index of the first pose of each pair.
        j: (E,) index of the second pose.
        rotations: (E, 3, 3) rotations of i_from_j.
        translations: (E, 3) translations of i_from_j [m].
        stds: (E, 2) standard deviations of translation [m] and rotation [rad], the same along all axes.
        robust: (E,) whether the pair may be wrong: it has the Cauchy loss.
    """

    i: Int64
    j: Int64
    rotations: Float64
    translations: Float64
    stds: Float64
    robust: Bool

    @classmethod
    def of(
        cls, pairs: Sequence[tuple[int, int]], poses: Sequence[Rigid3d], stds: Float64, *, robust: bool
    ) -> "RelativePoses":
        """Relative poses from the pairs (i, j), ``Rigid3d`` i_from_j and (E, 2) standard deviations."""
        i, j = np.array(pairs, np.int64).reshape(-1, 2).T
        rotations = np.array([p.rotation.matrix() for p in poses]).reshape(-1, 3, 3)
        translations = np.array([p.translation for p in poses]).reshape(-1, 3)
        return cls(i, j, rotations, translations, np.reshape(stds, (-1, 2)), np.full(len(i), robust))

    def __add__(self, other: "RelativePoses") -> "RelativePoses":
        names = ("i", "j", "rotations", "translations", "stds", "robust")
        return RelativePoses(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))


@dataclass(frozen=True)
class Observations:
    """Pixels at which cameras see landmarks.

    Attributes:
        poses: (M,) index of the pose of the camera.
        landmarks: (M,) index of the landmark.
        pixels: (M, 2) pixels.
        cameras: camera of each of the N poses.
        loss_px: error at which the Cauchy loss bends [px].
    """

    poses: Int64
    landmarks: Int64
    pixels: Float64
    cameras: Sequence[PinholeCamera]
    loss_px: float = 1.0

    @property
    def focal_lengths(self) -> Float64:
        """(M, 2) focal lengths [px]."""
        return np.array([(c.fx, c.fy) for c in self.cameras])[self.poses]

    @property
    def principal_points(self) -> Float64:
        """(M, 2) principal points [px]."""
        return np.array([(c.cx, c.cy) for c in self.cameras])[self.poses]


@dataclass(frozen=True)
class State:
    """Poses map_from_cam and landmarks.

    Attributes:
        rotations: (N, 3, 3) rotations.
        centers: (N, 3) positions [m].
        landmarks: (P, 3) positions of landmarks [m].
    """

    rotations: Float64
    centers: Float64
    landmarks: Float64

    @classmethod
    def of(cls, poses: Sequence[Rigid3d], landmarks: Float64 | None = None) -> "State":
        """State of poses map_from_cam."""
        rotations = np.array([p.rotation.matrix() for p in poses])
        points = np.zeros((0, 3)) if landmarks is None else landmarks
        return cls(rotations, np.array([p.translation for p in poses]), points)

    @property
    def poses(self) -> list[Rigid3d]:
        """Poses map_from_cam."""
        return [Rigid3d(Rotation3d(r), p) for r, p in zip(self.rotations, self.centers, strict=True)]

    def moved(self, step: Float64, by_landmark: Float64) -> "State":
        """State after a step (N, 6) of the poses and (P, 3) of the landmarks."""
        turned = Rotation.from_rotvec(step[:, 3:]).as_matrix() @ self.rotations
        return State(turned, self.centers + step[:, :3], self.landmarks + by_landmark)


def relative_residuals(state: State, relative: RelativePoses) -> tuple[Float64, Float64, Float64]:
    """Residuals (E, 6) [translation, rotation] in standard deviations, and (E, 6, 6) Jacobians by the poses i and j.

    With ``v = p_j - p_i``: ``r_t = R_i^T v - t`` and ``r_phi = log(R^T R_i^T R_j)``, for a measured [R, t].
    """
    to_i = state.rotations[relative.i].transpose(0, 2, 1)
    v = state.centers[relative.j] - state.centers[relative.i]
    r_t = np.einsum("eab,eb->ea", to_i, v) - relative.translations
    error = relative.rotations.transpose(0, 2, 1) @ to_i @ state.rotations[relative.j]
    r_phi = Rotation.from_matrix(error).as_rotvec() if len(v) else np.zeros((0, 3))
    inverse = _right_jacobian_inverse(r_phi) @ state.rotations[relative.j].transpose(0, 2, 1)
    by_i, by_j = np.zeros((len(v), 6, 6)), np.zeros((len(v), 6, 6))
    by_i[:, :3, :3], by_j[:, :3, :3] = -to_i, to_i
    by_i[:, :3, 3:] = to_i @ _cross_matrices(v)
    by_i[:, 3:, 3:], by_j[:, 3:, 3:] = -inverse, inverse
    weights = 1.0 / np.repeat(relative.stds, 3, axis=1)
    residuals = np.concatenate([r_t, r_phi], axis=1) * weights
    return residuals, by_i * weights[:, :, None], by_j * weights[:, :, None]


def reprojection_residuals(state: State, seen: Observations) -> tuple[Float64, Float64, Float64]:
    """Residuals (M, 2) [px], and Jacobians (M, 2, 6) by the pose and (M, 2, 3) by the landmark.

    A landmark behind its camera has a large constant residual.
    """
    to_cam = state.rotations[seen.poses].transpose(0, 2, 1)
    lever = state.landmarks[seen.landmarks] - state.centers[seen.poses]
    points = np.einsum("mab,mb->ma", to_cam, lever)
    behind = points[:, 2] < _MIN_DEPTH
    depth = np.where(behind, 1.0, points[:, 2])
    focal = seen.focal_lengths
    rays = points[:, :2] / depth[:, None]
    residuals = focal * rays + seen.principal_points - seen.pixels
    by_point = np.zeros((len(points), 2, 3))
    by_point[:, 0, 0], by_point[:, 1, 1] = (focal / depth[:, None]).T
    by_point[:, :, 2] = -focal * rays / depth[:, None]
    by_landmark = by_point @ to_cam
    residuals[behind], by_landmark[behind] = _BEHIND, 0.0
    return residuals, np.concatenate([-by_landmark, np.cross(by_landmark, lever[:, None, :])], axis=2), by_landmark


def adjust(state: State, relative: RelativePoses, seen: Observations | None = None, max_steps: int = 30) -> State:
    """Move poses and landmarks to where the loss is minimal (Levenberg-Marquardt); the first pose stays.

    Args:
        state: poses and landmarks to begin with.
        relative: measured relative poses; they must connect all poses.
        seen: observations of the landmarks; None: the poses alone are adjusted.
        max_steps: largest number of trials.
    """
    if seen is None:
        seen = Observations(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2)), [])
        state = replace(state, landmarks=np.zeros((0, 3)))
    damping, loss = _FIRST_DAMPING, _loss(state, relative, seen)
    system = _System(state, relative, seen)
    for _ in range(max_steps):
        moved = state.moved(*system.step(damping))
        moved_loss = _loss(moved, relative, seen)
        if not moved_loss <= loss:
            damping *= _DAMPING_FACTOR
            if damping > _MAX_DAMPING:
                break
            continue
        gain = loss - moved_loss
        state, loss, damping = moved, moved_loss, damping / _DAMPING_FACTOR
        if gain <= _SMALL_GAIN * loss:
            break
        system = _System(state, relative, seen)
    return state


def _loss(state: State, relative: RelativePoses, seen: Observations) -> float:
    between = (relative_residuals(state, relative)[0] ** 2).sum(axis=1)
    total = float(between[~relative.robust].sum() + np.log1p(between[relative.robust]).sum())
    if len(seen.poses):
        squared = (reprojection_residuals(state, seen)[0] ** 2).sum(axis=1) / seen.loss_px**2
        total += float(seen.loss_px**2 * np.log1p(squared).sum())
    return total


class _System:
    """Normal equations of a state, in which robust losses weigh the residuals."""

    def __init__(self, state: State, relative: RelativePoses, seen: Observations) -> None:
        self._count, self._seen = len(state.centers), seen
        diagonal = np.zeros((self._count, 6, 6))
        self._gradient = np.zeros((self._count, 6))
        residuals, by_i, by_j = relative_residuals(state, relative)
        weights = np.where(relative.robust, 1.0 / (1.0 + (residuals**2).sum(axis=1)), 1.0)[:, None, None]
        for index, jacobian in ((relative.i, by_i), (relative.j, by_j)):
            np.add.at(diagonal, index, (weights * jacobian).transpose(0, 2, 1) @ jacobian)
            np.add.at(self._gradient, index, np.einsum("eki,ek->ei", weights * jacobian, residuals))
        self._between = (weights * by_i).transpose(0, 2, 1) @ by_j
        self._pairs = relative.i, relative.j
        errors, by_pose, by_landmark = (
            reprojection_residuals(state, seen) if len(seen.poses) else (np.zeros((0, n)) for n in (2, 2, 2))
        )
        self._curvature = np.zeros((len(state.landmarks), 3, 3))
        self._landmark_gradient = np.zeros((len(state.landmarks), 3))
        self._across = np.zeros((len(seen.poses), 6, 3))
        if len(seen.poses):
            weighted = (1.0 / (1.0 + (errors**2).sum(axis=1) / seen.loss_px**2))[:, None, None] * by_pose
            scaled = (1.0 / (1.0 + (errors**2).sum(axis=1) / seen.loss_px**2))[:, None, None] * by_landmark
            np.add.at(diagonal, seen.poses, weighted.transpose(0, 2, 1) @ by_pose)
            np.add.at(self._gradient, seen.poses, np.einsum("mki,mk->mi", weighted, errors))
            np.add.at(self._curvature, seen.landmarks, scaled.transpose(0, 2, 1) @ by_landmark)
            np.add.at(self._landmark_gradient, seen.landmarks, np.einsum("mki,mk->mi", scaled, errors))
            self._across = weighted.transpose(0, 2, 1) @ by_landmark
        self._diagonal = diagonal

    def step(self, damping: float) -> tuple[Float64, Float64]:
        """Step (N, 6) of the poses and (P, 3) of the landmarks."""
        diagonal = _damped(self._diagonal, damping)
        rows, columns, values = [np.arange(self._count)], [np.arange(self._count)], [diagonal]
        i, j = self._pairs
        rows, columns = [*rows, i, j], [*columns, j, i]
        values += [self._between, self._between.transpose(0, 2, 1)]
        reduced = _sparse(np.concatenate(rows), np.concatenate(columns), np.concatenate(values), self._count)
        gradient, by_landmark = self._gradient.copy(), np.zeros_like(self._landmark_gradient)
        inverse: Float64 = np.zeros((0, 3, 3))
        if len(self._across):
            seen, count = self._seen, len(self._curvature)
            inverse = np.asarray(np.linalg.inv(_damped(self._curvature, damping) + 1e-9 * np.eye(3)), np.float64)
            eliminated = self._across @ inverse[seen.landmarks]
            shape = (seen.poses, seen.landmarks)
            reduced = reduced - _sparse(*shape, eliminated, self._count, count) @ (
                _sparse(*shape, self._across, self._count, count).T
            )
            moved = np.einsum("mik,mk->mi", eliminated, self._landmark_gradient[seen.landmarks])
            np.subtract.at(gradient, seen.poses, moved)
        step = np.zeros((self._count, 6))
        solver = splu(csc_matrix(reduced[6:, 6:]), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        step[1:] = -solver.solve(gradient[1:].ravel()).reshape(-1, 6)
        if len(self._across):
            pulled = self._landmark_gradient.copy()
            np.add.at(pulled, self._seen.landmarks, np.einsum("mik,mi->mk", self._across, step[self._seen.poses]))
            by_landmark = -np.einsum("pik,pk->pi", inverse, pulled)
        return step, by_landmark


def _damped(blocks: Float64, damping: float) -> Float64:
    """Copies of (K, n, n) blocks with their diagonals enlarged (Marquardt)."""
    damped = blocks.copy()
    along = np.arange(blocks.shape[1])
    damped[:, along, along] *= 1.0 + damping
    return damped


def _sparse(
    rows: Int64, columns: Int64, blocks: Float64, row_count: int, column_count: int | None = None
) -> csc_matrix:
    """Sparse matrix of (K, a, b) blocks at block rows and columns (K,); those at the same place are added."""
    _, a, b = blocks.shape
    shape = (row_count * a, (row_count if column_count is None else column_count) * b)
    at_row = (rows[:, None, None] * a + np.arange(a)[:, None]).repeat(b, axis=2)
    at_column = (columns[:, None, None] * b + np.arange(b)).repeat(a, axis=1)
    return coo_matrix((blocks.ravel(), (at_row.ravel(), at_column.ravel())), shape=shape).tocsc()


def _cross_matrices(vectors: Float64) -> Float64:
    """Cross-product matrices (E, 3, 3) of vectors (E, 3)."""
    matrices = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    matrices[:, 0, 1], matrices[:, 0, 2], matrices[:, 1, 2] = -z, y, -x
    return matrices - matrices.transpose(0, 2, 1)


def _right_jacobian_inverse(phi: Float64) -> Float64:
    """Inverse right Jacobians (E, 3, 3) of rotation vectors (E, 3): ``I + phi^ / 2 + c phi^ phi^``."""
    theta = np.linalg.norm(phi, axis=1)
    safe = np.where(theta > 1e-3, theta, 1.0)
    exact = (1.0 - safe / 2.0 / np.tan(safe / 2.0)) / safe**2
    c = np.where(theta > 1e-3, exact, 1.0 / 12.0 + theta**2 / 720.0)
    cross = _cross_matrices(phi)
    return np.eye(3) + cross / 2.0 + c[:, None, None] * (cross @ cross)
