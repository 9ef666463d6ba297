"""Verification: accepted, ambiguous and rejected alignments."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment, ViewFit
from vizloc_ros.pixloc.verification import Verification, VerificationOptions, agreement_ratio, deviation, verify

OPTIONS = VerificationOptions()
MAP_FROM_CAM = Rigid3d(Rotation3d(np.array([0.0, 0.1, 0.0])), np.array([3.0, -1.0, 20.0]))
GOOD = Alignment(
    cam_from_map=MAP_FROM_CAM.inverse(),
    failure="",
    cost=1.0,
    inlier_ratio=0.9,
    num_points=400,
    iterations=(3, 2, 2, 2),
    covariance=np.diag([1e-4] * 3 + [1e-6] * 3),
)


def predicted(*away: float) -> Prediction:
    """Prediction with standard deviations of 0.1 m and 0.01 rad, from which the good pose is ``away`` [m, rad]."""
    return Prediction(MAP_FROM_CAM * se3_exp(np.array(away)).inverse(), 0.1, 0.01)


def moved(*away: float) -> Alignment:
    return replace(GOOD, cam_from_map=(MAP_FROM_CAM * se3_exp(np.array(away))).inverse())


def test_a_good_alignment_near_its_prediction_is_accepted() -> None:
    assert verify(GOOD, predicted(0.1, 0, 0, 0, 0.01, 0), OPTIONS) == Verification("")
    assert verify(GOOD, None, OPTIONS) == Verification("")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"failure": "diverged"}, "diverged"),
        ({"num_points": 39}, "only 39 landmarks in the image, 40 are needed"),
        ({"inlier_ratio": 0.34}, "only 34% of the landmarks look as in the map, 35% are needed"),
        ({"covariance": np.diag([1e-4, 1e-4, 1.5**2, 1e-6, 1e-6, 1e-6])}, "uncertain by 1.5 m"),
        ({"covariance": np.full((6, 6), np.nan)}, "uncertain by nan m"),
    ],
)
def test_rejected_alignments_have_a_reason(changes: dict[str, Any], reason: str) -> None:
    verification = verify(replace(GOOD, **changes), None, OPTIONS)
    assert reason in verification.reason
    assert not verification.ambiguous


def of_views(*fits: tuple[float, int, float]) -> Alignment:
    """Alignment of several views: inlier ratio, number of landmarks and contradiction of each."""
    ratio = sum(ratio * count for ratio, count, _ in fits) / sum(count for _, count, _ in fits)
    return replace(GOOD, inlier_ratio=ratio, fits=tuple(ViewFit(*fit) for fit in fits))


def test_every_view_must_look_as_in_the_map() -> None:
    assert verify(of_views((0.9, 400, 0.1), (0.7, 300, 0.1)), None, OPTIONS, 3.0) == Verification("")
    unlike = verify(of_views((0.9, 400, 0.1), (0.3, 300, 0.1)), None, OPTIONS, 3.0)
    assert "only 30% of the landmarks look as in the map" in unlike.reason


@pytest.mark.parametrize("contradiction", [3.1, np.inf])
def test_no_view_may_contradict_the_pose(contradiction: float) -> None:
    apart = of_views((0.9, 400, contradiction), (0.9, 300, 0.1))
    assert verify(apart, None, OPTIONS, 3.0).reason == "the cameras contradict each other"
    assert verify(apart, None, OPTIONS).reason == ""


def test_one_strong_view_is_evidence_enough() -> None:
    assert not verify(of_views((0.8, 100, 0.0), (0.4, 400, 0.0)), None, OPTIONS, 3.0).ambiguous
    assert verify(of_views((0.8, 39, 0.0), (0.4, 400, 0.0)), None, OPTIONS, 3.0).ambiguous, "of too few landmarks"
    assert verify(of_views((0.5, 100, 0.0), (0.4, 400, 0.0)), None, OPTIONS, 3.0).ambiguous


def test_with_few_inliers_the_position_must_be_more_exact() -> None:
    exact, inexact = (replace(GOOD, covariance=np.diag([std**2] * 3 + [1e-6] * 3)) for std in (0.044, 0.046))
    assert verify(inexact, None, OPTIONS) == Verification("")
    assert verify(replace(exact, inlier_ratio=0.5), None, OPTIONS) == Verification("", ambiguous=True)
    assert "uncertain by 0.046 m" in verify(replace(inexact, inlier_ratio=0.5), None, OPTIONS).reason


def test_few_inliers_and_large_deviations_are_ambiguous() -> None:
    assert verify(replace(GOOD, inlier_ratio=0.59), None, OPTIONS) == Verification("", ambiguous=True)
    assert verify(GOOD, predicted(0, 0, 0.5, 0, 0, 0), OPTIONS) == Verification("", ambiguous=True)
    assert verify(GOOD, predicted(0, 0, 0, 0, 0.05, 0), OPTIONS) == Verification("", ambiguous=True)


@pytest.mark.parametrize("away", [(0, 0, 1.0, 0, 0, 0), (0, 0, 0, 0, 0.1, 0)])
def test_alignments_far_from_the_prediction_are_rejected(away: tuple[float, ...]) -> None:
    """Even with many inliers, and if all other initial poses end there."""
    verification = verify(GOOD, predicted(*away), OPTIONS)
    assert "standard deviations away from the prediction, 6 at most" in verification.reason
    assert verification.contradicts
    assert not verify(replace(GOOD, inlier_ratio=0.59), predicted(*away), OPTIONS).contradicts


def test_deviations_contain_both_uncertainties() -> None:
    assert deviation(GOOD, predicted(0.3, 0, 0, 0, 0, 0)) == pytest.approx(0.3 / np.hypot(0.1, np.sqrt(3e-4)))
    assert deviation(GOOD, predicted(0, 0, 0, 0.03, 0, 0)) == pytest.approx(0.03 / np.hypot(0.01, np.sqrt(3e-6)))


def test_agreement_is_the_ratio_that_ends_at_the_same_pose() -> None:
    near, aside, turned = moved(0.1, 0, 0, 0, 0, 0), moved(0.2, 0, 0, 0, 0, 0), moved(0, 0, 0, 0, 0.03, 0)
    assert agreement_ratio([near, aside, turned, near], GOOD, OPTIONS) == 0.5
    assert agreement_ratio([], GOOD, OPTIONS) == 0.0
