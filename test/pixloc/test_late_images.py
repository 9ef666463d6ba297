"""Poses of images that are older than their stamps are found out by the odometry, and right ones are not withheld."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.pixloc.late_images import LateImages
from vizloc_ros.pixloc.motion import KnownPose

SECOND = 1_000_000_000
MAP_FROM_ODOM = Rigid3d(Rotation3d(np.array([0.1, 0.7, -0.2])), np.array([20.0, -3.0, 5.0]))
STD, STD_RAD = 0.03, 0.003
ONSET = 4.0  # s

Motion = Callable[[float], Rigid3d]
Lag = Callable[[float], float]


def pose_at(x: float, z: float, yaw: float) -> Rigid3d:
    return Rigid3d(Rotation3d(np.array([0.0, yaw, 0.0])), np.array([x, 0.0, z]))


def straight(seconds: float) -> Rigid3d:
    return pose_at(0.0, 5.0 * seconds, 0.0)


def swerving(seconds: float) -> Rigid3d:
    """Between 3 and 7 m/s, and up to 29 deg/s."""
    return pose_at(3 * np.sin(0.6 * seconds), 5.0 * seconds + 2 * np.sin(seconds), 0.5 * np.sin(seconds))


def turning(seconds: float) -> Rigid3d:
    """In place."""
    return pose_at(0.0, 0.0, 0.5 * seconds)


def stop_and_go(seconds: float) -> Rigid3d:
    """5 m/s; from 6 to 12 s it stands."""
    return pose_at(0.0, 5.0 * (min(seconds, 6.0) + max(0.0, seconds - 12.0)), 0.0)


def standing(seconds: float) -> Rigid3d:
    return pose_at(1.0, 2.0, 0.3)


def since_onset(lag: float) -> Lag:
    return lambda seconds: lag if seconds >= ONSET else 0.0


@dataclass
class Result:
    """Of the images: withheld though right, published though wrong, all that were withheld."""

    withheld_right: int = 0
    published_wrong: int = 0
    withheld: int = 0


def drive(
    motion: Motion,
    lag: Lag,
    *,
    odometry: Motion | None = None,
    rate: float = 10.0,
    until: float = 14.0,
    has_pose: Callable[[float], bool] = lambda seconds: True,
    shows: Motion | None = None,
    seed: int = 0,
) -> Result:
    """Check the poses of a drive. ``shows``: where the camera really is, if not where the odometry says."""
    rng, images, result = np.random.default_rng(seed), LateImages(), Result()
    odometry = odometry or motion
    for seconds in np.arange(0.0, until, 1 / rate):
        stamp_ns = round((100 + seconds) * SECOND)
        odom_from_cam = MAP_FROM_ODOM.inverse() * odometry(seconds)
        images.note(stamp_ns, odom_from_cam)
        if not has_pose(seconds):
            continue
        noise = Rigid3d(Rotation3d(rng.normal(0, STD_RAD, 3) / 3**0.5), rng.normal(0, STD, 3) / 3**0.5)
        live = shows or motion
        pose = live(seconds - lag(seconds)) * noise
        reason = images.check(KnownPose(pose, stamp_ns, odom_from_cam, STD, STD_RAD))
        error, angle = pose_error(pose, live(seconds))
        is_wrong = error > 0.6 or angle > 6
        result.withheld += bool(reason)
        result.published_wrong += is_wrong and not reason
        result.withheld_right += bool(reason) and error < 0.3 and angle < 3
    return result


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("lag", [0.3, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("motion", [straight, swerving, turning])
def test_no_pose_of_late_images_is_published(motion: Motion, lag: float, seed: int) -> None:
    result = drive(motion, since_onset(lag), seed=seed)
    assert (result.published_wrong, result.withheld_right) == (0, 0)
    assert result.withheld > 90


@pytest.mark.parametrize("gap", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("lag", [0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("motion", [straight, swerving])
def test_the_first_pose_after_a_loss_is_withheld(motion: Motion, lag: float, gap: float) -> None:
    result = drive(motion, since_onset(lag), has_pose=lambda seconds: not ONSET <= seconds < ONSET + gap)
    if lag >= 0.3 * gap:  # the odometry may drift; what is close to where it puts the vehicle agrees
        assert (result.published_wrong, result.withheld_right) == (0, 0)


@pytest.mark.parametrize("pause", [0.0, 2.0])
@pytest.mark.parametrize("rate", [0.2, 0.5])
@pytest.mark.parametrize("motion", [straight, swerving])
def test_a_buffer_is_late_until_it_is_empty(motion: Motion, rate: float, pause: float) -> None:
    """After a pause without an image, or without one, the next ones come late, and the lag shrinks."""

    def lag(seconds: float) -> float:
        return max(0.0, 1.9 - rate * (seconds - 6.0)) if seconds >= 6.0 else 0.0

    result = drive(motion, lag, has_pose=lambda seconds: not 6.0 - pause < seconds < 6.0, until=30.0)
    assert result.published_wrong == 0
    assert result.withheld_right <= 20, "from a small lag to none it takes a while to be sure"


def with_drift(motion: Motion, share: float) -> Motion:
    """The same way, with distances and angles that are wrong by a share."""

    def drifted(seconds: float) -> Rigid3d:
        pose = motion(seconds)
        return Rigid3d(pose.rotation, (1 + share) * pose.translation)

    return drifted


@pytest.mark.parametrize("share", [-0.03, 0.03])
@pytest.mark.parametrize("motion", [straight, swerving])
def test_drift_of_three_percent_changes_nothing(motion: Motion, share: float) -> None:
    odometry = with_drift(motion, share)
    late = drive(motion, since_onset(1.0), odometry=odometry, until=60.0)
    assert (late.published_wrong, late.withheld_right) == (0, 0)
    assert drive(motion, lambda seconds: 0.0, odometry=odometry, until=60.0).withheld == 0


@pytest.mark.parametrize("motion", [straight, swerving, turning, stop_and_go, standing])
@pytest.mark.parametrize("rate", [1.0, 5.0, 10.0, 30.0])
def test_live_images_are_never_late(motion: Motion, rate: float) -> None:
    for seed in range(5):
        gaps = np.random.default_rng(seed).uniform(0, 30, 6)
        result = drive(
            motion,
            lambda seconds: 0.0,
            rate=rate,
            until=30.0,
            seed=seed,
            has_pose=lambda seconds, gaps=gaps: not any(gap <= seconds < gap + 2 for gap in gaps),
        )
        assert result.withheld == 0


def test_it_ends_with_the_first_live_image() -> None:
    result = drive(swerving, lambda seconds: 1.0 if ONSET <= seconds < 9.0 else 0.0)
    assert (result.withheld, result.published_wrong, result.withheld_right) == (50, 0, 0)


def test_a_vehicle_that_stands_is_where_late_images_show_it() -> None:
    """It gets poses, and none when it drives on."""
    result = drive(stop_and_go, since_onset(1.0), until=20.0)
    assert (result.published_wrong, result.withheld_right) == (0, 0)
    assert result.withheld == pytest.approx(30 + 80, abs=4)


def test_the_lag_may_change() -> None:
    result = drive(swerving, lambda seconds: 0.0 if seconds < ONSET else 1.0 + 0.5 * np.sin(seconds))
    assert (result.published_wrong, result.withheld_right) == (0, 0)


FAULTS: dict[str, Callable[[float], Rigid3d]] = {
    "stuck": lambda seconds: swerving(min(seconds, ONSET)),
    "twice": lambda seconds: swerving(seconds + max(0.0, seconds - ONSET)),
    "half": lambda seconds: swerving(seconds - 0.5 * max(0.0, seconds - ONSET)),
    "jumps": lambda seconds: pose_at(5.0 * (int(max(0.0, seconds - ONSET)) % 2), 0.0, 0.0) * swerving(seconds),
    "restarts": lambda seconds: swerving(ONSET).inverse() * swerving(seconds) if seconds > ONSET else swerving(seconds),
    "slips": lambda seconds: swerving(seconds + min(max(0.0, seconds - ONSET), 1.0)),
}


@pytest.mark.parametrize("rate", [5.0, 10.0, 30.0])
@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_odometry_withholds_nothing(fault: str, rate: float) -> None:
    assert drive(swerving, lambda seconds: 0.0, odometry=FAULTS[fault], rate=rate, until=30.0).withheld == 0


@pytest.mark.parametrize("fault", ["stuck", "twice", "half", "jumps", "restarts"])
@pytest.mark.parametrize("rate", [1.0, 2.0])
def test_rare_poses_may_be_withheld_until_the_next_one(fault: str, rate: float) -> None:
    result = drive(swerving, lambda seconds: 0.0, odometry=FAULTS[fault], rate=rate, until=30.0)
    assert result.withheld <= 1


def test_after_a_break_a_wrong_scale_withholds_one_pose_and_not_more() -> None:
    """For that one, it looks like a lag; but this would grow."""

    def twice(seconds: float) -> Rigid3d:
        return straight(seconds + max(0.0, seconds - ONSET))

    result = drive(straight, since_onset(0.0), odometry=twice, has_pose=lambda seconds: not ONSET < seconds < 5.0)
    assert result.withheld <= 1


def test_odometry_that_begins_anew_while_the_vehicle_stands_withholds_nothing() -> None:
    def restarted(seconds: float) -> Rigid3d:
        return stop_and_go(seconds) if seconds < 8.0 else pose_at(9.0, 0.0, 1.0)

    result = drive(stop_and_go, since_onset(0.0), odometry=restarted, has_pose=lambda seconds: not 7.5 < seconds < 8.5)
    assert result.withheld == 0


def test_one_wrong_pose_is_no_reason_to_forget_where_the_vehicle_was() -> None:
    def shows(seconds: float) -> Rigid3d:
        return (
            pose_at(8.0, 0.0, 0.0) * swerving(seconds)
            if round(10 * seconds) == round(10 * ONSET) - 1
            else swerving(seconds)
        )

    result = drive(swerving, since_onset(1.0), shows=shows)
    assert result.published_wrong == 0


@pytest.mark.parametrize("distance", [-40.0, -7.0, 10.0])
def test_a_vehicle_that_was_carried_away_keeps_its_poses(distance: float) -> None:
    """To the side and along its way; the odometry goes on."""

    def carried(seconds: float) -> Rigid3d:
        place = pose_at(4.0, distance, 0.3) if seconds >= ONSET else Rigid3d()
        return place * swerving(seconds)

    assert drive(swerving, lambda seconds: 0.0, shows=carried).withheld == 0


def test_a_vehicle_that_was_carried_back_on_its_way_gets_poses_once_it_has_stood() -> None:
    def carried(seconds: float) -> Rigid3d:
        return pose_at(0.0, -5.0 if seconds >= ONSET else 0.0, 0.0) * stop_and_go(seconds)

    images, reasons = LateImages(), []
    for seconds in np.arange(0.0, 14.0, 0.1):
        stamp_ns, odom_from_cam = round((100 + seconds) * SECOND), stop_and_go(seconds)
        images.note(stamp_ns, odom_from_cam)
        reasons.append(images.check(KnownPose(carried(seconds), stamp_ns, odom_from_cam, STD, STD_RAD)))
    assert all(reasons[41:60])
    assert not any(reasons[-20:])


def test_odometry_that_was_never_right_tells_nothing() -> None:
    twice = with_drift(swerving, 1.0)
    assert drive(swerving, since_onset(1.0), odometry=twice).withheld == 0


def test_without_odometry_nothing_is_late() -> None:
    images = LateImages()
    for k in range(20):
        images.note(k * SECOND, None)
        assert images.check(KnownPose(straight(k if k < 10 else k - 1), k * SECOND)) == ""


def test_the_reason_says_how_late_and_how_far() -> None:
    images, reason = LateImages(), ""
    for seconds in np.arange(0.0, 6.0, 0.1):
        stamp_ns, odom_from_cam = round((100 + seconds) * SECOND), straight(seconds)
        images.note(stamp_ns, odom_from_cam)
        shown = straight(seconds - since_onset(1.0)(seconds))
        reason = images.check(KnownPose(shown, stamp_ns, odom_from_cam, STD, STD_RAD))
    assert reason.startswith("images look 1.0 s older than their stamps: the odometry has moved on by 5.0 m and 0 deg")
    assert images.is_late
    images.reset()
    assert (images.reason, images.is_late) == ("", False)
