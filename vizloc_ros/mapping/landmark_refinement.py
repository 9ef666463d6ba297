"""Refinement of landmarks under fixed poses: the least sum of squared reprojection errors of each, or of a robust loss.

Landmarks do not depend on each other, so Levenberg and Marquardt's method takes a step of all at once, each with its
own damping.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Bool, Float64, Int32, Int64
from vizloc_ros.mapping.keyframe_pairs import Keyframe

_BLOCK = 100_000  # observations that are in memory at a time, with their derivatives
_MAX_STEPS = 50
_FIRST_DAMPING, _LEAST_DAMPING = 1e-4, 1e-9  # of the diagonal of the Hessian
_CONVERGED, _EXACT = 1e-9, 1e-12  # decrease of the squared errors: relative, absolute [px^2]
_BEHIND = 1e6  # px; error of a landmark that is not in front of a camera


@dataclass(frozen=True)
class Views:
    """Views of M observations.

    Attributes:
        rotations: (M, 3, 3) rotations cam_from_map.
        translations: (M, 3) translations cam_from_map [m].
        focal: (M, 2) focal lengths [px].
        rays: (M, 2) where the landmark is seen at a depth of 1 m [m].
    """

    rotations: Float64
    translations: Float64
    focal: Float64
    rays: Float64

    @classmethod
    def of(cls, keyframes: Sequence[Keyframe], owners: Int64, keypoints: Int64) -> "Views":
        """Views of observations: (M,) indices of their keyframes, and of their keypoints in these."""
        poses = np.array([k.map_from_cam.inverse().matrix() for k in keyframes])
        focal = np.array([(k.camera.fx, k.camera.fy) for k in keyframes])
        rays = [k.camera.rays(k.features.keypoints.astype(np.float64))[:, :2] for k in keyframes]
        offsets = np.cumsum([0, *(len(of_keyframe) for of_keyframe in rays)])
        return cls(
            poses[owners, :, :3],
            poses[owners, :, 3],
            focal[owners],
            np.concatenate(rays)[offsets[owners] + keypoints],
        )

    def at(self, rows: "Int64 | Bool") -> "Views":
        """Views of some of the observations."""
        return Views(self.rotations[rows], self.translations[rows], self.focal[rows], self.rays[rows])


def refined_points(
    points: Float64, of_rows: Int32 | Int64, views: Views, loss_px: float = np.inf
) -> tuple[Float64, Float64]:
    """Points (G, 3) with the least loss of the reprojection errors, and the errors (M,) of the observations [px].

    Args:
        points: (G, 3) first guesses; those without an observation stay.
        of_rows: (M,) point of each observation.
        views: the observations; poses and cameras are fixed.
        loss_px: scale of the Cauchy loss; infinite for the squares of the errors.
    """
    refined, errors = points.copy(), np.zeros(len(of_rows))
    rows = np.argsort(of_rows, kind="stable")
    seen, starts = np.unique(of_rows[rows], return_index=True)
    ends = np.append(starts[1:], len(rows))
    for block in np.split(np.arange(len(seen)), np.flatnonzero(np.diff(starts // _BLOCK)) + 1):
        if len(block):
            taken = rows[starts[block[0]] : ends[block[-1]]]
            number = np.repeat(np.arange(len(block)), ends[block] - starts[block])
            of_block = views.at(taken)
            refined[seen[block]] = found = _refined(points[seen[block]], number, of_block, loss_px)
            errors[taken] = np.hypot(*_residuals(found, number, of_block)[0].T)
    return refined, errors


def _refined(points: Float64, number: Int64, views: Views, loss_px: float) -> Float64:
    """Refine points; (M,) ``number`` is the point of each view, ascending. Converged ones take no further steps."""
    points, active = points.copy(), np.arange(len(points))
    damping = np.full(len(points), _FIRST_DAMPING)
    costs, gradients, hessians = _linearized(points, number, views, loss_px)
    for _ in range(_MAX_STEPS):
        damped = hessians + np.einsum("g,gii,ij->gij", damping, hessians, np.eye(3)) + 1e-12 * np.eye(3)
        moved = points[active] - np.linalg.solve(damped, gradients[..., None])[..., 0]
        new_costs, new_gradients, new_hessians = _linearized(moved, number, views, loss_px)
        better = new_costs < costs
        points[active[better]] = moved[better]
        unfinished = np.abs(costs - new_costs) > _CONVERGED * costs + _EXACT
        if not unfinished.any():
            break
        damping = np.where(better, np.maximum(damping / 10, _LEAST_DAMPING), 10 * damping)[unfinished]
        costs = np.where(better, new_costs, costs)[unfinished]
        gradients = np.where(better[:, None], new_gradients, gradients)[unfinished]
        hessians = np.where(better[:, None, None], new_hessians, hessians)[unfinished]
        active, of_unfinished = active[unfinished], unfinished[number]
        views = views.at(of_unfinished)
        number = (np.cumsum(unfinished) - 1)[number[of_unfinished]]
    return points


def _residuals(points: Float64, number: Int64, views: Views) -> tuple[Float64, Float64, Float64]:
    """Errors (M, 2) of the projections [px]; these at a depth of 1 m (M, 2) [m]; inverse depths (M,), or 0 behind."""
    in_camera = np.einsum("mij,mj->mi", views.rotations, points[number]) + views.translations
    in_front = in_camera[:, 2] > 1e-6
    inverse = np.where(in_front, 1 / np.where(in_front, in_camera[:, 2], 1.0), 0.0)
    rays = in_camera[:, :2] * inverse[:, None]
    return np.where(in_front[:, None], views.focal * (rays - views.rays), _BEHIND), rays, inverse


def _linearized(points: Float64, number: Int64, views: Views, loss_px: float) -> tuple[Float64, Float64, Float64]:
    """Loss (G,) of points, its gradients (G, 3) and Gauss-Newton Hessians (G, 3, 3), both halved."""
    residuals, rays, inverse = _residuals(points, number, views)
    by_u, by_v = (
        (views.focal[:, i] * inverse)[:, None] * (views.rotations[:, i] - rays[:, i, None] * views.rotations[:, 2])
        for i in range(2)
    )
    rows, columns = np.triu_indices(3)
    losses, slopes = _cauchy((residuals**2).sum(axis=1), loss_px)
    weighted_u, weighted_v = slopes[:, None] * by_u, slopes[:, None] * by_v
    terms = np.column_stack(
        [
            losses,
            weighted_u * residuals[:, :1] + weighted_v * residuals[:, 1:],
            weighted_u[:, rows] * by_u[:, columns] + weighted_v[:, rows] * by_v[:, columns],
        ]
    )
    sums = np.add.reduceat(terms, np.flatnonzero(np.diff(number, prepend=-1)), axis=0)
    hessians = np.empty((len(sums), 3, 3))
    hessians[:, rows, columns] = hessians[:, columns, rows] = sums[:, 4:]
    return sums[:, 0], sums[:, 1:4], hessians


def _cauchy(squares: Float64, scale: float) -> tuple[Float64, Float64]:
    """Cauchy loss of squared errors (M,) [px^2], and its slope by them; an infinite scale leaves them as they are."""
    if np.isinf(scale):
        return squares, np.ones_like(squares)
    ratio = squares / scale**2
    return scale**2 * np.log1p(ratio), 1 / (1 + ratio)
