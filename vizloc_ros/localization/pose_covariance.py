"""How far a pose may be off: Gauss-Newton covariance of the reprojection errors, in the convention of ROS.

The six errors are [x y z, rotation about the fixed x y z axes], all in the map frame: the true position is
``p + dp`` and the true rotation ``exp(dphi) R`` (as in ``geometry/covariance.py``).
"""

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import transform_points


def reprojection_jacobian(world_from_cam: Rigid3d, points: Float64, camera: PinholeCamera) -> Float64:
    """Derivative (N, 2, 6) of the pixels of (N, 3) world points by the six errors of the camera's pose.

    With ``x_cam = R^T (X - p)``: ``d x_cam / dp = -R^T`` and ``d x_cam / dphi = R^T [X - p]x``.
    """
    rotation = world_from_cam.rotation.matrix()
    by_point = camera.projection_jacobian(transform_points(world_from_cam.inverse(), points)) @ rotation.T
    lever = points - world_from_cam.translation
    by_rotation = np.cross(by_point, lever[:, None, :])
    return np.concatenate([-by_point, by_rotation], axis=2)


def pose_covariance(
    world_from_cam: Rigid3d, points: Float64, pixels: Float64, camera: PinholeCamera, pixel_sigma: float
) -> tuple[Float64, float]:
    """(6, 6) covariance of a pose from its inliers, and their RMS reprojection error [px].

    Args:
        world_from_cam: the pose at the optimum.
        points: (N, 3) inlier landmarks, N >= 4 [m].
        pixels: (N, 2) where they were seen.
        camera: the camera.
        pixel_sigma: the standard deviation of a pixel coordinate is taken to be at least this.

    Raises:
        numpy.linalg.LinAlgError: the landmarks do not fix the pose.
    """
    projected, _ = camera.project(transform_points(world_from_cam.inverse(), points))
    squared = float(((projected - pixels) ** 2).sum())
    variance = max(squared / max(2 * len(points) - 6, 1), pixel_sigma**2)
    jacobian = reprojection_jacobian(world_from_cam, points, camera).reshape(-1, 6)
    covariance = variance * np.linalg.inv(jacobian.T @ jacobian)
    return 0.5 * (covariance + covariance.T), float(np.sqrt(squared / len(points)))
