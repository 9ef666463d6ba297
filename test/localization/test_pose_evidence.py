"""Evidence for a pose, and the probability that it gives."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.localization.pose_evidence import Logistic, PoseEvidence, depth_ratio, shipped_model

CLEAR = PoseEvidence(matches=300, inliers=200, rms=0.25, cells=30, depths=3.0, near=500, alike=300)
CHANCE = PoseEvidence(matches=250, inliers=40, rms=0.5, cells=7, depths=1.4, near=200, alike=25)


def test_a_logistic_model_is_the_sum_of_its_terms() -> None:
    model = Logistic(intercept=1.0, weights={"rms": -4.0, "inlier_ratio": 3.0})
    evidence = replace(CLEAR, matches=10, inliers=5, rms=0.25)
    assert model.probability(evidence.terms) == pytest.approx(1 / (1 + np.exp(-(1.0 - 1.0 + 1.5))))


def test_clear_poses_are_nearly_sure_and_those_by_chance_are_not() -> None:
    """The second one is what half of a covered lens has given, 57 m off."""
    assert shipped_model().probability(CLEAR) > 0.9999
    assert shipped_model().probability(CHANCE) < 0.7


@given(
    st.builds(
        PoseEvidence,
        matches=st.integers(0, 5000),
        inliers=st.integers(0, 5000),
        rms=st.floats(0, 1),
        cells=st.integers(0, 48),
        depths=st.floats(0, 1000),
        near=st.integers(0, 5000),
        alike=st.integers(0, 5000),
        further=st.none() | st.floats(0, 20_000),
    )
)
def test_it_is_a_probability_for_any_evidence(evidence: PoseEvidence) -> None:
    assert 0 <= shipped_model().probability(evidence) <= 1


def test_larger_errors_fewer_similar_landmarks_and_a_single_depth_make_it_smaller() -> None:
    model = shipped_model()
    for worse in (
        replace(CLEAR, rms=0.5),
        replace(CLEAR, alike=30),
        replace(CLEAR, matches=2000),
        replace(CLEAR, depths=1.2),
    ):
        assert model.probability(worse) < model.probability(CLEAR)


def test_support_by_further_landmarks_tells_more_than_the_rest() -> None:
    model = shipped_model()
    much, little = (model.probability(replace(CHANCE, further=support)) for support in (300.0, 5.0))
    assert much > model.probability(CHANCE) > little


def test_depths_of_a_wall_and_of_a_street() -> None:
    away = Rigid3d(Rotation3d(), np.array([0.0, 0.0, 2.0]))
    wall = np.array([[x, 0.0, 8.0] for x in range(-5, 6)])
    street = np.array([[0.0, 0.0, z] for z in range(1, 102)], np.float64)
    assert depth_ratio(away, wall) == pytest.approx(1.0)
    assert depth_ratio(away, street) == pytest.approx((91 + 2) / (11 + 2))
    assert depth_ratio(away, wall - [0.0, 0.0, 20.0]) == depth_ratio(away, wall[:0]) == 1.0


def test_the_model_says_what_it_was_fitted_to() -> None:
    assert "seed" in shipped_model().provenance
