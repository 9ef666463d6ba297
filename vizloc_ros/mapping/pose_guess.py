"""Guess of a person where the vehicle is, such as RViz's arrow: an ellipse in the map's plane, and a heading.

RViz knows x, y and the heading only. Height and tilt of the camera are those of the keyframes around.
"""

from dataclasses import dataclass, replace

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.poses import BODY_FROM_OPTICAL, array_of, heading_of, pose_of
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.mapping.keyframe_rolls import KeyframeRolls
from vizloc_ros.mapping.search_area import SIGMAS, SearchArea

_MIN_POSITION_STD, _MIN_HEADING_STD = 2.0, np.radians(20)  # m, rad; a hand is less sure than RViz says of it
_MAX_SPEED, _MAX_TURN_RATE = 10.0, np.radians(30)  # m/s, rad/s; of a vehicle since the guess
_X, _Y, _HEADING = 0, 1, 5  # in the covariance of ROS
_GIVEN = [2, 3, 4]  # height and tilt; without a variance they are not
_SAME_FRAME = 1e-3  # rad
_SPACING = 1.5  # m between hypotheses; the alignment finds what is within a meter
_SAME_HEADING = np.radians(30)


@dataclass(frozen=True)
class PoseGuess:
    """Guess of the vehicle's pose, in a map with z up.

    Attributes:
        map_from_base: the guess.
        covariance: (6, 6) covariance in the order of ROS [m^2, m rad, rad^2].
        age: time for which the vehicle may have driven since [s]: the ellipse grows.
    """

    map_from_base: Rigid3d
    covariance: Float64
    age: float = 0.0

    @property
    def is_narrow(self) -> bool:
        """True if the guess claims to be within a meter and 20 degrees: the basin of an alignment."""
        stds = np.sqrt(np.clip(np.diag(self.covariance), 0, None))
        return bool(np.hypot(stds[_X], stds[_Y]) <= 1.0 and stds[_HEADING] <= _MIN_HEADING_STD)

    @property
    def heading_reach(self) -> float:
        """Largest error of the heading that is searched [rad]: three standard deviations, at least 60 degrees."""
        std = max(np.sqrt(max(self.covariance[_HEADING, _HEADING], 0.0)), _MIN_HEADING_STD)
        return float(min(SIGMAS * std + _MAX_TURN_RATE * self.age, np.pi))

    @property
    def is_flat(self) -> bool:
        """True if height and tilt are not given."""
        return bool((np.diag(self.covariance)[_GIVEN] <= 0).all())

    def of_base(self, base_from_cam: Rigid3d) -> "PoseGuess":
        """Return the guess for a vehicle whose frame may be the camera's optical one, as in datasets without a vehicle.

        An arrow means the viewing direction then, which is z and not x.
        """
        is_camera = base_from_cam.rotation.angle() < _SAME_FRAME and not base_from_cam.translation.any()
        if not (self.is_flat and is_camera):
            return self
        return replace(self, map_from_base=self.map_from_base * BODY_FROM_OPTICAL)

    def after(self, seconds: float) -> "PoseGuess":
        """Return the guess as it is some time later."""
        return replace(self, age=max(seconds, 0.0))

    @property
    def area(self) -> SearchArea:
        """Ellipse of three standard deviations in the map's plane, widened by what the vehicle may have driven.

        It has a radius of at least six meters.
        """
        values, axes = np.linalg.eigh(self.covariance[:2, :2])
        radii = SIGMAS * np.sqrt(np.maximum(values, _MIN_POSITION_STD**2)) + _MAX_SPEED * self.age
        return SearchArea(self.map_from_base.translation, np.vstack([axes, np.zeros(2)]), radii)

    def holds(self, map_from_base: Rigid3d) -> bool:
        """Return True if a pose of the vehicle is in the ellipse, and its heading near the guessed one."""
        turned = _wrapped(heading_of(map_from_base) - heading_of(self.map_from_base))
        return bool(self.area.within(map_from_base.translation[None])[0] and abs(turned) <= self.heading_reach)

    def hypotheses(self, keyframe_poses: Float64, base_from_cam: Rigid3d, count: int) -> list[Rigid3d]:
        """Poses map_from_cam to start alignments from: the guess, then keyframes in the ellipse, nearest first.

        A map is driven as it was mapped, mostly: keyframes have the right heading where the guess is far off.

        Args:
            keyframe_poses: (K, 7) poses of the keyframes, see ``VisualMap``.
            base_from_cam: pose of the camera on the vehicle.
            count: maximum number.
        """
        guessed = self.map_from_base * base_from_cam
        roll = KeyframeRolls(keyframe_poses).roll_of(guessed)
        area, positions = self.area, keyframe_poses[:, :3]
        nearest = np.argsort(area.distances(positions), kind="stable")
        if self.is_flat:
            guessed = _with_height_and_tilt(guessed, pose_of(keyframe_poses[nearest[0]]), roll)
        found = [guessed]
        turns = _wrapped(_viewing_headings(keyframe_poses) - _viewing_heading(guessed))
        alike = area.within(positions) & (np.abs(turns) <= self.heading_reach)
        for keyframe in nearest[alike[nearest]]:
            if len(found) == count:
                break
            pose = pose_of(keyframe_poses[keyframe]) * roll.upright_from_cam
            if not any(_is_near(pose, other) for other in found):
                found.append(pose)
        return found


def _with_height_and_tilt(guessed: Rigid3d, keyframe: Rigid3d, roll: Roll) -> Rigid3d:
    """Camera at a guessed place in the plane and with its heading, as high and as tilted as a keyframe."""
    turn = _viewing_heading(guessed) - _viewing_heading(keyframe)
    rotation = Rotation3d(np.array([0.0, 0.0, turn])) * keyframe.rotation * roll.upright_from_cam.rotation
    return Rigid3d(rotation, np.array([*guessed.translation[:2], keyframe.translation[2]]))


def _viewing_headings(poses: Float64) -> Float64:
    """Headings (N,) of the viewing directions of (N, 7) poses map_from_cam [rad]."""
    x, y, z, w = poses[:, 3:].T
    return np.asarray(np.arctan2(y * z - w * x, x * z + w * y))


def _viewing_heading(map_from_cam: Rigid3d) -> float:
    return float(_viewing_headings(array_of(map_from_cam)[None])[0])


def _is_near(pose: Rigid3d, other: Rigid3d) -> bool:
    turned = _wrapped(_viewing_heading(pose) - _viewing_heading(other))
    apart = np.linalg.norm(pose.translation - other.translation)
    return bool(apart < _SPACING and abs(turned) < _SAME_HEADING)


def _wrapped(angles: Float64 | float) -> Float64:
    """Angles between -pi and pi [rad]."""
    return np.asarray(np.arctan2(np.sin(angles), np.cos(angles)))
