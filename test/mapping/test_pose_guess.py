"""Guess of a person: how far is searched, what height and tilt are, and which hypotheses are tried."""

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.poses import BODY_FROM_OPTICAL, array_of, heading_of, pose_error
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.mapping.pose_guess import PoseGuess

RVIZ = np.diag([0.25, 0.25, 0, 0, 0, 0.0685])  # what its tool sends
MOUNT = Rigid3d(BODY_FROM_OPTICAL.rotation, np.array([1.0, 0.0, 1.5]))
PITCH = 0.1  # rad, of the mapping camera, to the ground
FLOOR = 7.0  # m


def vehicle(x: float, y: float, degrees: float = 0.0, z: float = 0.0) -> Rigid3d:
    return Rigid3d(Rotation3d(np.array([0, 0, np.radians(degrees)])), np.array([x, y, z]))


def keyframes(degrees: float = 0.0) -> Float64:
    """A drive of 60 m along the x axis, with a camera that looks down a little, on a floor of 7 m."""
    pitched = MOUNT * Rigid3d(Rotation3d(np.array([-PITCH, 0, 0])), np.zeros(3))
    return np.array([array_of(vehicle(x, 0, degrees, FLOOR) * pitched) for x in np.arange(0, 60.5, 1.0)])


def viewing(pose: Rigid3d) -> Float64:
    return np.asarray(pose.rotation.matrix()[:, 2])


@pytest.mark.parametrize(
    ("guess", "held"),
    [
        (vehicle(20, 0), True),
        (vehicle(20, 5, 45), True),
        (vehicle(15.5, -3, -45), True),
        (vehicle(20, 9), False),
        (vehicle(20, 0, 90), False),
        (vehicle(20, 0, 359), True),
    ],
)
def test_what_a_hand_means_is_within_six_meters_and_sixty_degrees(guess: Rigid3d, held: bool) -> None:
    assert PoseGuess(guess, RVIZ).holds(vehicle(20, 0)) is held


def test_the_covariance_decides_how_far_is_searched() -> None:
    """Three standard deviations of 10 m along the diagonal and 1 m, or at least six meters, across it."""
    along, across = np.array([1.0, 1.0]) / np.sqrt(2), np.array([-1.0, 1.0]) / np.sqrt(2)
    covariance = np.zeros((6, 6))
    covariance[:2, :2] = 100 * np.outer(along, along) + np.outer(across, across)
    covariance[5, 5] = 4.0
    guess = PoseGuess(vehicle(0, 0), covariance)
    assert guess.holds(vehicle(29 * along[0], 29 * along[1], 179))
    assert not guess.holds(vehicle(*(31 * along)))
    assert guess.holds(vehicle(*(5.9 * across)))
    assert not guess.holds(vehicle(*(6.1 * across)))
    positions = np.array([[*(35 * along), 100.0], [*(45 * along), 0.0]])
    assert guess.area.within(positions, margin=10.0).tolist() == [True, False]


def test_the_vehicle_drives_on_after_the_guess() -> None:
    guess = PoseGuess(vehicle(20, 0), RVIZ)
    assert not guess.holds(vehicle(31, 0, 70))
    assert guess.after(0.6).holds(vehicle(31, 0, 70))
    assert not guess.after(0.4).holds(vehicle(31, 0, 70))


def test_height_and_tilt_are_those_of_the_keyframes() -> None:
    guess = vehicle(20.4, 2.0, 45)
    first = PoseGuess(guess, RVIZ).hypotheses(keyframes(), MOUNT, 8)[0]
    x, y, z = first.translation
    assert (x, y) == pytest.approx((20.4 + np.cos(np.pi / 4), 2.0 + np.sin(np.pi / 4)))
    assert z == pytest.approx(FLOOR + 1.5)
    assert np.arcsin(-viewing(first)[2]) == pytest.approx(PITCH)
    assert np.arctan2(*viewing(first)[1::-1]) == pytest.approx(np.pi / 4)


def test_where_the_vehicle_is_its_camera_an_arrow_is_the_viewing_direction() -> None:
    """Datasets without a vehicle have poses of the camera's optical frame."""
    guess = PoseGuess(vehicle(20, 1, 30), RVIZ).of_base(Rigid3d())
    first = guess.hypotheses(keyframes(), Rigid3d(), 8)[0]
    assert np.arctan2(*viewing(first)[1::-1]) == pytest.approx(np.radians(30))
    optical = BODY_FROM_OPTICAL
    assert guess.holds(vehicle(22, 0) * optical)
    assert not guess.holds(vehicle(22, 0, 120) * optical)
    of_vehicle = PoseGuess(vehicle(20, 1), RVIZ)
    assert of_vehicle.of_base(MOUNT) is of_vehicle
    assert pose_error(PoseGuess(optical, np.eye(6)).of_base(Rigid3d()).map_from_base, optical)[1] == 0


def test_a_program_that_knows_them_gives_a_variance() -> None:
    known = vehicle(20, 0, 10, FLOOR + 0.3)
    first = PoseGuess(known, np.eye(6)).hypotheses(keyframes(), MOUNT, 8)[0]
    assert pose_error(first, known * MOUNT) == pytest.approx((0, 0), abs=1e-5)


def test_the_mapped_drive_is_tried_after_the_guess_nearest_first() -> None:
    """From 5 m and 45 degrees off, one of the hypotheses is in the basin of the alignment."""
    found = PoseGuess(vehicle(20, 5, 45), RVIZ).hypotheses(keyframes(), MOUNT, 8)
    assert len(found) > 3
    assert min(pose_error(pose, vehicle(20, 0, 0, FLOOR) * MOUNT)[0] for pose in found) < 1.1
    away = [np.hypot(*(pose.translation[:2] - [20, 5])) for pose in found[1:]]
    assert away == sorted(away)
    assert max(away) <= 6.0
    others = np.array([pose.translation for pose in found[1:]])
    apart = np.linalg.norm(others[:, None] - others, axis=2)[np.triu_indices(len(others), 1)]
    assert apart.min() >= 1.5
    assert len(PoseGuess(vehicle(20, 5, 45), RVIZ).hypotheses(keyframes(), MOUNT, 3)) == 3


def test_keyframes_that_look_the_other_way_are_not_tried() -> None:
    assert len(PoseGuess(vehicle(20, 0), RVIZ).hypotheses(keyframes(180), MOUNT, 8)) == 1


def test_a_sideways_camera_keeps_its_roll() -> None:
    roll = Roll.CLOCKWISE
    sideways = MOUNT * roll.upright_from_cam
    for pose in PoseGuess(vehicle(20, 1), RVIZ).hypotheses(keyframes(), sideways, 4):
        down = pose.rotation.matrix().T @ [0, 0, -1]
        assert Roll.of_down_axis(down) is roll
        assert viewing(pose) @ viewing(vehicle(0, 0) * MOUNT) > 0.99


@pytest.mark.parametrize(("std", "degrees", "narrow"), [(0.5, 15, True), (2.0, 15, False), (0.5, 40, False)])
def test_rvizs_own_covariance_is_narrow(std: float, degrees: float, narrow: bool) -> None:
    covariance = np.diag([std**2, std**2, 0, 0, 0, np.radians(degrees) ** 2])
    assert PoseGuess(vehicle(0, 0), covariance).is_narrow is narrow
    assert heading_of(vehicle(0, 0, 170)) == pytest.approx(np.radians(170))
