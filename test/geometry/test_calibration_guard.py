"""A camera_info that changes while the camera runs pauses the images; values that cannot be are refused."""

from dataclasses import replace

import pytest

from vizloc_ros.errors import CameraError
from vizloc_ros.geometry.calibration_guard import CalibrationGuard
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.camera_info import camera_from_info
from vizloc_ros.geometry.rectification import DistortedCamera, Rectifier

GOOD = DistortedCamera(PinholeCamera(640, 480, 500.0, 500.0, 320.0, 240.0), (-0.1, 0.01, 0.0, 0.0))


def changed(**values: float) -> DistortedCamera:
    return replace(GOOD, pinhole=replace(GOOD.pinhole, **values))


def running(stable: int = 4) -> CalibrationGuard:
    guard = CalibrationGuard(stable, "none yet")
    assert (guard.camera, guard.problem) == (None, "none yet")
    for _ in range(3):
        assert guard.offer(GOOD) == ""
    assert (guard.camera, guard.problem) == (GOOD, "")
    return guard


@pytest.mark.parametrize(
    ("camera", "named"),
    [
        (changed(fx=650.0, fy=650.0), "fx 500 -> 650, fy 500 -> 650"),
        (changed(fx=525.0), "fx 500 -> 525"),
        (changed(cx=360.0), "cx 320 -> 360"),
        (replace(GOOD, distortion=(-0.3, 0.01, 0.0, 0.0)), r"d (-0.1 0.01 0 0) -> (-0.3 0.01 0 0)"),
        (replace(GOOD, distortion=(0.0,) * 4, model="equidistant"), "plumb_bob -> equidistant"),
    ],
)
def test_a_change_pauses_until_it_is_stable_and_names_both_values(camera: DistortedCamera, named: str) -> None:
    guard = running()
    assert named in guard.offer(camera)
    for _ in range(2):
        assert guard.camera is None
        assert named in guard.problem
        assert guard.offer(camera) == ""
    assert named in guard.offer(camera)
    assert (guard.camera, guard.problem, guard.changes) == (camera, "", 1)


def test_two_drivers_on_one_topic_pause_it_for_good() -> None:
    guard = running()
    for turn in range(20):
        guard.offer(changed(fx=650.0))
        assert guard.camera is None
        guard.offer(GOOD)
        assert (guard.camera is None) is (turn >= 2)
    for _ in range(3):
        guard.offer(GOOD)
    assert (guard.camera, guard.changes) == (GOOD, 0)


def test_one_wrong_message_costs_the_images_until_the_next() -> None:
    guard = running()
    for _ in range(10):
        assert "size 640x480 -> 320x240" in guard.offer(changed(width=320, height=240))
        assert guard.camera is None
        assert "as before" in guard.offer(GOOD)
        assert guard.camera == GOOD
        for _ in range(5):
            guard.offer(GOOD)


def test_a_latched_change_counts_images_instead() -> None:
    guard = running()
    guard.offer(changed(fx=650.0))
    assert [guard.saw_image() != "" for _ in range(4)] == [False, False, False, True]
    assert guard.camera == changed(fx=650.0)
    assert guard.saw_image() == ""


def test_nonsense_between_good_messages_is_never_used() -> None:
    guard = running()
    guard.refuse(CameraError("k is nonsense"))
    assert (guard.camera, guard.problem) == (None, "k is nonsense")
    assert guard.offer(GOOD) == ""
    assert guard.camera == GOOD
    guard.refuse(CameraError("k is nonsense"))
    guard.offer(changed(fx=650.0))
    assert guard.camera is None


def test_a_camera_that_focuses_goes_on() -> None:
    guard = running()
    for step in range(10):
        camera = changed(fx=500.0 + 0.5 * step)
        assert guard.offer(camera) == ""
        assert guard.camera == camera


@pytest.mark.parametrize("fx", [1.0, 100.0, 3300.0, 1e300])
def test_focal_lengths_of_no_camera_are_refused(fx: float) -> None:
    with pytest.raises(CameraError, match=r"not 0\.2 to 5 times the width, 640"):
        camera_from_info(640, 480, [fx, 0, 320, 0, fx, 240, 0, 0, 1], (), "")


def test_pixels_that_are_no_rectangle_of_a_sensor_are_refused() -> None:
    with pytest.raises(CameraError, match=r"fx and fy differ by more than a factor of 2\.5"):
        camera_from_info(640, 480, [1500, 0, 320, 0, 150, 240, 0, 0, 1], (), "")
    camera_from_info(640, 480, [500, 0, 320, 0, 250, 240, 0, 0, 1], (), "")  # every second row


@pytest.mark.parametrize("d", [(-0.5, 0.1, 0.0, 0.0), (-0.5, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, -2.0)])
def test_distortion_that_folds_inside_the_image_is_refused(d: tuple[float, ...]) -> None:
    with pytest.raises(CameraError, match=r"folds inside the image|empty or folded"):
        Rectifier(camera_from_info(640, 480, [500, 0, 320, 0, 500, 240, 0, 0, 1], d, "plumb_bob"))
