"""The normal equations of one pose: their damped solution, and what they say about its uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float32, Float64

_LEAST_DIAGONAL = 1e-9  # of the Hessian, as in the published code: a direction that nothing fixes stays


@dataclass(frozen=True)
class NormalEquations:
    """Normal equations in d of exp(d) * cam_from_map, d = [rho, phi] (PixLoc, eq. 3).

    Attributes:
        hessian: (6, 6).
        gradient: (6,).
    """

    hessian: Float64
    gradient: Float64


def solve(equations: Sequence[NormalEquations], damping: Float64) -> Float64:
    """(A, 6) steps of Levenberg and Marquardt with (6,) damping (PixLoc, eq. 4); NaN where they are singular."""
    hessians = np.array([e.hessian for e in equations])
    gradients = np.array([e.gradient for e in equations])
    diagonals = np.einsum("bii->bi", hessians)
    damped = hessians + np.maximum(diagonals * damping, _LEAST_DIAGONAL)[:, :, None] * np.eye(6)
    scales = 1 / np.sqrt(np.maximum(np.einsum("bii->bi", damped), _LEAST_DIAGONAL))  # metres and radians alike
    conditioned = damped * scales[:, :, None] * scales[:, None, :]
    try:
        return -scales * np.linalg.solve(conditioned, (scales * gradients)[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        if len(equations) == 1:
            return np.full((1, 6), np.nan)
        return np.concatenate([solve([each], damping) for each in equations])


def covariance(equations: NormalEquations, weights: Float32, squared: Float32, rotation: Float64) -> Float64:
    """(6, 6) inverse Hessian scaled by the residuals, of [x y z, rotation] in the map's frame; NaN if singular.

    Args:
        equations: at the pose.
        weights: (M,) of the landmarks in them.
        squared: (M,) their squared residuals.
        rotation: (3, 3) of cam_from_map.
    """
    try:
        inverse = np.linalg.inv(equations.hessian)
    except np.linalg.LinAlgError:
        return np.full((6, 6), np.nan)
    variance = float(weights @ squared) / max(len(weights) - 6, 1)
    turn = np.zeros((6, 6))
    turn[:3, :3] = turn[3:, 3:] = -rotation.T  # exp(d) cam_from_map moves map_from_cam by -R d, to first order
    of_pose = variance * turn @ inverse @ turn.T
    return 0.5 * (of_pose + of_pose.T)
