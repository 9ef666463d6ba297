"""Covariances of poses as ROS carries them: ``geometry_msgs/PoseWithCovariance``, order [x y z, rotation x y z].

The error of a pose world_from_x is [dp, dphi] with true position p + dp [m] and true rotation exp(dphi) R [rad], both
along the axes of the world. Unlike the tangent space of ``se3``, dp is that of x's origin and not of the world's.
"""

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.se3 import cross_matrix


def covariance_of_product(covariance: Float64, map_from_cam: Rigid3d, cam_from_base: Rigid3d) -> Float64:
    """Moves the covariance of a camera's pose to another point of the rigid body that carries it.

    The rotation error swings the lever from camera to base: with l = R_world_from_cam t_cam_from_base,
    p_base = p_cam + l gives dp_base = dp_cam + dphi x l, while dphi is the same everywhere on the body.

    Args:
        covariance: (6, 6) of map_from_cam, [m^2, m rad, rad^2].
        map_from_cam: the pose it belongs to.
        cam_from_base: the constant mounting, known without error.

    Returns:
        The (6, 6) covariance of map_from_cam * cam_from_base, to first order in the rotation error.
    """
    lever = map_from_cam.rotation.matrix() @ cam_from_base.translation
    jacobian = np.eye(6)
    jacobian[:3, 3:] = -cross_matrix(lever)
    return jacobian @ covariance @ jacobian.T
