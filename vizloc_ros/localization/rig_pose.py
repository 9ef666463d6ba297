"""Pose of a rig of cameras from the 2D-3D matches of all of them, and its covariance: generalized absolute pose.

Each match is a ray from the center of its camera. RANSAC draws three of them, of any cameras, and a refinement on the
inliers follows, as for one camera (``absolute_pose``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import pycolmap
from pycolmap import Rigid3d

from vizloc_ros.arrays import Bool, Float64
from vizloc_ros.geometry.camera import PIXEL_CENTRE
from vizloc_ros.geometry.colmap_camera import colmap_camera
from vizloc_ros.geometry.covariance import lever_jacobian
from vizloc_ros.localization.absolute_pose import (
    FEWEST_TRIALS,
    SAMPLE,
    correlation_factor,
    reprojection_errors,
    reprojection_jacobian,
    trials_to_find,
)
from vizloc_ros.localization.pose_refinement import RigMatches, refine_rig_pose

_REFINED = 0.5  # of the needed inliers, from which the refinement may find the rest


@dataclass(frozen=True)
class RigEstimate:
    """Pose of a rig, and the (N,) mask of the inliers of each camera."""

    rig_from_map: Rigid3d
    inliers: tuple[Bool, ...]

    @property
    def num_inliers(self) -> int:
        """Number of inliers of all cameras."""
        return sum(int(mask.sum()) for mask in self.inliers)


def estimate_rig_pose(
    cameras: Sequence[RigMatches], *, max_error: float, max_trials: int, seed: int, needed: float = 0.0
) -> RigEstimate | None:
    """Pose of a rig from 2D-3D matches: RANSAC on the rays of all cameras, then refinement on the inliers.

    Args:
        cameras: matches of each camera; one may have none.
        max_error: maximum reprojection error of an inlier [px].
        max_trials: maximum number of RANSAC trials.
        seed: seed of RANSAC; the same matches and seed give the same pose.
        needed: number of inliers below which the pose is of no use. RANSAC ends where it would end with so many.

    Returns:
        The pose, or None if RANSAC finds none, or one with less than half of the needed inliers.
    """
    counts = [len(one.pixels) for one in cameras]
    if sum(counts) < SAMPLE:
        return None
    ransac = pycolmap.RANSACOptions(max_error=max_error)
    if needed > 0:
        trials = trials_to_find(needed / sum(counts), 1 - ransac.confidence)
        max_trials = min(max_trials, ceil(ransac.dyn_num_trials_multiplier * trials))
    ransac.min_num_trials = min(FEWEST_TRIALS, max_trials)
    ransac.max_num_trials = max_trials
    ransac.random_seed = seed
    answer = pycolmap.estimate_generalized_absolute_pose(
        np.concatenate([one.pixels for one in cameras]) + PIXEL_CENTRE,
        np.concatenate([one.positions for one in cameras]),
        np.repeat(np.arange(len(cameras)), counts).tolist(),
        [one.cam_from_rig for one in cameras],
        [colmap_camera(one.camera) for one in cameras],
        ransac,
    )
    if answer is None or answer["num_inliers"] < _REFINED * needed:
        return None
    masks = np.split(np.asarray(answer["inlier_mask"], bool), np.cumsum(counts)[:-1])
    return refined_estimate(answer["rig_from_world"], cameras, masks, max_error)


def refined_estimate(
    rig_from_map: Rigid3d, cameras: Sequence[RigMatches], inliers: Sequence[Bool], max_error: float
) -> RigEstimate:
    """Pose that is refined on some of the matches, with the inliers it has then."""
    chosen = [one.chosen(mask) for one, mask in zip(cameras, inliers, strict=True)]
    refined = refine_rig_pose(rig_from_map, chosen)
    return RigEstimate(refined, tuple(errors_of(refined, one) <= max_error for one in cameras))


def errors_of(rig_from_map: Rigid3d, matches: RigMatches) -> Float64:
    """Reprojection errors (N,) of the matches of a camera [px], infinite behind it."""
    return reprojection_errors(matches.cam_from_rig * rig_from_map, matches.pixels, matches.positions, matches.camera)


def rig_covariance(map_from_rig: Rigid3d, cameras: Sequence[RigMatches], pixel_sigma: float, scale: float) -> Float64:
    """(6, 6) covariance of the pose of a rig from the inliers of its cameras [m^2, rad^2], without the map's own.

    Each camera has a noise of its own, by its reprojection errors: one may be blurred.

    Args:
        map_from_rig: refined pose of the rig in the map.
        cameras: inliers of each camera.
        pixel_sigma: minimum standard deviation of a pixel coordinate [px].
        scale: factor on the covariance, besides ``correlation_factor`` of each camera.

    Raises:
        numpy.linalg.LinAlgError: the inliers do not constrain all six degrees of freedom.
    """
    information = np.zeros((6, 6))
    for one in cameras:
        if not len(one.pixels):
            continue
        errors = errors_of(map_from_rig.inverse(), one)
        variance = max(float((errors**2).sum()) / max(2 * len(errors) - 6, 1), pixel_sigma**2)
        map_from_cam = map_from_rig * one.cam_from_rig.inverse()
        jacobian = reprojection_jacobian(map_from_cam, one.positions, one.camera).reshape(-1, 6)
        jacobian = jacobian @ lever_jacobian(map_from_rig, one.cam_from_rig.inverse())
        information += jacobian.T @ jacobian / (variance * correlation_factor(errors))
    # Rounding makes an inverse of many matrices that have none, or leaves it to chance.
    if not np.isfinite(information).all() or np.linalg.matrix_rank(information, hermitian=True) < len(information):
        raise np.linalg.LinAlgError("the inliers do not fix the pose")
    covariance = scale * np.linalg.inv(information)
    return 0.5 * (covariance + covariance.T)
