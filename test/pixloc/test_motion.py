"""Predictions: constant velocity, odometry, a gyroscope, and how far they may be off."""

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.se3 import se3_exp, so3_exp
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


@pytest.mark.parametrize(("speed", "is_believed"), [(8.0, True), (40.0, False)])
def test_two_localizations_tell_the_velocity_unless_it_is_unlikely(speed: float, is_believed: bool) -> None:
    model = MotionModel()
    poses = [Rigid3d(Rotation3d(), np.array([0.0, 0.0, speed * t])) for t in (0.0, 0.2, 0.5)]
    first, second = (KnownPose(pose, round(t * SECOND)) for pose, t in zip(poses, (0.0, 0.2), strict=False))
    model.restart(second, first)
    prediction = model.predict(round(0.5 * SECOND))
    assert prediction is not None
    if is_believed:
        assert pose_error(prediction.map_from_cam, poses[2])[0] == pytest.approx(0, abs=1e-9)
        assert prediction.position_std < 1.0
    else:
        assert pose_error(prediction.map_from_cam, poses[1])[0] == 0
        assert prediction.position_std > 1.0


def turning(seconds: float) -> Rigid3d:
    """A camera that moves ahead at 1 m/s, and begins to turn at 60 deg/s after a second."""
    angle = np.radians(60.0) * max(0.0, seconds - 1.0)
    return Rigid3d(so3_exp(np.array([0.0, angle, 0.0])), np.array([0.0, 0.0, seconds]))


def test_a_gyroscope_tells_of_a_turn_that_starts_suddenly() -> None:
    by_velocity, by_gyroscope = MotionModel(), MotionModel()
    errors = []
    for k in range(40):
        pose, stamp = turning(k / 30), round(k * SECOND / 30)
        before = by_gyroscope.last
        turn = None if before is None else before.map_from_cam.rotation.inverse() * pose.rotation
        predictions = by_velocity.predict(stamp), by_gyroscope.predict(stamp, turn=turn)
        if predictions[0] is not None and predictions[1] is not None:
            errors.append([pose_error(each.map_from_cam, pose)[1] for each in predictions])
            assert predictions[0].position_std == predictions[1].position_std
        by_velocity.add(KnownPose(pose, stamp))
        by_gyroscope.add(KnownPose(pose, stamp), turn)
    without, with_gyroscope = np.max(errors, axis=0)
    assert without == pytest.approx(2.0, abs=0.01), "60 deg/s in a 30th of a second"
    assert with_gyroscope < 1e-5


def test_a_gyroscope_is_surer_of_a_turn_than_a_velocity_and_says_nothing_of_the_way() -> None:
    model, turn = MotionModel(), so3_exp(np.radians([0.0, 30.0, 0.0]))
    moving(model, 0.0, 0.1, 0.2)
    stamp = round(0.7 * SECOND)
    without, with_gyroscope = model.predict(stamp), model.predict(stamp, turn=turn)
    assert without is not None
    assert with_gyroscope is not None
    assert np.degrees(without.rotation_std) > 10
    assert np.degrees(with_gyroscope.rotation_std) == pytest.approx(np.hypot(np.hypot(0.5, 0.25), 0.03 * 30))
    assert (with_gyroscope.map_from_cam.translation == without.map_from_cam.translation).all()
    assert with_gyroscope.position_std == without.position_std


def test_with_odometry_too_the_gyroscope_tells_the_turn() -> None:
    model, turn = MotionModel(), so3_exp(np.radians([0.0, 10.0, 0.0]))
    model.add(KnownPose(Rigid3d(), 0, Rigid3d()))
    odometry = Rigid3d(so3_exp(np.radians([0.0, 4.0, 0.0])), np.array([0.0, 0.1, 0.5]))
    predicted = model.predict(SECOND // 10, odometry, turn)
    assert predicted is not None
    assert pose_error(predicted.map_from_cam, Rigid3d(turn, odometry.translation)) == pytest.approx((0, 0), abs=1e-6)


def test_errors_with_a_gyroscope_tell_nothing_about_those_without() -> None:
    model, still = MotionModel(), Rotation3d()
    for k in range(6):
        model.add(KnownPose(Rigid3d(), k * SECOND // 30), still)
    stamp = 6 * SECOND // 30
    with_gyroscope, without = model.predict(stamp, turn=still), model.predict(stamp)
    assert with_gyroscope is not None
    assert without is not None
    assert with_gyroscope.likely_error == pytest.approx((0, 0))
    assert without.likely_error is None
