"""Plain formulation for comparison: PixLoc's optimizer as in its equations (PixLoc, Eq. 1 to 5).

In every iteration the feature map is sampled at five points around each landmark (itself, and a step to each side). The
N x C x 6 Jacobian of all residuals is formed, and the Hessian is summed from it, with all landmarks on all levels.
Levels, loss, weights, damping, initial pose and stopping condition are ours, so that only the formulation differs. The
published code tests the stopping condition only in every tenth iteration.
"""

from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float32, Float64
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.poses import pose_from_matrix
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions, LearnedAlignment
from vizloc_ros.pixloc.optimizer.equations import NormalEquations, solve
from vizloc_ros.pixloc.optimizer.projection import LevelCamera, apply_left_update
from vizloc_ros.pixloc.pyramid import FeatureLevel, FeaturePyramid
from vizloc_ros.pixloc.references import References


@dataclass(frozen=True)
class PlainAligner:
    """Alignment of one image from one prior.

    Attributes:
        learned: damping and robust loss.
        options: iterations and stopping condition.
        tap: distance of the four outer taps from the central one [pixels of the level]; the published code has 1.
        check_every: number of iterations between tests of the stopping condition.
    """

    learned: LearnedAlignment
    options: AlignmentOptions
    tap: float = 1.0
    check_every: int = 1

    def align(
        self,
        pyramid: FeaturePyramid,
        references: References,
        camera: PinholeCamera,
        prior: Rigid3d,
        correction: IntrinsicsCorrection,
    ) -> tuple[Rigid3d, int]:
        """Pose cam_from_map, and the number of iterations."""
        matrix, total = prior.matrix(), 0
        rotation, translation = matrix[None, :, :3].copy(), matrix[None, :, 3].copy()
        for index in reversed(range(len(pyramid))):
            level, reference = pyramid.levels[index], references.levels[index]
            enough = self.options.coarse_min_motion if index else self.options.min_motion
            for iteration in range(self.options.max_iterations):
                of_level = LevelCamera(camera, correction, level.scale)
                projected = of_level.project(rotation, translation, references.positions.T)
                u, v = projected.u[0], projected.v[0]
                inside = projected.in_front[0] & (u >= 0) & (v >= 0)
                inside &= (u <= level.shape[1] - 1) & (v <= level.shape[0] - 1)
                if inside.sum() < self.options.min_landmarks:
                    break
                points = projected.take(np.flatnonzero(inside))
                positions = np.stack([points.u, points.v], axis=1)
                features, confidences = _sampled(level, positions)
                gradient = np.stack([self._slope(level, positions, axis) for axis in (0, 1)], axis=2)
                residuals = features - reference.features[inside]
                squared = (residuals * residuals).sum(axis=1)
                weights = confidences * reference.confidences[inside] * self.learned.loss.weight(squared)
                by_pose = np.stack(of_level.jacobian(points.x, points.y, points.inverse_depth)).transpose(2, 0, 1)
                jacobian = gradient @ by_pose  # (N, C, 6)
                rows = jacobian.reshape(-1, 6)
                weighted = (weights[:, None, None] * jacobian).reshape(-1, 6)
                equations = NormalEquations(weighted.T @ rows, weighted.T @ residuals.reshape(-1))
                step = solve([equations], self.learned.dampings[index])
                rotation, translation = apply_left_update(rotation, translation, step)
                total += 1
                motion = by_pose @ step[0]
                small = np.sqrt((motion * motion).sum(axis=1).mean()) <= enough
                if small and iteration % self.check_every == 0:
                    break
        return pose_from_matrix(np.column_stack([rotation[0], translation[0]])), total

    def _slope(self, level: FeatureLevel, positions: Float64, axis: int) -> Float32:
        """(N, C) derivative along an axis, from the two taps on it."""
        step = np.zeros(2)
        step[axis] = self.tap
        ahead, _ = _sampled(level, positions + step)
        behind, _ = _sampled(level, positions - step)
        return (ahead - behind) / np.float32(2 * self.tap)


def _sampled(level: FeatureLevel, positions: Float64) -> tuple[Float32, Float32]:
    """Bilinear samples of features (N, C) and confidences (N,) at (N, 2) positions, which are clipped to the level."""
    rows, columns = level.shape
    positions = positions.clip(0, (columns - 1, rows - 1))
    corner = np.minimum(positions.astype(np.int64), (columns - 2, rows - 2))
    x, y = (positions - corner).astype(np.float32).T
    left, top = corner.T
    corners = ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1))
    weights = ((1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y)
    features = sum(w[:, None] * level.features[c] for w, c in zip(weights, corners, strict=True))
    confidences = sum(w * level.confidences[c] for w, c in zip(weights, corners, strict=True))
    return np.asarray(features), np.asarray(confidences)
