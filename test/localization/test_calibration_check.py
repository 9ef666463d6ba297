"""A calibration that is off is found by the localizer's inliers; a right one, and poor views, are no false alarm."""

from dataclasses import replace

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.localization.absolute_pose import estimate_absolute_pose
from vizloc_ros.localization.calibration_check import CalibrationCheck
from vizloc_ros.localization.outcome import LocalizedPose

TRUE = PinholeCamera(1241, 376, 718.0, 718.0, 607.0, 185.0)
IMAGES = 14


def view(k: int, noise_px: float = 0.7, count: int = 150) -> tuple[Float64, Float64]:
    """Pixels and positions [m] of points on both sides of a street, for the true camera after k meters."""
    rng = np.random.default_rng(k)
    sides = rng.choice([-1, 1], count) * rng.uniform(6, 12, count)
    points = np.stack([sides, rng.uniform(-5, 1.6, count), rng.uniform(4, 50, count)], axis=1)
    pixels, inside = TRUE.project(points)
    noisy = pixels[inside] + rng.normal(0, noise_px, (int(inside.sum()), 2))
    return noisy, points[inside] + [0.0, 0.0, float(k)]


def localize(check: CalibrationCheck, camera: PinholeCamera, images: range = range(IMAGES)) -> str:
    for k in images:
        pixels, positions = view(k)
        found = estimate_absolute_pose(pixels, positions, camera, max_error=8.0, max_trials=1000, seed=0)
        check.begin_image(camera)
        if found is not None:
            check.add(found.cam_from_map.inverse(), pixels[found.inliers], positions[found.inliers])
    return check.problem


@pytest.mark.parametrize("scale", [1.0, 1.004, 0.996])
def test_a_right_calibration_is_no_alarm(scale: float) -> None:
    assert localize(CalibrationCheck(), replace(TRUE, fx=scale * TRUE.fx, fy=scale * TRUE.fy)) == ""


@pytest.mark.parametrize(
    ("camera", "named"),
    [
        (replace(TRUE, fx=1.02 * TRUE.fx, fy=1.02 * TRUE.fy), "fx 732.4 px, where the images fit 71"),
        (replace(TRUE, fx=1.05 * TRUE.fx, fy=1.05 * TRUE.fy), "fx 753.9 px, where the images fit 7"),
        (replace(TRUE, fx=0.95 * TRUE.fx, fy=0.95 * TRUE.fy), "fx 682.1 px, where the images fit 7"),
        (replace(TRUE, fx=1.3 * TRUE.fx, fy=1.3 * TRUE.fy), "fx 933.4 px, where the images fit"),
        (replace(TRUE, cx=TRUE.cx + 40), "cx 647.0 px, where the images fit 60"),
    ],
)
def test_a_wrong_calibration_is_named_with_the_fitting_one(camera: PinholeCamera, named: str) -> None:
    problem = localize(CalibrationCheck(), camera)
    assert problem.startswith("the calibration does not fit the map")
    assert named in problem


def test_a_calibration_that_has_changed_must_be_confirmed() -> None:
    check = CalibrationCheck()
    assert localize(check, TRUE, range(3)) == ""
    near = replace(TRUE, fx=1.004 * TRUE.fx, fy=1.004 * TRUE.fy)
    assert "no pose until images confirm it" in localize(check, near, range(3, 6))
    assert localize(check, near, range(6, 10)) == ""
    assert localize(check, replace(TRUE, fx=1.05 * TRUE.fx, fy=1.05 * TRUE.fy), range(10, 20))
    assert localize(check, TRUE, range(20, 30)) == ""


@pytest.mark.parametrize("scale", [0.95, 1.05, 1.3])
def test_a_gross_error_shows_in_the_first_image(scale: float) -> None:
    wrong = replace(TRUE, fx=scale * TRUE.fx, fy=scale * TRUE.fy)
    assert localize(CalibrationCheck(), wrong, range(1)).startswith("the calibration does not fit the map: it says fx")


def pose_of(k: int, count: int) -> tuple[Float64, LocalizedPose]:
    """Keypoints of a view, and its pose with the first inliers."""
    pixels, positions = view(k, count=400)
    every = np.arange(count, dtype=np.int32)
    pose = LocalizedPose(
        map_from_cam=Rigid3d(Rotation3d(), np.array([0.0, 0.0, float(k)])),
        covariance=1e-4 * np.eye(6),
        keypoints=every,
        landmark_ids=every,
        positions=positions[:count],
        rejected=every[:0],
        reprojection_rms=1.0,
        place=0,
        probability=1.0,
    )
    return pixels, pose


def test_the_first_poses_wait_until_an_image_tells_or_for_the_third() -> None:
    keypoints, few = pose_of(0, 20)
    check = CalibrationCheck()
    assert check.check(TRUE, keypoints, None) == ""
    said = [check.check(TRUE, keypoints, few) or check.waits for _ in range(3)]
    assert [text.startswith("no image tells yet") for text in said] == [True, True, False]
    keypoints, many = pose_of(1, 150)
    assert CalibrationCheck().check(TRUE, keypoints, many) == ""


def test_a_calibration_that_waits_is_told_from_one_that_does_not_fit() -> None:
    check = CalibrationCheck()
    assert check.waits
    assert check.problem == ""
    localize(check, replace(TRUE, fx=1.3 * TRUE.fx, fy=1.3 * TRUE.fy), range(1))
    assert check.problem
    assert check.waits == ""


def test_an_alarm_that_further_images_contradict_ends() -> None:
    check = CalibrationCheck()
    check.begin_image(TRUE)
    pixels, positions = view(1)
    zoomed = (pixels - [TRUE.cx, TRUE.cy]) * 1.05 + [TRUE.cx, TRUE.cy]  # one image of a wrong place
    for k in range(2):
        check.add(Rigid3d(Rotation3d(), np.array([0.0, 0.0, 1.0 + k])), zoomed, positions)
    assert check.problem
    assert localize(check, TRUE, range(2, 6)) == ""


def test_images_that_tell_little_do_not_end_an_alarm() -> None:
    check = CalibrationCheck()
    check.begin_image(TRUE)
    pixels, positions = view(1)
    zoomed = (pixels - [TRUE.cx, TRUE.cy]) * 1.05 + [TRUE.cx, TRUE.cy]
    check.add(Rigid3d(Rotation3d(), np.array([0.0, 0.0, 1.0])), zoomed, positions)
    for noise_px, ends in ((4.0, False), (0.7, True)):
        for k in range(2, 8):
            check.add(Rigid3d(Rotation3d(), np.array([0.0, noise_px, float(k)])), *view(k, noise_px))
        assert (check.problem == "") is ends


def test_few_inliers_and_a_camera_at_rest_are_no_evidence() -> None:
    check, wrong = CalibrationCheck(), replace(TRUE, fx=1.011 * TRUE.fx, fy=1.011 * TRUE.fy)
    pixels, positions = view(0)
    for _ in range(30):
        check.begin_image(wrong)
        check.add(Rigid3d(Rotation3d(), np.zeros(3)), pixels, positions)
        check.add(Rigid3d(Rotation3d(), np.full(3, 5.0)), pixels[:20], positions[:20])
    assert check.problem == ""


def test_a_sheared_image_is_told_from_a_turn_of_the_camera() -> None:
    check = CalibrationCheck()
    check.begin_image(TRUE)
    pixels, positions = view(0)
    for shear, problem in ((0.02, ""), (0.12, "sheared by 12%, as by a slow shutter")):
        sheared = pixels + shear * (pixels[:, 1:] - TRUE.cy) * [1.0, 0.0]
        check.add(
            Rigid3d(Rotation3d(), np.array([0.0, 0.0, 10 * shear])), sheared, positions + np.array([0, 0, 10 * shear])
        )
        assert problem in check.problem
        assert bool(problem) is bool(check.problem)
