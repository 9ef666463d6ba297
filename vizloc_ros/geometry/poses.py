"""Poses: ``pycolmap.Rigid3d``, named ``a_from_b`` because ``point_a = a_from_b * point_b``."""

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64
from vizloc_ros.wording import numbers_text

# Axes of a vehicle (x forward, y left, z up; REP 103) from those of a camera that looks ahead (x right, y down).
BODY_FROM_OPTICAL = Rigid3d(Rotation3d(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])), np.zeros(3))


def pose_from_quaternion(translation: Float64, quaternion_xyzw: Float64) -> Rigid3d:
    """Pose with a translation (3,) [m] and a quaternion (4,) xyzw of any positive norm."""
    quaternion = np.asarray(quaternion_xyzw, dtype=np.float64)
    return Rigid3d(Rotation3d(quaternion / np.linalg.norm(quaternion)), np.asarray(translation, dtype=np.float64))


def pose_or_nothing(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return the values of an option if they are those of a pose, or none. Raises ``ValueError`` otherwise."""
    pose = np.array(values)
    if values and not (len(pose) == 7 and np.isfinite(pose).all() and abs(np.linalg.norm(pose[3:]) - 1) < 0.01):
        raise ValueError(f"is {numbers_text(values)}; allowed: nothing, or x y z [m] and a unit quaternion qx qy qz qw")
    return values


def pose_from_matrix(matrix: Float64) -> Rigid3d:
    """Pose with the (3, 4) or (4, 4) matrix [R t], R orthonormal."""
    return Rigid3d(Rotation3d(np.ascontiguousarray(matrix[:3, :3])), np.ascontiguousarray(matrix[:3, 3]))


def array_of(pose: Rigid3d) -> Float64:
    """Array (7,) of a pose: tx ty tz [m] qx qy qz qw, qw >= 0."""
    quaternion = np.asarray(pose.rotation.quat)
    if quaternion[3] < 0:
        quaternion = -quaternion
    return np.concatenate([pose.translation, quaternion])


def pose_of(array: Float64) -> Rigid3d:
    """Pose of a (7,) array from ``array_of``."""
    return pose_from_quaternion(array[:3], array[3:])


def pose_error(estimate: Rigid3d, truth: Rigid3d) -> tuple[float, float]:
    """Distance of the origins [m] and angle between the axes [deg] of two poses a_from_b with the same a."""
    translation = float(np.linalg.norm(estimate.translation - truth.translation))
    return translation, float(np.degrees(estimate.rotation.angle_to(truth.rotation)))


def perturbed(a_from_b: Rigid3d, distance: float, degrees: float, rng: np.random.Generator) -> Rigid3d:
    """Pose with b moved by exactly ``distance`` [m] and rotated by exactly ``degrees``, each in a random direction."""
    offset, axis = rng.normal(size=3), rng.normal(size=3)
    offset *= distance / np.linalg.norm(offset)
    axis *= np.radians(degrees) / np.linalg.norm(axis)
    return Rigid3d(a_from_b.rotation * Rotation3d(axis), a_from_b.translation + offset)


def heading_of(a_from_b: Rigid3d) -> float:
    """Angle [rad] of b's x axis in a's xy plane, from a's x axis on."""
    x, y, _ = a_from_b.rotation.matrix()[:, 0]
    return float(np.arctan2(y, x))


def planar(a_from_b: Rigid3d) -> Rigid3d:
    """Pose without height and tilt: in the plane z = 0 of a, with the heading of b's x axis."""
    x, y, _ = a_from_b.translation
    return Rigid3d(Rotation3d(np.array([0.0, 0.0, heading_of(a_from_b)])), np.array([x, y, 0.0]))


def transform_points(a_from_b: Rigid3d, points_b: Float64) -> Float64:
    """Move (N, 3) points [m] from frame b to frame a. Columns are contiguous: a third of the time for many points."""
    points_a: Float64 = a_from_b.rotation.matrix() @ points_b.T
    points_a += a_from_b.translation[:, None]
    return points_a.T
