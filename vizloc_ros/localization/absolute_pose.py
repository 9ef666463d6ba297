"""A camera's pose from 2D-3D matches: COLMAP's LO-RANSAC over P3P, then least squares over the inliers.

COLMAP's pixels are those of ``mapping/colmap.py``.
"""

from dataclasses import dataclass

import numpy as np
import pycolmap
from pycolmap import Rigid3d

from vizloc_ros.arrays import Bool, Float64
from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.mapping.colmap import colmap_camera


@dataclass(frozen=True)
class AbsolutePose:
    """A pose and the (N,) mask of the matches that agree with it."""

    cam_from_world: Rigid3d
    inliers: Bool


def estimate_absolute_pose(
    pixels: Float64, points: Float64, camera: PinholeCamera, *, max_error: float, max_trials: int, seed: int
) -> AbsolutePose | None:
    """Pose of a camera that sees (N, 3) points [m, world] at (N, 2) pixels, robust against wrong matches.

    Args:
        pixels: (0, 0) at the centre of the top-left pixel.
        points: of the same length.
        camera: the pinhole camera.
        max_error: largest reprojection error of an inlier [px].
        max_trials: of RANSAC.
        seed: the same matches and seed give the same pose.

    Returns:
        None when no pose has support.
    """
    estimation = pycolmap.AbsolutePoseEstimationOptions()
    estimation.ransac.max_error = max_error
    estimation.ransac.max_num_trials = max_trials
    estimation.ransac.random_seed = seed
    answer = pycolmap.estimate_and_refine_absolute_pose(
        pixels + PIXEL_CENTRE, points, colmap_camera(camera), estimation, pycolmap.AbsolutePoseRefinementOptions()
    )
    if answer is None:
        return None
    cam_from_world = answer["cam_from_world"]
    # RANSAC's own mask is of the pose before the refinement.
    points_cam = transform_points(cam_from_world, points)
    errors = np.linalg.norm(camera.project(points_cam)[0] - pixels, axis=1)
    return AbsolutePose(cam_from_world, (errors <= max_error) & (points_cam[:, 2] > 0))
