"""Predictions: constant velocity, odometry, and how far they may be off."""

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.pixloc.motion import KnownPose, MotionModel, MotionOptions

SECOND = 1_000_000_000
TWIST = np.array([0.1, 0.0, 5.0, 0.0, 0.2, 0.0])  # m/s, rad/s: 5 m/s ahead in a bend


def moving(model: MotionModel, *seconds: float) -> None:
    for t in seconds:
        model.add(KnownPose(se3_exp(TWIST * t), round(t * SECOND)))


def test_nothing_is_predicted_before_the_first_pose() -> None:
    assert MotionModel().predict(0) is None


@pytest.mark.parametrize("ahead", [0.1, 0.5, 1.0])
def test_a_steady_bend_is_predicted_exactly(ahead: float) -> None:
    model = MotionModel()
    moving(model, 0.0, 0.1, 0.2)
    prediction = model.predict(round((0.2 + ahead) * SECOND))
    assert prediction is not None
    assert pose_error(prediction.map_from_cam, se3_exp(TWIST * (0.2 + ahead))) == pytest.approx((0, 0), abs=1e-6)


def test_a_velocity_is_not_believed_for_long() -> None:
    model = MotionModel(MotionOptions(max_extrapolation=0.5))
    moving(model, 0.0, 0.1)
    prediction = model.predict(10 * SECOND)
    assert prediction is not None
    assert pose_error(prediction.map_from_cam, se3_exp(TWIST * 0.6)) == pytest.approx((0, 0), abs=1e-6)


def test_two_poses_long_after_each_other_make_no_velocity() -> None:
    model = MotionModel()
    moving(model, 0.0, 3.0)
    prediction = model.predict(4 * SECOND)
    assert prediction is not None
    assert pose_error(prediction.map_from_cam, se3_exp(TWIST * 3.0)) == pytest.approx((0, 0), abs=1e-6)


def test_odometry_replaces_the_velocity() -> None:
    model, odom_from_map = MotionModel(), Rigid3d(Rotation3d(np.array([0, 0, 2.0])), np.array([7.0, 8.0, 9.0]))
    for t in (0.0, 0.1):
        model.add(KnownPose(se3_exp(TWIST * t), round(t * SECOND), odom_from_map * se3_exp(TWIST * t)))
    stopped = model.predict(SECOND, odom_from_map * se3_exp(TWIST * 0.1))
    assert stopped is not None
    assert pose_error(stopped.map_from_cam, se3_exp(TWIST * 0.1)) == pytest.approx((0, 0), abs=1e-6)
    moved = model.predict(SECOND, odom_from_map * se3_exp(TWIST * 0.9))
    assert moved is not None
    assert pose_error(moved.map_from_cam, se3_exp(TWIST * 0.9)) == pytest.approx((0, 0), abs=1e-6)
    assert moved.position_std > stopped.position_std


def test_the_longer_ahead_the_less_sure() -> None:
    model = MotionModel()
    moving(model, 0.0, 0.1)
    predictions = [model.predict(round(t * SECOND)) for t in (0.1, 0.2, 0.5, 1.0)]
    deviations = [p.position_std for p in predictions if p is not None]
    assert deviations == sorted(deviations)
    assert deviations[0] == pytest.approx(MotionOptions().position_std)


def test_a_fresh_start_has_no_velocity() -> None:
    model = MotionModel()
    moving(model, 0.0, 0.1)
    model.restart(KnownPose(Rigid3d(), SECOND, None, 0.5, 0.1))
    prediction = model.predict(round(1.2 * SECOND))
    assert prediction is not None
    assert pose_error(prediction.map_from_cam, Rigid3d()) == (0, 0)
    assert prediction.position_std > 2.0, "0.2 s at up to 10 m/s"
    model.reset()
    assert model.predict(2 * SECOND) is None
