"""Landmarks from matches and known poses, and the COLMAP model of them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from point_street import CAMERA, PointStreet, View, described, matched
from sfm_helpers import model_of

from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.mapping import landmark_refinement, track_groups
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.triangulation import Triangulation, TriangulationOptions, triangulate, triangulation_of
from vizloc_ros.parallel import silent

STREET = PointStreet(seed=7)
VIEWS = STREET.views(8)
NOISY_VIEWS = PointStreet(seed=7).views(8, noise_px=0.5, clutter=200)


def triangulated(views: list[View], **options: float) -> tuple[list[Keyframe], Triangulation]:
    keyframes, _ = described([view.keyframe for view in views])
    return keyframes, triangulate(keyframes, matched(keyframes), TriangulationOptions(**options), silent)


def true_points(views: list[View], seen: Triangulation) -> list[Counter[int]]:
    """For every landmark, which true points its observations are of."""
    points: list[Counter[int]] = [Counter() for _ in seen.positions]
    for keyframe, keypoint, landmark in zip(seen.keyframes, seen.keypoints, seen.landmarks, strict=True):
        points[landmark][int(views[keyframe].points[keypoint])] += 1
    return points


@pytest.fixture(scope="module")
def exact() -> Triangulation:
    return triangulated(VIEWS)[1]


@pytest.fixture(scope="module")
def noisy() -> tuple[list[Keyframe], Triangulation]:
    return triangulated(NOISY_VIEWS)


def test_points_are_where_they_were(exact: Triangulation) -> None:
    truth = true_points(VIEWS, exact)
    assert all(len(points) == 1 for points in truth)
    index = [next(iter(points)) for points in truth]
    assert len(set(index)) == len(index) > 800, "no point becomes two landmarks"
    errors = np.linalg.norm(exact.positions - STREET.points[index], axis=1)
    assert np.median(errors) < 1e-4
    assert np.percentile(errors, 99) < 1e-2
    assert exact.mean_error < 1e-3, "without noise nothing is off, not even by half a pixel"


def test_wrong_matches_leave_no_landmark(noisy: tuple[list[Keyframe], Triangulation]) -> None:
    truth = true_points(NOISY_VIEWS, noisy[1])
    mixed = [points for points in truth if len(points) > 1 or -1 in points]
    assert len(truth) > 800
    assert len(mixed) < 0.02 * len(truth)


def test_observations_keep_the_limits_of_the_options() -> None:
    limits = {"max_reprojection_error": 1.0, "min_angle": 3.0, "min_track_length": 4, "enough_landmarks": 0}
    keyframes, seen = triangulated(NOISY_VIEWS, **limits)
    assert np.bincount(seen.landmarks).min() >= 4
    rays: dict[int, list[np.ndarray]] = {}
    for i, keyframe in enumerate(keyframes):
        rows = seen.keyframes == i
        points = seen.positions[seen.landmarks[rows]]
        pixels, _ = CAMERA.project(transform_points(keyframe.map_from_cam.inverse(), points))
        errors = np.linalg.norm(pixels - keyframe.features.keypoints[seen.keypoints[rows]], axis=1)
        assert errors.max() <= 1.0 + 1e-4
        for landmark, ray in zip(seen.landmarks[rows], points - keyframe.map_from_cam.translation, strict=True):
            rays.setdefault(int(landmark), []).append(ray / np.linalg.norm(ray))
    for directions in rays.values():
        cosines = np.array(directions) @ np.array(directions).T
        assert np.degrees(np.arccos(np.clip(cosines.min(), -1, 1))) >= 3.0 - 1e-6


def test_sparse_maps_keep_landmarks_of_two_keyframes() -> None:
    """Of two keyframes, no landmark is in three."""
    two = NOISY_VIEWS[:2]
    assert len(triangulated(two, enough_landmarks=0)[1].positions) == 0
    kept = triangulated(two, enough_landmarks=500)[1]
    assert len(kept.positions) > 100
    assert (np.bincount(kept.landmarks) == 2).all()


def test_keyframes_with_enough_landmarks_keep_long_tracks_only() -> None:
    tracks = {}
    for enough in (0, 1, 10_000):
        tracks[enough] = np.bincount(triangulated(NOISY_VIEWS, enough_landmarks=enough)[1].landmarks)
    assert tracks[0].min() >= 3
    np.testing.assert_array_equal(tracks[1], tracks[0])
    assert (tracks[10_000] == 2).sum() > 0
    assert (tracks[10_000] >= 3).sum() == len(tracks[0])


def test_observations_are_listed_keyframe_by_keyframe(exact: Triangulation) -> None:
    assert (np.diff(exact.keyframes) >= 0).all()
    assert exact.landmarks.dtype == np.int32
    assert set(exact.landmarks) == set(range(len(exact.positions)))
    observed = list(zip(exact.keyframes, exact.keypoints, strict=True))
    assert len(set(observed)) == len(observed), "a keypoint sees one landmark"


def test_colmap_opens_the_model_and_agrees(noisy: tuple[list[Keyframe], Triangulation], tmp_path: Path) -> None:
    """Everything COLMAP reads is half a pixel further than ours, and projects onto the observations."""
    keyframes, seen = noisy
    model = model_of(keyframes, seen, tmp_path)
    assert model.num_reg_images() == len(keyframes)
    for i, keyframe in enumerate(keyframes):
        image = model.image(i + 1)
        np.testing.assert_allclose(
            image.cam_from_world().matrix(), keyframe.map_from_cam.inverse().matrix(), atol=1e-12
        )
        np.testing.assert_allclose(
            image.camera.params, [CAMERA.fx, CAMERA.fy, CAMERA.cx + 0.5, CAMERA.cy + 0.5], rtol=0, atol=1e-12
        )
        assert len(image.points2D) == len(keyframe.features)
        assert image.num_points3D == (seen.keyframes == i).sum()
    point_ids = sorted(model.point3D_ids())
    assert point_ids == list(range(1, len(seen.positions) + 1))
    np.testing.assert_array_equal([model.point3D(p).xyz for p in point_ids], seen.positions)
    errors: list[list[float]] = [[] for _ in point_ids]
    for keyframe, keypoint, landmark in zip(seen.keyframes, seen.keypoints, seen.landmarks, strict=True):
        image = model.image(int(keyframe) + 1)
        assert image.name == keyframes[keyframe].name
        observation = image.point2D(int(keypoint))
        assert observation.point3D_id == point_ids[landmark]
        np.testing.assert_allclose(
            observation.xy, keyframes[keyframe].features.keypoints[keypoint].astype(float) + 0.5, atol=1e-4
        )
        projected = image.project_point(model.point3D(observation.point3D_id).xyz)
        errors[landmark].append(float(np.linalg.norm(projected - observation.xy)))
    for point_id, of_landmark in zip(point_ids, errors, strict=True):
        point = model.point3D(point_id)
        assert point.track.length() == len(of_landmark)
        assert point.error == pytest.approx(np.mean(of_landmark), abs=1e-6)
    mean_error = np.mean([np.mean(of_landmark) for of_landmark in errors])
    assert mean_error == pytest.approx(seen.mean_error, abs=1e-6)
    known = triangulation_of(keyframes, seen.positions, seen.keyframes, seen.keypoints, seen.landmarks)
    np.testing.assert_allclose(known.errors, seen.errors, atol=1e-6)
    assert mean_error < 0.6, "0.5 px of noise in both directions, partly fitted by the point"


def test_landmarks_are_where_the_squared_errors_are_least(noisy: tuple[list[Keyframe], Triangulation]) -> None:
    """A Gauss-Newton step of each would hardly move it."""
    keyframes, seen = noisy
    gradient, hessian = np.zeros((len(seen.positions), 3)), np.zeros((len(seen.positions), 3, 3))
    for keyframe, keypoint, landmark in zip(seen.keyframes, seen.keypoints, seen.landmarks, strict=True):
        pose = keyframes[keyframe].map_from_cam.inverse()
        in_camera = transform_points(pose, seen.positions[landmark][None])
        jacobian = CAMERA.projection_jacobian(in_camera)[0] @ pose.rotation.matrix()
        residual = CAMERA.project(in_camera)[0][0] - keyframes[keyframe].features.keypoints[keypoint]
        gradient[landmark] += jacobian.T @ residual
        hessian[landmark] += jacobian.T @ jacobian
    steps = np.linalg.norm(np.linalg.solve(hessian, gradient[..., None])[..., 0], axis=1)
    assert np.median(steps) < 1e-4


def test_groups_and_blocks_of_any_size_give_the_same_landmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    views = PointStreet(seed=1).views(6, noise_px=0.3, clutter=20)
    keyframes, whole = triangulated(views)
    assert len(whole.landmarks) > 3 * 200
    assert len(track_groups.track_groups(keyframes, matched(keyframes))) == 1
    monkeypatch.setattr(track_groups, "_MATCHES", 50)
    monkeypatch.setattr(landmark_refinement, "_BLOCK", 20)
    groups = track_groups.track_groups(keyframes, matched(keyframes))
    assert len(groups) > 10
    sizes = [len(group.matches) for group in groups]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == sum(len(pair.verified) for pair in matched(keyframes))
    _, divided = triangulated(views)
    for name in ("keyframes", "keypoints", "landmarks"):
        np.testing.assert_array_equal(getattr(divided, name), getattr(whole, name))
    np.testing.assert_array_equal(divided.positions, whole.positions)


def test_a_camera_that_stands_still_yields_no_landmark() -> None:
    street = PointStreet(seed=2)
    _, seen = triangulated([street.view(0.0, noise_px=0.1) for _ in range(4)])
    assert seen.positions.shape == (0, 3)
    assert len(seen.landmarks) == 0
