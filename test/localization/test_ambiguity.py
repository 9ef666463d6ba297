"""Ambiguity: a pose that another one explains nearly as well is not given."""

from dataclasses import replace

import numpy as np
import pytest
from point_street import CAMERA, PointStreet, View
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.places import Place
from vizloc_ros.localization.pose_solver import PoseSolver

STREET = PointStreet(seed=1)


@pytest.fixture(scope="module")
def view() -> View:
    return STREET.view(9.3, noise_px=0.5, clutter=60)


@pytest.fixture(scope="module")
def place(view: View) -> Place:
    """The place that the view shows, with its own descriptors."""
    seen = np.flatnonzero(view.points >= 0)
    ids = view.points[seen].astype(np.int32)
    positions = STREET.points[ids].astype(np.float32)
    return Place(positions, ids, view.keyframe.features.descriptors[seen])


def moved(place: Place, metres: float, kept: float = 1.0) -> Place:
    """A place that looks the same, so far away; a ratio of its landmarks."""
    away = Rigid3d(Rotation3d(), np.array([metres, 0.0, 0.0]))
    chosen = np.arange(len(place.landmark_ids)) % 10 < 10 * kept
    positions = transform_points(away, place.positions[chosen].astype(np.float64))
    return Place(positions.astype(np.float32), place.landmark_ids[chosen] + 100_000, place.descriptors[chosen])


def test_a_place_that_looks_the_same_makes_a_pose_ambiguous(view: View, place: Place) -> None:
    features = view.keyframe.features
    assert PoseSolver().solve(features, [place], CAMERA).pose is not None
    outcome = PoseSolver().solve(features, [place, moved(place, 50.0)], CAMERA)
    assert outcome.pose is None
    assert outcome.reason == "ambiguous: 2 places look alike"
    assert outcome.inliers > 100
    three = [place, moved(place, 50.0), moved(place, -80.0)]
    assert PoseSolver().solve(features, three, CAMERA).reason == "ambiguous: 3 places look alike"


def test_one_that_shares_a_few_landmarks_does_not(view: View, place: Place) -> None:
    features = view.keyframe.features
    few, most = moved(place, 50.0, kept=0.2), moved(place, 50.0, kept=0.7)
    assert PoseSolver().solve(features, [place, few], CAMERA).pose is not None
    assert PoseSolver().solve(features, [place, most], CAMERA).pose is None
    tolerant = PoseSolver(PoseOptions(max_rival_ratio=0.9))
    assert tolerant.solve(features, [place, most], CAMERA).pose is not None


def test_the_same_place_of_another_session_is_no_rival(view: View, place: Place) -> None:
    """Its landmarks have other ids and positions that differ by centimeters."""
    again = moved(place, 0.05)
    assert PoseSolver().solve(view.keyframe.features, [place, again], CAMERA).pose is not None


def test_a_rival_within_the_place_is_found_in_the_matches_that_are_left_over(view: View, place: Place) -> None:
    """Half of the keypoints agree on one pose, the others on another one, as with tiles."""
    other = moved(place, 3.0)
    even = np.arange(len(place.landmark_ids)) % 2 == 0
    mixed = replace(
        place,
        positions=np.where(even[:, None], place.positions, other.positions),
        landmark_ids=np.where(even, place.landmark_ids, other.landmark_ids),
    )
    outcome = PoseSolver(PoseOptions(min_probability=0.0)).solve(view.keyframe.features, [mixed], CAMERA)
    assert outcome.reason == "ambiguous: 2 places look alike"


def test_as_many_places_are_asked_as_the_options_say(view: View, place: Place) -> None:
    decoys = [Place(np.zeros((0, 3), np.float32), np.zeros(0, np.int32), place.descriptors[:0])] * 2
    places = [place, *decoys, moved(place, 50.0)]
    asked = {
        number: PoseSolver(PoseOptions(rival_places=number)).solve(view.keyframe.features, places, CAMERA).pose is None
        for number in (0, 2, 3)
    }
    assert asked == {0: False, 2: False, 3: True}
