"""Normal equations of one pose: the Levenberg-Marquardt update and the covariance (PixLoc, Eq. 3 and 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float32, Float64

_MIN_DIAGONAL = 1e-9  # of the Hessian, as in the published code: no step in a direction without information


@dataclass(frozen=True)
class NormalEquations:
    """Normal equations in the update delta = [rho, phi] of exp(delta) * pose (PixLoc, Eq. 3).

    Attributes:
        hessian: (6, 6) H = J^T W J.
        gradient: (6,) J^T W r.
    """

    hessian: Float64
    gradient: Float64

    def moved(self, adjoint: Float64) -> "NormalEquations":
        """Equations in an update delta', of which delta = adjoint delta'."""
        return NormalEquations(adjoint.T @ self.hessian @ adjoint, adjoint.T @ self.gradient)


def solve(equations: Sequence[NormalEquations], damping: Float64) -> Float64:
    """Return (A, 6) Levenberg-Marquardt updates delta (PixLoc, Eq. 4); NaN where the equations are singular.

    delta = -(H + lambda diag(H))^-1 J^T W r, with (6,) ``damping`` lambda.
    """
    hessians = np.array([e.hessian for e in equations])
    gradients = np.array([e.gradient for e in equations])
    diagonals = np.einsum("bii->bi", hessians)
    damped = hessians + np.maximum(diagonals * damping, _MIN_DIAGONAL)[:, :, None] * np.eye(6)
    scales = 1 / np.sqrt(np.maximum(np.einsum("bii->bi", damped), _MIN_DIAGONAL))  # meters and radians alike
    conditioned = damped * scales[:, :, None] * scales[:, None, :]
    try:
        return -scales * np.linalg.solve(conditioned, (scales * gradients)[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        if len(equations) == 1:
            return np.full((1, 6), np.nan)
        return np.concatenate([solve([each], damping) for each in equations])


def residual_variance(weights: Float32, squared_residuals: Float32) -> float:
    """Return the variance of the residuals of (M,) landmarks at a pose that was fitted to them."""
    return float(weights @ squared_residuals) / max(len(weights) - 6, 1)


def contradiction(equations: NormalEquations, weights: Float32, squared_residuals: Float32) -> float:
    """Return the squared distance of a pose from the minimum, in units of the covariance there, to first order.

    It is g^T H^-1 g / variance, the score test's statistic; infinite if the Hessian is singular. Arguments as of
    ``covariance``.
    """
    try:
        step = np.linalg.solve(equations.hessian, equations.gradient)
    except np.linalg.LinAlgError:
        return np.inf
    return float(equations.gradient @ step) / max(residual_variance(weights, squared_residuals), 1e-12)


def covariance(equations: NormalEquations, weights: Float32, squared_residuals: Float32, rotation: Float64) -> Float64:
    """Return the (6, 6) covariance of map_from_cam: the inverse Hessian, scaled by the variance of the residuals.

    Args:
        equations: normal equations at the pose.
        weights: (M,) weights w rho' of the landmarks.
        squared_residuals: (M,) ||r||^2 of the landmarks.
        rotation: (3, 3) rotation of the pose cam_from_map.

    Returns:
        Covariance of [x y z, rotation] in the map frame [m^2, m rad, rad^2]; NaN if the Hessian is singular.
    """
    try:
        inverse = np.linalg.inv(equations.hessian)
    except np.linalg.LinAlgError:
        return np.full((6, 6), np.nan)
    variance = residual_variance(weights, squared_residuals)
    map_from_update = np.zeros((6, 6))  # exp(delta) cam_from_map moves map_from_cam by -R^T delta, to first order
    map_from_update[:3, :3] = map_from_update[3:, 3:] = -rotation.T
    of_pose = variance * map_from_update @ inverse @ map_from_update.T
    return 0.5 * (of_pose + of_pose.T)
