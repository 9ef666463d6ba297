"""Evidence for a pose, and the probability that it gives."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vizloc_ros.localization.pose_evidence import PoseEvidence, ProbabilityModel, shipped_model

CLEAR = PoseEvidence(matches=300, inliers=200, rms=0.25, cells=30, near=500, alike=300)
CHANCE = PoseEvidence(matches=250, inliers=40, rms=0.5, cells=7, near=200, alike=25)


def test_a_logistic_model_is_the_sum_of_its_terms() -> None:
    model = ProbabilityModel(provenance="by hand", intercept=1.0, weights={"rms": -4.0, "inlier_ratio": 3.0})
    evidence = replace(CLEAR, matches=10, inliers=5, rms=0.25)
    assert model.probability(evidence) == pytest.approx(1 / (1 + np.exp(-(1.0 - 1.0 + 1.5))))


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
        near=st.integers(0, 5000),
        alike=st.integers(0, 5000),
    )
)
def test_it_is_a_probability_for_any_evidence(evidence: PoseEvidence) -> None:
    assert 0 <= shipped_model().probability(evidence) <= 1


def test_larger_errors_and_fewer_similar_landmarks_make_it_smaller() -> None:
    model = shipped_model()
    for worse in (replace(CLEAR, rms=0.5), replace(CLEAR, alike=30), replace(CLEAR, matches=2000)):
        assert model.probability(worse) < model.probability(CLEAR)


def test_the_model_says_what_it_was_fitted_to() -> None:
    assert "seed" in shipped_model().provenance
