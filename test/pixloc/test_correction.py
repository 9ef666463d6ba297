"""Corrections of a track by the localizer's poses: weights, fading, and a drive with errors as the model has them."""

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.covariance import squared_error
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.pixloc.correction import Correction, PoseEstimate, fused

DISTANCE = 2.0
START = se3_exp(np.array([3.0, -1.0, 0.5, 0.2, -0.4, 1.1]))


def diagonal(*std: float) -> Float64:
    return np.diag(np.square(std))


ALONG_ROAD = diagonal(0.02, 0.02, 0.2, 0.002, 0.002, 0.002)
LOCALIZERS = diagonal(0.01, 0.01, 0.01, 0.001, 0.001, 0.001)


def at(z: float, *offset: float) -> Rigid3d:
    """Pose z meters along the road, with an offset (6,) as of ``PoseEstimate.moved``."""
    pose = Rigid3d(START.rotation, START.translation + np.array([0, 0, z]))
    return PoseEstimate(pose, ALONG_ROAD).moved(np.array(offset or [0.0] * 6), ALONG_ROAD).map_from_cam


def test_an_offset_moves_one_pose_to_the_other() -> None:
    one, other = PoseEstimate(START, ALONG_ROAD), PoseEstimate(at(1.0, 0.1, 0.2, 0.3, 0.4, -0.5, 0.6), ALONG_ROAD)
    moved = one.moved(one.offset_to(other), ALONG_ROAD).map_from_cam
    np.testing.assert_allclose(moved.matrix(), other.map_from_cam.matrix(), atol=1e-12)


def test_fusion_adds_information_and_does_not_depend_on_the_order() -> None:
    """Across the road the localizer's counts four times as much, along it nearly alone."""
    one, other = PoseEstimate(START, ALONG_ROAD), PoseEstimate(at(0.3, 0.03, 0, 0, 0, 0, 0), LOCALIZERS)
    both, reverse = fused(one, other), fused(other, one)
    np.testing.assert_allclose(both.map_from_cam.matrix(), reverse.map_from_cam.matrix(), atol=1e-9)
    np.testing.assert_allclose(both.covariance, reverse.covariance, atol=1e-12)
    information = np.linalg.inv(ALONG_ROAD) + np.linalg.inv(LOCALIZERS)
    np.testing.assert_allclose(both.covariance, np.linalg.inv(information), rtol=1e-9)
    across, _, along = both.map_from_cam.translation - START.translation
    np.testing.assert_allclose([across, along], [0.03 * 0.8, 0.3 * 400 / 401], rtol=1e-9)


def test_without_a_localization_a_pose_stays() -> None:
    estimate, correction = PoseEstimate(START, ALONG_ROAD), Correction()
    assert correction.corrected(estimate, DISTANCE) is estimate
    correction.observe(estimate, PoseEstimate(at(0.3), LOCALIZERS))
    assert correction.corrected(estimate, 0.0) is estimate, "a distance of zero turns it off"
    correction.reset()
    assert correction.corrected(estimate, DISTANCE) is estimate


def test_a_covariance_that_is_none_corrects_nothing() -> None:
    estimate, correction = PoseEstimate(START, ALONG_ROAD), Correction()
    for none in (np.zeros((6, 6)), -LOCALIZERS):
        correction.observe(estimate, PoseEstimate(at(0.3), none))
        assert correction.corrected(estimate, DISTANCE) is estimate


def test_a_correction_fades_with_the_way_and_with_the_turn() -> None:
    """At the image itself the pose is the fused one; ten lengths away, or turned around, the track's own."""
    correction, given = Correction(), PoseEstimate(at(0.3), LOCALIZERS)
    own = PoseEstimate(at(0.0), ALONG_ROAD)
    correction.observe(own, given)
    here, best = correction.corrected(own, DISTANCE), fused(own, given)
    np.testing.assert_allclose(here.map_from_cam.matrix(), best.map_from_cam.matrix(), atol=1e-12)
    np.testing.assert_allclose(here.covariance, best.covariance, atol=1e-12)

    moved = []
    for way in (0.0, DISTANCE, 2 * DISTANCE):
        there = PoseEstimate(at(way), ALONG_ROAD)
        moved.append(np.linalg.norm(there.offset_to(correction.corrected(there, DISTANCE))))
    np.testing.assert_allclose(moved[1:], moved[0] * np.exp([-1, -2]), rtol=1e-6)

    for far in (at(10 * DISTANCE), at(0.0, 0, 0, 0, 0, 3.0, 0)):
        there = PoseEstimate(far, ALONG_ROAD)
        left = correction.corrected(there, DISTANCE)
        assert np.linalg.norm(there.offset_to(left)) < 0.02 * moved[0]
        np.testing.assert_allclose(left.covariance, ALONG_ROAD, rtol=0.02)


def test_errors_that_fade_as_modelled_become_smaller_and_the_covariance_says_so() -> None:
    """A drive whose alignments are off alike; the localizer's poses come every 2 m, and 0.5 m late."""
    rng, step = np.random.default_rng(0), 0.1
    deviations, localizers = np.sqrt(np.diag(ALONG_ROAD)), np.sqrt(np.diag(LOCALIZERS))
    kept = np.exp(-step / DISTANCE)
    error, errors, nees = rng.normal(size=6) * deviations, [], []
    correction, late = Correction(), None
    for k in range(10_000):
        error = kept * error + np.sqrt(1 - kept**2) * rng.normal(size=6) * deviations
        own = PoseEstimate(at(k * step, *error), ALONG_ROAD)
        if k % 20 == 0:
            late = own, PoseEstimate(at(k * step, *(rng.normal(size=6) * localizers)), LOCALIZERS)
        elif k % 20 == 5 and late is not None:
            correction.observe(*late)
        corrected = correction.corrected(own, DISTANCE)
        errors.append([error[2], corrected.map_from_cam.translation[2] - at(k * step).translation[2]])
        nees.append(squared_error(corrected.map_from_cam, at(k * step), corrected.covariance))
    raw, left = np.sqrt(np.mean(np.square(errors), axis=0))
    np.testing.assert_allclose(left / raw, 0.86, atol=0.02)  # the mean over 0.5 m to 2.5 m of 1 - exp(-2 d / DISTANCE)
    assert 5.4 < np.mean(nees) < 6.6, "an honest covariance has 6"
