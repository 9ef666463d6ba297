"""Evidence for a pose, and the probability that it gives."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.localization.pose_evidence import (
    PoseEvidence,
    ProbabilityModel,
    depth_ratio,
    relative_thickness,
    shipped_model,
)

CLEAR = PoseEvidence(
    matches=300, inliers=200, rms=0.25, cells=30, depths=3.0, thickness=0.4, near=500, alike=300, further=400.0
)
CHANCE = PoseEvidence(
    matches=250, inliers=40, rms=0.5, cells=7, depths=1.4, thickness=0.05, near=200, alike=25, further=20.0
)


def test_a_logistic_model_is_the_sum_of_its_terms() -> None:
    model = ProbabilityModel(provenance="", intercept=1.0, weights={"rms": -4.0, "inlier_ratio": 3.0})
    evidence = replace(CLEAR, matches=10, inliers=5, rms=0.25)
    assert model.probability(evidence) == pytest.approx(1 / (1 + np.exp(-(1.0 - 1.0 + 1.5))))


def test_clear_poses_are_nearly_sure_and_those_by_chance_are_not() -> None:
    """The second one is what half of a covered lens has given, 57 m off."""
    assert shipped_model().probability(CLEAR) > 0.9999
    assert shipped_model().probability(CHANCE) < 0.7


EVIDENCE = st.builds(
    PoseEvidence,
    matches=st.integers(0, 5000),
    inliers=st.integers(0, 5000),
    rms=st.floats(0, 1),
    cells=st.integers(0, 48),
    depths=st.floats(0, 1000),
    thickness=st.floats(0, 1),
    near=st.integers(0, 5000),
    alike=st.integers(0, 5000),
    further=st.floats(0, 20_000),
)


@given(EVIDENCE)
def test_it_is_a_probability_for_any_evidence(evidence: PoseEvidence) -> None:
    assert 0 <= shipped_model().probability(evidence) <= 1


@given(EVIDENCE)
def test_further_landmarks_only_speak_for_a_pose(evidence: PoseEvidence) -> None:
    """So a pose that is probable enough without them need not have them looked at."""
    assert shipped_model().probability(replace(evidence, further=0.0)) <= shipped_model().probability(evidence)


@given(EVIDENCE, EVIDENCE)
def test_more_agreement_never_speaks_against_a_pose(evidence: PoseEvidence, other: PoseEvidence) -> None:
    """Whatever is there already."""
    probability = shipped_model().probability
    better = replace(
        evidence,
        inliers=max(evidence.inliers, other.inliers),
        rms=min(evidence.rms, other.rms),
        cells=max(evidence.cells, other.cells),
        depths=max(evidence.depths, other.depths),
        thickness=max(evidence.thickness, other.thickness),
        alike=max(evidence.alike, other.alike),
    )
    assert probability(evidence) <= probability(better)


def test_larger_errors_fewer_similar_landmarks_a_single_depth_and_a_plane_make_it_smaller() -> None:
    model = shipped_model()
    for worse in (
        replace(CLEAR, rms=0.5),
        replace(CLEAR, alike=30),
        replace(CLEAR, matches=2000),
        replace(CLEAR, depths=1.2),
        replace(CLEAR, thickness=0.02),
    ):
        assert model.probability(worse) < model.probability(CLEAR)


def test_support_by_further_landmarks_tells_more_than_the_rest() -> None:
    much, little = (shipped_model().probability(replace(CHANCE, further=support)) for support in (300.0, 5.0))
    assert much > shipped_model().probability(CHANCE) > little


def test_depths_of_a_wall_and_of_a_street() -> None:
    away = Rigid3d(Rotation3d(), np.array([0.0, 0.0, 2.0]))
    wall = np.array([[x, 0.0, 8.0] for x in range(-5, 6)])
    street = np.array([[0.0, 0.0, z] for z in range(1, 102)], np.float64)
    assert depth_ratio(away, wall) == pytest.approx(1.0)
    assert depth_ratio(away, street) == pytest.approx((91 + 2) / (11 + 2))
    assert depth_ratio(away, wall - [0.0, 0.0, 20.0]) == depth_ratio(away, wall[:0]) == 1.0


def test_a_road_is_thin_and_a_street_is_not() -> None:
    rng = np.random.default_rng(0)
    road = rng.uniform((-4, 1.5, 5), (4, 1.5, 40), (200, 3))
    assert relative_thickness(road) < 1e-6
    rotation = Rotation3d(np.array([0.1, 0.3, -0.2, 1.0]))
    assert relative_thickness(road @ rotation.matrix().T + 100.0) < 1e-6
    street = rng.uniform((-4, -4, 5), (4, 4, 40), (2000, 3))
    assert relative_thickness(street) == pytest.approx(1.0, abs=0.1)
    assert relative_thickness(3.0 * street) == pytest.approx(relative_thickness(street))
    assert relative_thickness(street[:3]) == relative_thickness(np.zeros((9, 3))) == 0.0


def test_the_model_says_what_it_was_fitted_to() -> None:
    assert "seed" in shipped_model().provenance
    assert "benchmarks/pose_probability.py" in shipped_model().provenance
    assert "wrong" in shipped_model().provenance
