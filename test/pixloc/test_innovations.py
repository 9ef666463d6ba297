"""Innovations: what the errors of the last predictions tell about the next one."""

import numpy as np
import pytest
from pycolmap import Rigid3d

from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.pixloc.innovations import Innovations
from vizloc_ros.pixloc.motion import KnownPose, MotionModel, MotionOptions, Prediction

SECOND = 1_000_000_000
RATE = 30.0  # images a second
EXPECTED = 1.0, 1.0  # m, rad; standard deviations of a prediction of which nothing is surprising
NOISE = 0.002, np.radians(0.05)  # m, rad


def off_by(meters: float, degrees: float) -> Rigid3d:
    return se3_exp(np.array([meters, 0, 0, 0, np.radians(degrees), 0]))


def shaken(model: MotionModel, acceleration: float, turn_acceleration: float, count: int = 20) -> Prediction:
    """Prediction after ``count`` images of a camera whose acceleration changes its sign with every image."""
    place, velocity = np.zeros(2), np.zeros(2)
    for i in range(count):
        moved = off_by(float(place[0]), float(place[1]))
        model.add(KnownPose(moved, round(i / RATE * SECOND), None, *NOISE))
        velocity = velocity + (1 if i % 2 else -1) * np.array([acceleration, turn_acceleration]) / RATE
        place = place + velocity / RATE
    prediction = model.predict(round(count / RATE * SECOND))
    assert prediction is not None
    return prediction


def test_nothing_is_told_before_three_of_them() -> None:
    innovations = Innovations()
    for count in range(3):
        assert innovations.likely_error(0.1) is None
        assert innovations.accelerations == (0, 0)
        assert count < 3
        innovations.add(off_by(0.1, 2.0), 0.1, EXPECTED, NOISE)
    assert innovations.likely_error(0.1) == pytest.approx((0.1, np.radians(2.0)))
    innovations.reset()
    assert innovations.likely_error(0.1) is None


def test_a_jerk_counts_at_once_and_is_forgotten_slowly() -> None:
    innovations, told = Innovations(), []
    for meters in (*[0.01] * 10, 0.2, *[0.01] * 20):
        innovations.add(off_by(meters, 0), 0.1, EXPECTED, NOISE)
        told.append((innovations.likely_error(0.1) or (0.0, 0.0))[0])
    assert told[9] == pytest.approx(0.01)
    assert told[10] == pytest.approx(0.2)
    assert told[12] > 0.1
    assert told[-1] < 0.03


def test_errors_grow_with_the_square_of_a_longer_time() -> None:
    innovations = Innovations()
    for _ in range(5):
        innovations.add(off_by(0.02, 1), 0.1, EXPECTED, NOISE)
    near, far = innovations.likely_error(0.05), innovations.likely_error(0.3)
    assert near == innovations.likely_error(0.1)
    assert near is not None
    assert far == pytest.approx((9 * near[0], 9 * near[1]))


def test_noise_of_the_poses_is_no_acceleration() -> None:
    innovations, noise = Innovations(), (0.02, 0.02)
    for _ in range(10):
        innovations.add(off_by(0.04, 2.0), 0.1, EXPECTED, noise)  # below sqrt(6) standard deviations
    assert innovations.accelerations == (0, 0)
    for _ in range(50):
        innovations.add(off_by(0.4, 2.0), 0.1, EXPECTED, noise)
    assert innovations.accelerations[0] == pytest.approx(np.sqrt(0.4**2 - 6 * 0.02**2) / 0.1**2, rel=1e-3)


def test_a_pose_that_nobody_expected_tells_of_no_acceleration() -> None:
    innovations = Innovations()
    for _ in range(5):
        innovations.add(off_by(0.05, 0.1), 0.1, (0.1, 0.01), NOISE)
    before = innovations.accelerations
    innovations.add(off_by(0.5, 0.1), 0.1, (0.1, 0.01), NOISE)
    assert innovations.accelerations == before
    assert (innovations.likely_error(0.1) or (0.0, 0.0))[0] == pytest.approx(0.5)


def test_a_hand_makes_predictions_less_sure_than_a_vehicle() -> None:
    calm, shaky = shaken(MotionModel(), 0.1, 5.0), shaken(MotionModel(), 20.0, 600.0)
    assert calm.likely_error is not None
    assert shaky.likely_error is not None
    assert calm.likely_error[0] < 0.001
    assert shaky.likely_error == pytest.approx((20.0 / RATE**2, np.radians(600.0) / RATE**2), rel=0.1)
    assert shaky.position_std == pytest.approx(np.hypot(MotionOptions().position_std, 20.0 / RATE**2), rel=0.01)
    assert shaky.rotation_std > 1.5 * calm.rotation_std


def test_a_new_track_knows_nothing_of_the_one_before() -> None:
    model = MotionModel()
    shaken(model, 20.0, 600.0)
    model.restart(KnownPose(Rigid3d(), SECOND, None, 0.5, 0.1))
    prediction = model.predict(round(1.1 * SECOND))
    assert prediction is not None
    assert prediction.likely_error is None
