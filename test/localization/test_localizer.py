"""From features to a verified pose, or the reason why there is none."""

import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from point_street import CAMERA, PointStreet, View, write_point_map

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import FeatureError
from vizloc_ros.evaluation.offline_localization import OfflineRun, evaluate_localization, localize_records
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.poses import pose_error, transform_points
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.localization_options import PoseOptions, RetrievalOptions
from vizloc_ros.localization.places import Place, PlaceFinder
from vizloc_ros.localization.pose_solver import PoseSolver
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def query_lap(street: SyntheticStreet) -> list[Record]:
    """Frames of the other lap, in other light, whose view the map has."""
    return street.records("query")[1:18:4]


@pytest.fixture(scope="module")
def run(street_map: VisualMap, query_lap: list[Record]) -> OfflineRun:
    return localize_records(query_lap, street_map, HierarchicalLocalizer(street_map), keep_features=True)


def test_the_other_lap_is_localized(run: OfflineRun, query_lap: list[Record]) -> None:
    assert list(run.outcomes) == [record.name for record in query_lap]
    assert run.unlocalized == {}
    for record in query_lap:
        metres, degrees = pose_error(run.estimates[record.name], record.world_from_cam)
        assert metres < 0.25
        assert degrees < 1.0
    retrieval = run.retrieval
    assert retrieval is not None
    assert retrieval.pop("landmarks") > 0.9
    assert retrieval == {"r1_5m": 1.0, "r10_5m": 1.0}


def test_the_evaluation_is_a_function_that_returns_its_report(
    street_map: VisualMap, query_lap: list[Record], tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out"
    report = evaluate_localization(street_map, query_lap[:2], out, seed=3, details={"note": "x"})
    assert (report["num_poses"], report["num_failed"], report["seed"], report["note"]) == (2, 0, 3, "x")
    assert "unrefined" not in report
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(report))
    assert {path.name for path in out.iterdir()} == {
        *("report.json", "poses_tum.txt", "poses_visuallocalization.txt"),
        *("trajectory.png", "errors.png", "overlay.png", "images.npz"),
    }


def test_a_pose_says_what_supports_it(run: OfflineRun, query_lap: list[Record], street_map: VisualMap) -> None:
    for record in query_lap:
        outcome, features = run.outcomes[record.name], run.features[record.name]
        pose = outcome.pose
        assert pose is not None
        assert outcome.reason == ""
        assert len(pose.keypoints) == len(pose.landmark_ids) == len(pose.positions) >= 0.5 * outcome.inliers
        assert outcome.inliers <= outcome.matches
        assert len(set(pose.landmark_ids)) == len(pose.landmark_ids)
        np.testing.assert_allclose(pose.positions, street_map.landmark_positions[pose.landmark_ids])
        pixels, _ = record.camera.project(transform_points(pose.map_from_cam.inverse(), pose.positions))
        errors = np.linalg.norm(pixels - features.keypoints[pose.keypoints], axis=1)
        assert errors.max() <= PoseOptions().max_reprojection_error + 1e-3
        assert np.sqrt((errors**2).mean()) == pytest.approx(pose.reprojection_rms, rel=1e-6)
        assert np.linalg.eigvalsh(pose.covariance).min() > 0
        error = np.linalg.norm(pose.map_from_cam.translation - record.world_from_cam.translation)
        assert error < 6 * np.sqrt(np.trace(pose.covariance[:3, :3])), "the covariance is of the right size"


def test_every_stage_is_timed(run: OfflineRun, query_lap: list[Record]) -> None:
    stages = {"extract", "retrieve", "cluster", "match", "pose", "rivals", "total"}
    assert set(run.timings.percentiles()) == stages
    for record in query_lap:
        timings = run.outcomes[record.name].timings_ms
        assert timings["total"] >= sum(timings[stage] for stage in stages - {"total"})


def test_the_same_image_gives_the_same_pose(run: OfflineRun, query_lap: list[Record], street_map: VisualMap) -> None:
    record = query_lap[2]
    again = HierarchicalLocalizer(street_map).localize(run.features[record.name], record.camera).pose
    np.testing.assert_array_equal(again.map_from_cam.matrix(), run.estimates[record.name].matrix())


def test_an_image_that_shows_nothing_is_no_error(street_map: VisualMap, query_lap: list[Record]) -> None:
    """One dark frame must not end a run."""
    for shown in (np.zeros((250, 400), np.uint8), np.full((250, 400), 255, np.uint8)):
        dark = replace(query_lap[0], read_image=lambda shown=shown: shown)
        run = localize_records([dark], street_map, HierarchicalLocalizer(street_map))
        assert run.estimates == {}
        assert run.unlocalized == {dark.name: "only 0 keypoints in the image, 15 are needed"}


def test_an_image_of_something_else_gets_no_pose(street_map: VisualMap, query_lap: list[Record]) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (250, 400)).astype(np.uint8), (0, 0), 1.5)
    other = replace(query_lap[0], read_image=lambda: cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX))
    run = localize_records([other], street_map, HierarchicalLocalizer(street_map), keep_features=True)
    assert len(run.features[other.name]) > 300
    assert run.estimates == {}
    assert "needed" in run.unlocalized[other.name]


@pytest.fixture(scope="module")
def query(point_map: VisualMap) -> View:
    """A view between two keyframes of the map of points."""
    view = PointStreet(seed=1).view(9.3, noise_px=0.5, clutter=60)
    features = point_map.extractor.describe(view.keyframe.features)
    return replace(view, keyframe=replace(view.keyframe, features=features))


@pytest.fixture(scope="module")
def places(point_map: VisualMap, query: View) -> list[Place]:
    return PlaceFinder(point_map).find(query.keyframe.features.global_descriptor, Stopwatch()).places


def test_a_view_of_points_is_localized_to_a_centimetre(point_map: VisualMap, query: View) -> None:
    outcome = HierarchicalLocalizer(point_map).localize(query.keyframe.features, CAMERA)
    metres, degrees = pose_error(outcome.pose.map_from_cam, query.keyframe.map_from_cam)
    assert metres < 0.01
    assert degrees < 0.05
    assert (query.points[outcome.pose.keypoints] >= 0).all(), "no clutter among the inliers"


def test_retrieval_and_clusters_obey_their_options(point_map: VisualMap, query: View) -> None:
    descriptor = query.keyframe.features.global_descriptor
    for top_k in (1, 5, 100):
        found = PlaceFinder(point_map, RetrievalOptions(top_k=top_k)).find(descriptor, Stopwatch())
        assert len(found.keyframes) == len(found.similarities) == min(top_k, 12)
        assert (np.diff(found.similarities) <= 0).all()
    apart = PlaceFinder(point_map, RetrievalOptions(top_k=12, cluster=False)).find(descriptor, Stopwatch())
    (place,) = apart.places
    assert set(place.landmark_ids) == set(range(point_map.info.landmarks))


@pytest.mark.parametrize(
    ("count", "options", "reason"),
    [
        (0, {}, r"only 0 keypoints in the image, 15 are needed"),
        (14, {}, r"only 14 keypoints in the image"),
        (40, {"min_inliers": 41}, r"only 40 keypoints in the image"),
        (None, {"min_inliers": 800}, r"only \d+ matches, 800 are needed"),
        (None, {"max_reprojection_error": 0.05, "min_inliers": 300}, r"only \d+ inliers, 300 are needed"),
        (
            None,
            {"min_inlier_ratio": 1.0, "max_reprojection_error": 1.0},
            r"of \d+ matches are inliers, 100% are needed",
        ),
        (None, {"max_position_std": 1e-4}, r"the position is uncertain by \d\.?\d*(e-\d+)? m, at most 0\.0001 m"),
    ],
)
def test_without_a_pose_there_is_a_reason(
    query: View, places: list[Place], count: int | None, options: dict[str, float], reason: str
) -> None:
    features = query.keyframe.features
    features = replace(
        features,
        keypoints=features.keypoints[:count],
        scores=features.scores[:count],
        descriptors=features.descriptors[:count],
    )
    outcome = PoseSolver(PoseOptions(**options)).solve(features, places, CAMERA)
    assert outcome.pose is None
    assert re.search(reason, outcome.reason)


def test_without_places_there_is_no_pose(query: View) -> None:
    outcome = PoseSolver().solve(query.keyframe.features, [], CAMERA)
    assert (outcome.pose, outcome.reason) == (None, "no place was retrieved")


@pytest.mark.parametrize("min_inliers", [15, 60, 200, 400])
def test_there_is_never_a_pose_with_fewer_inliers_than_asked(
    query: View, places: list[Place], min_inliers: int
) -> None:
    """Down to where most matches are wrong."""
    rng, seen = np.random.default_rng(0), query.keyframe.features
    localized = 0
    for share in (0.0, 0.5, 0.8, 0.9, 0.95, 1.0):
        keypoints = seen.keypoints.copy()
        wrong = rng.random(len(keypoints)) < share
        keypoints[wrong] = rng.uniform((0, 0), CAMERA.size, (wrong.sum(), 2))
        solver = PoseSolver(PoseOptions(min_inliers=min_inliers))
        outcome = solver.solve(replace(seen, keypoints=keypoints), places, CAMERA)
        if outcome.pose is not None:
            localized += 1
            assert outcome.inliers >= min_inliers
            assert pose_error(outcome.pose.map_from_cam, query.keyframe.map_from_cam)[0] < 0.5
        else:
            assert outcome.reason
    assert 1 <= localized <= 5


def test_features_of_another_map_are_refused(point_map: VisualMap, query: View, tmp_path: Path) -> None:
    """Another vocabulary of another length; the same length is told by the feature id."""
    write_point_map(PointStreet(seed=9).views(6), tmp_path / "map")
    other = VisualMap.open(tmp_path / "map")
    with pytest.raises(FeatureError, match=r"has 7 elements, the map's have 4"):
        HierarchicalLocalizer(other).localize(query.keyframe.features, CAMERA)
    assert other.info.extractor.feature_id != point_map.info.extractor.feature_id
    with pytest.raises(FeatureError, match="not of the map's kind"):
        other.require_features(point_map.info.feature_number, "these")


def decoy(place: Place, seed: int, share: float = 0.5) -> Place:
    """A place that looks the same but whose landmarks are somewhere else, except a share."""
    rng = np.random.default_rng(seed)
    positions, landmarks = np.array(place.positions), np.unique(place.landmark_ids)
    moved = np.isin(place.landmark_ids, rng.choice(landmarks, round((1 - share) * len(landmarks)), replace=False))
    positions[moved] = rng.normal(size=(moved.sum(), 3)) * 20
    return replace(place, positions=positions)


def test_the_first_place_that_verifies_is_taken_or_the_best_of_all(query: View, places: list[Place]) -> None:
    candidates = [decoy(places[0], 1), places[0], decoy(places[0], 2)]
    first, best = (
        PoseSolver(PoseOptions(places=mode)).solve(query.keyframe.features, candidates, CAMERA)
        for mode in ("first", "best")
    )
    assert (first.pose.place, best.pose.place) == (0, 1)
    assert best.inliers > first.inliers


def test_a_doubtful_first_place_does_not_end_the_search(query: View, places: list[Place]) -> None:
    """Facades that look alike verify with a few inliers among many matches."""
    alike = decoy(places[0], 1, share=0.2)
    alone = PoseSolver().solve(query.keyframe.features, [alike], CAMERA)
    assert alone.pose is not None, "it verifies"
    assert alone.inliers < 0.3 * alone.matches
    assert PoseSolver().solve(query.keyframe.features, [alike, places[0]], CAMERA).pose.place == 1
    content = PoseSolver(PoseOptions(confident_inlier_ratio=0, enough_inliers=15))
    assert content.solve(query.keyframe.features, [alike, places[0]], CAMERA).pose.place == 0


@pytest.mark.parametrize(("enough", "tried"), [(30, 60), (10_000, None)])
def test_the_best_keypoints_are_enough_when_they_are_sure(
    query: View, places: list[Place], enough: int, tried: int | None
) -> None:
    features = query.keyframe.features
    solver = PoseSolver(PoseOptions(first_keypoints=60, enough_inliers=enough, guided=False))
    outcome = solver.solve(features, places, CAMERA)
    expected = PoseSolver(PoseOptions(first_keypoints=10_000, guided=False)).solve(
        features if tried is None else features.best(tried), places, CAMERA
    )
    assert outcome.inliers == expected.inliers > 30
    np.testing.assert_array_equal(outcome.pose.keypoints, expected.pose.keypoints)


@pytest.mark.parametrize(("enough", "whole"), [(30, False), (10_000, True)])
def test_the_first_observations_are_enough_when_they_are_sure(
    query: View, places: list[Place], enough: int, whole: bool
) -> None:
    features, half = query.keyframe.features, len(places[0]) // 2
    quick = PoseOptions(first_keypoints=200, first_observations=half, enough_inliers=enough, guided=False)
    outcome = PoseSolver(quick).solve(features, places, CAMERA)
    expected = PoseSolver(PoseOptions(first_keypoints=10_000, guided=False)).solve(
        features if whole else features.best(200), places if whole else [places[0].first(half)], CAMERA
    )
    assert outcome.inliers == expected.inliers > 30
    np.testing.assert_array_equal(outcome.pose.keypoints, expected.pose.keypoints)
    np.testing.assert_array_equal(outcome.pose.landmark_ids, expected.pose.landmark_ids)


def test_best_never_has_fewer_inliers_than_first(
    run: OfflineRun, query_lap: list[Record], street_map: VisualMap
) -> None:
    best = HierarchicalLocalizer(street_map, RetrievalOptions(top_k=3), PoseOptions(places="best"))
    first = HierarchicalLocalizer(street_map, RetrievalOptions(top_k=3), PoseOptions(places="first"))
    for record in query_lap[:3]:
        features: Features = run.features[record.name]
        assert best.localize(features, record.camera).inliers >= first.localize(features, record.camera).inliers


def test_a_place_that_fails_is_followed_by_the_next(query: View, places: list[Place]) -> None:
    rng = np.random.default_rng(0)
    nowhere = replace(places[0], positions=rng.normal(size=places[0].positions.shape).astype(np.float32) * 20)
    outcome = PoseSolver().solve(query.keyframe.features, [nowhere, places[0]], CAMERA)
    assert outcome.pose.place == 1
    failed = PoseSolver().solve(query.keyframe.features, [nowhere, nowhere], CAMERA)
    assert failed.pose is None
    assert "needed" in failed.reason or "supported" in failed.reason
