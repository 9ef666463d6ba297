"""The Lie groups SO(3) and SE(3): exponential, logarithm, left Jacobians and adjoint.

Group elements are ``Rotation3d`` and ``Rigid3d``; tangent vectors are arrays, those of SE(3) in the order
xi = [rho, phi]: translation part [m], then rotation vector [rad]. Perturbations multiply on the left,
exp(delta) * pose, so that they live in the frame a of a pose a_from_b. phi^ is the cross-product matrix of phi.

Equations are those of Barfoot, "State Estimation for Robotics" (2017), chapter 7, and of Sola et al., "A micro Lie
theory for state estimation in robotics" (2018), appendices B and D. Their coefficients, all of which cancel badly
near zero, are written in the Stumpff functions c_k(theta) = sum_n (-theta^2)^n / (2n + k)!, which do not.
"""

from math import cos, factorial, sin

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64

_SERIES_TERMS = 9  # for theta <= 1 the first term left out is below 1e-20


def cross_matrix(v: Float64) -> Float64:
    """The (3, 3) matrix v^ of a vector (3,), with v^ w = v x w."""
    x, y, z = v
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def so3_exp(phi: Float64) -> Rotation3d:
    """The rotation about the axis of phi (3,) by its length [rad], of any size.

    The quaternion [phi / theta sin(theta / 2), cos(theta / 2)] is accurate everywhere; a matrix would lose the axis
    near a half turn.
    """
    half_angle = float(np.linalg.norm(phi)) / 2
    imaginary = 0.5 * np.sinc(half_angle / np.pi) * np.asarray(phi, dtype=np.float64)
    return Rotation3d(np.append(imaginary, cos(half_angle)))


def so3_log(rotation: Rotation3d) -> Float64:
    """The rotation vector (3,) of a rotation, of length 0 to pi [rad]."""
    quaternion = np.asarray(rotation.quat)
    imaginary, w = np.copysign(1.0, quaternion[3]) * quaternion[:3], abs(quaternion[3])
    sine = float(np.linalg.norm(imaginary))
    return imaginary * (2 * np.arctan2(sine, w) / sine if sine > 0 else 2.0)


def so3_left_jacobian(phi: Float64) -> Float64:
    """The (3, 3) J with exp(phi + d) ~ exp(J d) exp(phi); also the V of the SE(3) exponential.

    J = I + (1 - cos theta) / theta^2 phi^ + (theta - sin theta) / theta^3 phi^ phi^.
    """
    c2, c3, _, _ = _stumpff(phi)
    cross = cross_matrix(phi)
    return np.eye(3) + c2 * cross + c3 * cross @ cross


def so3_left_jacobian_inverse(phi: Float64) -> Float64:
    """The inverse (3, 3) of the left Jacobian for |phi| < 2 pi, where it is singular.

    J^-1 = I - phi^ / 2 + (1 - theta / 2 cot(theta / 2)) / theta^2 phi^ phi^.
    """
    c2, c3, c4, _ = _stumpff(phi)
    cross = cross_matrix(phi)
    return np.eye(3) - cross / 2 + (c3 - 2 * c4) / (2 * c2) * cross @ cross


def se3_exp(xi: Float64) -> Rigid3d:
    """The rigid motion of a tangent vector (6,) [rho m, phi rad]: (exp(phi), V rho) with V the left Jacobian of phi."""
    rho, phi = xi[:3], xi[3:]
    return Rigid3d(so3_exp(phi), so3_left_jacobian(phi) @ rho)


def se3_log(pose: Rigid3d) -> Float64:
    """The tangent vector (6,) [rho m, phi rad] of a rigid motion, with |phi| <= pi."""
    phi = so3_log(pose.rotation)
    return np.concatenate([so3_left_jacobian_inverse(phi) @ pose.translation, phi])


def se3_left_jacobian(xi: Float64) -> Float64:
    """The (6, 6) J with exp(xi + d) ~ exp(J d) exp(xi): [[J, Q], [0, J]] of SO(3)'s J."""
    jacobian = so3_left_jacobian(xi[3:])
    return _block_upper(jacobian, _coupling(xi))


def se3_left_jacobian_inverse(xi: Float64) -> Float64:
    """The inverse (6, 6) of the left Jacobian for |phi| < 2 pi: [[J^-1, -J^-1 Q J^-1], [0, J^-1]]."""
    inverse = so3_left_jacobian_inverse(xi[3:])
    return _block_upper(inverse, -inverse @ _coupling(xi) @ inverse)


def adjoint(pose: Rigid3d) -> Float64:
    """The (6, 6) Ad with pose * exp(d) = exp(Ad d) * pose: [[R, t^ R], [0, R]] (Sola, eq. 175).

    ``Rigid3d.adjoint`` is the same map in the order [phi, rho].
    """
    rotation = pose.rotation.matrix()
    return _block_upper(rotation, cross_matrix(pose.translation) @ rotation)


def _coupling(xi: Float64) -> Float64:
    """The (3, 3) block Q that carries rotation into translation (Barfoot, eq. 7.86b; Sola, eq. 180)."""
    _, c3, c4, c5 = _stumpff(xi[3:])
    r, p = cross_matrix(xi[:3]), cross_matrix(xi[3:])
    pr, rp = p @ r, r @ p
    prp = pr @ p
    return r / 2 + c3 * (pr + rp + prp) + c4 * (p @ pr + rp @ p - 3 * prp) + (c4 - 3 * c5) / 2 * (prp @ p + p @ prp)


def _block_upper(diagonal: Float64, corner: Float64) -> Float64:
    return np.block([[diagonal, corner], [np.zeros((3, 3)), diagonal]])


def _stumpff(phi: Float64) -> tuple[float, float, float, float]:
    """c_2 to c_5 at theta = |phi|, from c_k = 1 / k! - theta^2 c_(k+2) read in the direction that does not cancel."""
    x = float(np.dot(phi, phi))
    if x > 1:
        theta = x**0.5
        c2, c3 = (1 - cos(theta)) / x, (1 - sin(theta) / theta) / x
        return c2, c3, (1 / 2 - c2) / x, (1 / 6 - c3) / x
    c4, c5 = (sum((-x) ** n / factorial(2 * n + k) for n in range(_SERIES_TERMS)) for k in (4, 5))
    return 1 / 2 - x * c4, 1 / 6 - x * c5, c4, c5
