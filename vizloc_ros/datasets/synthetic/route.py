"""Route around the block, and the motion of the vehicle along it in each lap."""

from collections.abc import Sequence

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.poses import pose_from_matrix

HALF_LENGTH, HALF_WIDTH = 26.0, 17.0  # m; half the size of the rectangle along the middle of the streets
CORNER_RADIUS = 8.0  # m
STRAIGHTS = (2 * (HALF_LENGTH - CORNER_RADIUS), 2 * (HALF_WIDTH - CORNER_RADIUS)) * 2
ARC = CORNER_RADIUS * np.pi / 2
LOOP_LENGTH = float(sum(STRAIGHTS) + 4 * ARC)
CAMERA_HEIGHT = 1.5  # m

VEHICLE_FROM_CAM = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # x forward, y left, z up <- optical


def rotation_z(angle: float) -> Float64:
    """Matrix (3, 3) of a rotation about the z axis by an angle [rad]."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _mounted(forward: float, yaw: float) -> Rigid3d:
    """Pose of an upright camera on the vehicle, on its axis, ``forward`` [m] of its origin and turned left [rad]."""
    rotation = rotation_z(yaw) @ VEHICLE_FROM_CAM
    return pose_from_matrix(np.column_stack([rotation, [forward, 0.0, CAMERA_HEIGHT]]))


def rotation_x(angle: float) -> Float64:
    """Matrix (3, 3) of a rotation about the x axis by an angle [rad]."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])


# Cameras of the vehicle, whose origin is on the ground: x forward, y left, z up.
BASE_FROM_CAMERA = {"front": _mounted(1.5, 0.0), "rear": _mounted(-0.9, np.pi)}
FRONT = "front"  # the camera that takes the route


def straight_start(side: int) -> float:
    """Distance along the route [m] of the start of a straight: 0 (south), 1 (east), 2 (north) or 3 (west)."""
    return float(sum(STRAIGHTS[:side]) + side * ARC - STRAIGHTS[0] / 2)


def route_at(distance: float) -> tuple[Float64, float]:
    """Point (2,) [m] and heading [rad] of the route, counter-clockwise from the middle of the south side."""
    along = (distance + STRAIGHTS[0] / 2) % LOOP_LENGTH
    corner = np.array([-HALF_LENGTH + CORNER_RADIUS, -HALF_WIDTH])
    for side, straight in enumerate(STRAIGHTS):
        heading = side * np.pi / 2
        forward, left = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
        if along <= straight:
            return corner + along * forward, heading
        corner, along = corner + straight * forward, along - straight
        if along <= ARC:
            turn = along / CORNER_RADIUS
            return corner + CORNER_RADIUS * (np.sin(turn) * forward + (1 - np.cos(turn)) * left), heading + turn
        corner, along = corner + CORNER_RADIUS * (forward + left), along - ARC
    return corner, 0.0  # rounding at the very end of the loop


def beside_route(distance: float, left: float) -> tuple[Float64, float]:
    """Point (2,) [m] at ``left`` meters to the left of the middle of the street, and the heading [rad] there."""
    point, heading = route_at(distance)
    return point + left * np.array([-np.sin(heading), np.cos(heading)]), heading


class Wobble:
    """Smooth random signal that repeats with every lap: a few sinusoids with a given peak."""

    def __init__(
        self, rng: np.random.Generator, peak: float, harmonics: Sequence[int], period: float = LOOP_LENGTH
    ) -> None:
        """Take the largest value, the number of periods of each sinusoid in a lap, and the length of a lap [m]."""
        self._frequencies = 2 * np.pi * np.asarray(harmonics) / period
        self._phases = rng.uniform(0, 2 * np.pi, len(harmonics))
        self._amplitudes = rng.uniform(0.5, 1.0, len(harmonics))
        self._amplitudes *= peak / max(abs(self(x)) for x in np.linspace(0, period, 2000))

    def __call__(self, distance: float) -> float:
        """Value at a distance along the route [m]."""
        return float(self._amplitudes @ np.sin(self._frequencies * distance + self._phases))

    def slope(self, distance: float) -> float:
        """Derivative by the distance [1/m]."""
        return float((self._amplitudes * self._frequencies) @ np.cos(self._frequencies * distance + self._phases))


class Drive:
    """Motion in one lap: the middle of the street plus a lateral offset, with the small rotations of a vehicle."""

    def __init__(self, rng: np.random.Generator, max_offset: float, max_rotation: float) -> None:
        """Take the maximum lateral offset [m] and the maximum rotation relative to the smooth motion [rad]."""
        self._offset = Wobble(rng, max_offset, (1, 3))
        self._yaw = Wobble(rng, max_rotation, (5, 9, 14))
        self._pitch = Wobble(rng, max_rotation, (7, 13, 23))
        self._roll = Wobble(rng, max_rotation / 2, (6, 11))
        self._height = Wobble(rng, 2 * max_rotation, (8, 17))  # m; 2 m between the axles

    def world_from_cam(self, distance: float) -> Rigid3d:
        """Pose of the camera's optical frame at a distance along the route [m]."""
        offset = self._offset(distance)
        point, _ = beside_route(distance, offset)
        yaw = self._heading(distance)
        matrix = np.zeros((3, 4))
        matrix[:, :3] = (
            rotation_z(yaw) @ VEHICLE_FROM_CAM @ rotation_x(self._pitch(distance)) @ rotation_z(self._roll(distance))
        )
        matrix[:, 3] = *point, CAMERA_HEIGHT + self._height(distance)
        return pose_from_matrix(matrix)

    def yaw_rate(self, distance: float) -> float:
        """Yaw per distance along the route [rad/m]."""
        turn = self._heading(distance + 0.05) - self._heading(distance - 0.05)
        return float((turn + np.pi) % (2 * np.pi) - np.pi) / 0.1

    def _heading(self, distance: float) -> float:
        _, heading = route_at(distance)
        return heading + float(np.arctan(self._offset.slope(distance))) + self._yaw(distance)
