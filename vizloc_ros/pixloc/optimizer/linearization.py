"""Residuals of the landmarks of all views, linearized at poses of the rig (PixLoc, Eq. 1 to 3 and 6)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vizloc_ros.arrays import Float32, Float64, Int64
from vizloc_ros.pixloc.optimizer.equations import NormalEquations, contradiction
from vizloc_ros.pixloc.optimizer.levels import Level
from vizloc_ros.pixloc.optimizer.robust import BarronLoss


class ViewLinearization(NamedTuple):
    """Residuals of the M landmarks in the image of one view, linearized at one pose.

    Attributes:
        jacobian_u: (6, M) du / d delta, derivative of the columns on the level by the update of the camera's pose.
        jacobian_v: (6, M) dv / d delta, derivative of the rows.
        adjoint: (6, 6) derivative of this update by that of the rig's pose; None if that is the camera's.
        squared_residuals: (M,) ||r||^2.
        confidences: (M,) weights w = u_q u_k (Eq. 6).
        weights: (M,) w rho', the diagonal of W (Eq. 3).
        equations: normal equations of the camera's pose.
    """

    jacobian_u: Float64
    jacobian_v: Float64
    adjoint: Float64 | None
    squared_residuals: Float32
    confidences: Float32
    weights: Float32
    equations: NormalEquations

    @property
    def num_points(self) -> int:
        """Number of landmarks."""
        return len(self.squared_residuals)

    @property
    def equations_of_rig(self) -> NormalEquations:
        """Normal equations of the rig's pose."""
        return self.equations if self.adjoint is None else self.equations.moved(self.adjoint)

    @property
    def contradiction(self) -> float:
        """Squared distance of the pose from the one that this view alone would have, see ``contradiction``."""
        return contradiction(self.equations, self.weights, self.squared_residuals)


class Linearization(NamedTuple):
    """Residuals of the landmarks of all views, linearized at one pose of the rig.

    Attributes:
        views: residuals of each view; one or more.
        num_points: number of landmarks.
        equations: normal equations of the rig's pose: those of the cameras' poses, moved to the rig and added up.
    """

    views: Sequence[ViewLinearization]
    num_points: int
    equations: NormalEquations

    @classmethod
    def of(cls, views: Sequence[ViewLinearization]) -> "Linearization":
        """Linearization of one or more views."""
        if len(views) == 1:
            return cls(views, views[0].num_points, views[0].equations_of_rig)
        moved = [view.equations_of_rig for view in views]
        hessian = np.sum([each.hessian for each in moved], axis=0)
        equations = NormalEquations(hessian, np.sum([each.gradient for each in moved], axis=0))
        return cls(views, sum(view.num_points for view in views), equations)

    @property
    def squared_residuals(self) -> Float32:
        """Squared residuals (M,) of all landmarks."""
        return np.concatenate([view.squared_residuals for view in self.views])

    @property
    def weights(self) -> Float32:
        """Weights (M,) w rho' of all landmarks."""
        return np.concatenate([view.weights for view in self.views])

    def rms_motion(self, update: Float64) -> float:
        """Return by how much an update moves the landmarks, as root mean square [pixels of the level]."""
        squared = 0.0
        for view in self.views:
            of_camera = update if view.adjoint is None else view.adjoint @ update
            u, v = of_camera @ view.jacobian_u, of_camera @ view.jacobian_v
            squared += float(u @ u + v @ v)
        return float(np.sqrt(squared / self.num_points))

    def cost(self, loss: BarronLoss) -> float:
        """Return the robust cost (PixLoc, Eq. 2), divided by the sum of the confidences."""
        costs = total = 0.0
        for view in self.views:
            confidences = view.confidences.astype(np.float64)
            costs += float(confidences @ loss.cost(view.squared_residuals))
            total += float(confidences.sum())
        return costs / max(total, 1e-9)


def inlier_ratio(views: Sequence[ViewLinearization], inlier_distance: float) -> float:
    """Ratio of the landmarks of views, by confidence, with a residual below ``inlier_distance``; 0 without any."""
    inliers = total = 0.0
    for view in views:
        confidences = view.confidences.astype(np.float64)
        inliers += float(confidences @ (view.squared_residuals < inlier_distance**2))
        total += float(confidences.sum())
    return inliers / max(total, 1e-9)


def linearize(level: Level, active: Int64, rotations: Float64, translations: Float64) -> list[ViewLinearization]:
    """Linearize the residuals of a level at each of A poses: projection, lookup, weights, normal equations.

    Let F_u and F_v be the derivatives of the features by the position p = (u, v) on the level. A residual has the
    Jacobian J = F_u du + F_v dv (PixLoc, Eq. 3). So J^T J and J^T r need only products such as F_u . F_v.

    Args:
        level: level of one view.
        active: (A,) indices of the poses among those that the level has slots for.
        rotations: (A, 3, 3) rotations of rig_from_map.
        translations: (A, 3) translations [m].
    """
    projected = level.camera.project(*level.cams_from_map(rotations, translations), level.points)
    count = level.points.shape[1]
    in_image = np.flatnonzero(projected.in_front & level.contains(projected.u, projected.v))
    row, landmark = np.divmod(in_image, count)
    points = projected.take(in_image)

    products = level.products_at(active[row] * count + landmark, points.u, points.v)  # Eq. 1
    confidences = products.confidences * level.confidences[landmark]  # Eq. 6
    weights = confidences * level.loss.weight(products.squared_residuals)  # W = w rho'

    du, dv = level.camera.jacobian(points.x, points.y, points.inverse_depth)
    xx, xy, yy = weights * products.xx, weights * products.xy, weights * products.yy
    weighted_u, weighted_v = xx * du + xy * dv, xy * du + yy * dv
    xr, yr = weights * products.xr, weights * products.yr

    linearizations = []  # H = J^T W J and J^T W r of each pose, Eq. 3
    bounds = np.searchsorted(in_image, count * np.arange(len(active) + 1))
    for own in map(slice, bounds[:-1], bounds[1:]):  # the landmarks of one pose
        own_du, own_dv = du[:, own], dv[:, own]
        hessian = own_du @ weighted_u[:, own].T + own_dv @ weighted_v[:, own].T
        equations = NormalEquations(hessian, own_du @ xr[own] + own_dv @ yr[own])
        squared = products.squared_residuals[own]
        linearizations.append(
            ViewLinearization(own_du, own_dv, level.adjoint, squared, confidences[own], weights[own], equations)
        )
    return linearizations
