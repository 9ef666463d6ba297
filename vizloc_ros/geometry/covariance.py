"""Covariances of poses in the order of ``geometry_msgs/PoseWithCovariance``: x y z [m], rotation about x y z [rad].

The error of a pose map_from_x is [dp, dphi]: the true position is p + dp and the true rotation exp(dphi) R, both along
the axes of the map. Unlike in the tangent space of ``se3``, dp is the error of x's origin and not of the map's.
"""

from math import inf, nan, sqrt

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.se3 import cross_matrix, so3_log


def move_to_base(covariance: Float64, map_from_cam: Rigid3d, cam_from_base: Rigid3d) -> Float64:
    """Covariance of the base's pose from that of a camera on the same rigid body, to first order in the rotation.

    The rotation error dphi is the same everywhere on the body, and moves the base by dphi x l, with the lever
    l = R_map_from_cam t_cam_from_base from camera to base: dp_base = dp_cam + dphi x l.

    Args:
        covariance: (6, 6) covariance of map_from_cam [m^2, m rad, rad^2].
        map_from_cam: pose of the camera in the map.
        cam_from_base: pose of the base in the camera, constant and known without error.

    Returns:
        The (6, 6) covariance of map_from_cam * cam_from_base.
    """
    jacobian = lever_jacobian(map_from_cam, cam_from_base)
    return jacobian @ covariance @ jacobian.T


def lever_jacobian(map_from_cam: Rigid3d, cam_from_base: Rigid3d) -> Float64:
    """Jacobian (6, 6) of the error of map_from_base by that of map_from_cam, see ``move_to_base``."""
    jacobian = np.eye(6)
    jacobian[:3, 3:] = -cross_matrix(map_from_cam.rotation.matrix() @ cam_from_base.translation)
    return jacobian


def with_map_covariance(covariance: Float64, position_std: float, rotation_std: float) -> Float64:
    """Add the covariance of the map's own poses to the (6, 6) covariance of a pose relative to the map [m^2, rad^2]."""
    return covariance + map_covariance(position_std, rotation_std)


def map_covariance(position_std: float, rotation_std: float) -> Float64:
    """Covariance (6, 6) of the map's own poses, common to all poses that were found in it [m^2, rad^2].

    Args:
        position_std: standard deviation of the map's positions along each axis [m].
        rotation_std: standard deviation of the map's rotations about each axis [deg].
    """
    return np.diag([position_std**2] * 3 + [np.radians(rotation_std) ** 2] * 3)


def max_position_std(covariance: Float64) -> float:
    """Largest marginal standard deviation [m] of the position over all directions.

    NaN if the (6, 6) covariance is not finite, or is none because its variance is negative in every direction.
    """
    if not np.isfinite(covariance).all():
        return nan
    variance = float(np.linalg.eigvalsh(covariance[:3, :3])[-1])
    return sqrt(variance) if variance >= 0 else nan


def position_and_rotation_std(covariance: Float64) -> tuple[float, float]:
    """Standard deviations [m, rad] of a pose: root of the summed variances of the three axes, negative ones as zero."""
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0))
    return float(np.linalg.norm(deviations[:3])), float(np.linalg.norm(deviations[3:]))


def squared_error(estimate: Rigid3d, truth: Rigid3d, covariance: Float64) -> float:
    """Squared error of a pose map_from_x in units of its (6, 6) covariance: 6 on average if that is honest (NEES).

    Infinite if the covariance is none: not finite, or without an inverse.
    """
    turned = so3_log(truth.rotation * estimate.rotation.inverse())
    error = np.concatenate([truth.translation - estimate.translation, turned])
    try:
        squared = float(error @ np.linalg.solve(covariance, error))
    except np.linalg.LinAlgError:
        return inf
    return squared if squared >= 0 else inf
