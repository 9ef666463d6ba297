"""Lie groups SO(3) and SE(3): exponential, logarithm and the left Jacobian of SO(3).

Group elements are ``Rotation3d`` and ``Rigid3d``; tangent vectors are arrays, those of SE(3) in the order
xi = [rho, phi]: translation part [m], then rotation vector [rad]. Perturbations multiply on the left,
exp(delta) * pose, so that they live in the frame a of a pose a_from_b. phi^ is the cross-product matrix of phi.

References: Barfoot, "State Estimation for Robotics" (2017), chapter 7; Sola et al., "A micro Lie theory for state
estimation in robotics" (2018), appendices B and D. Their coefficients lose all digits near zero by cancellation. The
Stumpff functions c_k(theta) = sum_n (-theta^2)^n / (2n + k)!, in which they are written here, do not.
"""

from math import cos, factorial, sin

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64

_SERIES_TERMS = 9  # for theta <= 1 the first term left out is below 1e-20


def cross_matrix(v: Float64) -> Float64:
    """Cross-product matrix v^ (3, 3) of a vector (3,): v^ w = v x w."""
    x, y, z = v
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def so3_exp(phi: Float64) -> Rotation3d:
    """Rotation about the axis of phi (3,) by its length [rad], of any size.

    The quaternion [phi / theta sin(theta / 2), cos(theta / 2)] is accurate everywhere; a matrix would lose the axis
    near a half turn.
    """
    half_angle = float(np.linalg.norm(phi)) / 2
    imaginary = 0.5 * np.sinc(half_angle / np.pi) * np.asarray(phi, dtype=np.float64)
    return Rotation3d(np.append(imaginary, cos(half_angle)))


def so3_log(rotation: Rotation3d) -> Float64:
    """Rotation vector (3,) of a rotation, of length 0 to pi [rad]."""
    quaternion = np.asarray(rotation.quat)
    imaginary, w = np.copysign(1.0, quaternion[3]) * quaternion[:3], abs(quaternion[3])
    sine = float(np.linalg.norm(imaginary))
    return imaginary * (2 * np.arctan2(sine, w) / sine if sine > 0 else 2.0)


def so3_left_jacobian(phi: Float64) -> Float64:
    """Left Jacobian J (3, 3) with exp(phi + d) ~ exp(J d) exp(phi); also the V of the SE(3) exponential.

    J = I + (1 - cos theta) / theta^2 phi^ + (theta - sin theta) / theta^3 phi^ phi^.
    """
    c2, c3, _ = _stumpff(phi)
    cross = cross_matrix(phi)
    return np.eye(3) + c2 * cross + c3 * cross @ cross


def so3_left_jacobian_inverse(phi: Float64) -> Float64:
    """Inverse (3, 3) of the left Jacobian for |phi| < 2 pi; at 2 pi the Jacobian is singular.

    J^-1 = I - phi^ / 2 + (1 - theta / 2 cot(theta / 2)) / theta^2 phi^ phi^.
    """
    c2, c3, c4 = _stumpff(phi)
    cross = cross_matrix(phi)
    return np.eye(3) - cross / 2 + (c3 - 2 * c4) / (2 * c2) * cross @ cross


def se3_exp(xi: Float64) -> Rigid3d:
    """Rigid motion (exp(phi), V rho) of a tangent vector (6,) [rho m, phi rad], V the left Jacobian of phi."""
    rho, phi = xi[:3], xi[3:]
    return Rigid3d(so3_exp(phi), so3_left_jacobian(phi) @ rho)


def se3_log(pose: Rigid3d) -> Float64:
    """Tangent vector (6,) [rho m, phi rad] of a rigid motion, with |phi| <= pi."""
    phi = so3_log(pose.rotation)
    return np.concatenate([so3_left_jacobian_inverse(phi) @ pose.translation, phi])


def adjoint(a_from_b: Rigid3d) -> Float64:
    """Adjoint (6, 6) of a rigid motion T: exp(Ad xi) = T exp(xi) T^-1, with Ad = [[R, t^ R], [0, R]]."""
    rotation = a_from_b.rotation.matrix()
    result = np.zeros((6, 6))
    result[:3, :3] = result[3:, 3:] = rotation
    result[:3, 3:] = cross_matrix(a_from_b.translation) @ rotation
    return result


def interpolated(before: Rigid3d, after: Rigid3d, ratio: float) -> Rigid3d:
    """Pose on the screw motion between two poses a_from_b: the first one at 0, the second one at 1."""
    return before * se3_exp(ratio * se3_log(before.inverse() * after))


def _stumpff(phi: Float64) -> tuple[float, float, float]:
    """Stumpff functions c_2 to c_4 at theta = |phi|.

    The identity c_k = 1 / k! - theta^2 c_(k+2) is used in the direction that does not cancel.
    """
    x = float(np.dot(phi, phi))
    if x > 1:
        theta = x**0.5
        c2, c3 = (1 - cos(theta)) / x, (1 - sin(theta) / theta) / x
        return c2, c3, (1 / 2 - c2) / x
    c4, c5 = (sum((-x) ** n / factorial(2 * n + k) for n in range(_SERIES_TERMS)) for k in (4, 5))
    return 1 / 2 - x * c4, 1 / 6 - x * c5, c4
