"""Mutual matches against brute force, and what the known poses do with them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from point_street import CAMERA, RADIUS, PointStreet, View
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.features.types import quantize
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.epipolar import epipolar_distance, fundamental_matrix, in_front, near_epipolar_lines
from vizloc_ros.mapping.guided_pairs import match_along_lines
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.pair_matching import MatchOptions, PairMatches, match_pairs, mutual_matches
from vizloc_ros.parallel import silent


def unit(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    vectors = rng.normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def reference_matches(a: np.ndarray, b: np.ndarray, ratio: float) -> set[tuple[int, int]]:
    """Nearest both ways, and clearly nearer than the second, by distances in loops."""
    distance = np.array([[np.linalg.norm(x.astype(float) - y.astype(float)) for y in b] for x in a]).reshape(
        len(a), len(b)
    )
    pairs = set()
    for i in range(len(a)):
        if len(b) < 2:
            continue
        j, second = np.argsort(distance[i])[:2]
        if np.argmin(distance[:, j]) == i and distance[i, j] <= ratio * distance[i, second]:
            pairs.add((i, int(j)))
    return pairs


@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    dimension=st.integers(3, 8),
    ratio=st.floats(0.3, 1.0),
)
def test_mutual_matches_are_those_of_brute_force(
    seed: int, sizes: tuple[int, int], dimension: int, ratio: float
) -> None:
    rng = np.random.default_rng(seed)
    a, b = unit(rng, sizes[0], dimension), unit(rng, sizes[1], dimension)
    matches = mutual_matches(a @ b.T, ratio)
    assert matches.dtype == np.int32
    assert matches.shape == (len(matches), 2)
    assert {(int(i), int(j)) for i, j in matches} == reference_matches(a, b, ratio)


def test_a_repeated_texture_matches_nothing() -> None:
    rng = np.random.default_rng(0)
    vectors = unit(rng, 6, 16)
    seen = vectors + 0.02 * rng.normal(size=vectors.shape).astype(np.float32)
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    assert len(mutual_matches(seen @ vectors.T, 0.9)) == 6
    assert len(mutual_matches(seen @ np.repeat(vectors, 2, axis=0).T, 0.9)) == 0


def line_distance(line: np.ndarray, pixel: np.ndarray) -> float:
    a, b, c = line
    return abs(a * pixel[0] + b * pixel[1] + c) / np.hypot(a, b)


def test_epipolar_distance_is_that_from_lines_drawn_by_hand() -> None:
    """The line of a pixel is drawn through the projections of two points on its ray."""
    rng = np.random.default_rng(0)
    camera_a, camera_b = CAMERA, PinholeCamera(800, 600, 500.0, 520.0, 410.0, 280.0)
    world_from_a = Rigid3d(Rotation3d(np.array([0.1, -0.2, 0.05])), np.array([1.0, 2.0, -0.5]))
    world_from_b = Rigid3d(Rotation3d(np.array([-0.05, 0.1, 0.2])), np.array([2.5, 1.7, 0.1]))

    def line(pixel: np.ndarray, camera: PinholeCamera, pose: Rigid3d, other: PinholeCamera, other_pose: Rigid3d):
        ray = camera.rays(pixel[None])[0]
        points = [other_pose.inverse() * (pose * (depth * ray)) for depth in (4.0, 9.0)]
        first, second = (np.append(other.project(p[None])[0][0], 1) for p in points)
        return np.cross(first, second)

    pixels_a, pixels_b = rng.uniform(50, 350, (20, 2)), rng.uniform(50, 350, (20, 2))
    expected = [
        max(
            line_distance(line(a, camera_a, world_from_a, camera_b, world_from_b), b),
            line_distance(line(b, camera_b, world_from_b, camera_a, world_from_a), a),
        )
        for a, b in zip(pixels_a, pixels_b, strict=True)
    ]
    fundamental = fundamental_matrix(camera_a, camera_b, world_from_a, world_from_b)
    np.testing.assert_allclose(epipolar_distance(fundamental, pixels_a, pixels_b), expected, rtol=1e-8)


def test_pixels_near_epipolar_lines_have_small_epipolar_distances() -> None:
    rng = np.random.default_rng(3)
    poses = Rigid3d(), Rigid3d(Rotation3d(np.array([0.02, -0.1, 0.05])), np.array([1.0, 0.2, 0.5]))
    fundamental = fundamental_matrix(CAMERA, CAMERA, *poses)
    pixels_a, pixels_b = rng.uniform(0, 400, (30, 2)), rng.uniform(0, 400, (40, 2))
    near = near_epipolar_lines(fundamental, pixels_a, pixels_b, 12.0)
    distances = epipolar_distance(fundamental, np.repeat(pixels_a, 40, axis=0), np.tile(pixels_b, (30, 1)))
    assert 0.01 < near.mean() < 0.5
    np.testing.assert_array_equal(near.ravel(), distances < 12.0)


def test_cameras_at_the_same_position_have_nothing_near_epipolar_lines() -> None:
    turned = Rigid3d(Rotation3d(np.array([0.0, 0.1, 0.0])), np.zeros(3))
    pixels = np.random.default_rng(4).uniform(0, 400, (20, 2))
    assert not near_epipolar_lines(fundamental_matrix(CAMERA, CAMERA, Rigid3d(), turned), pixels, pixels, 5.0).any()


def test_rays_meet_in_front_of_both_cameras_or_not() -> None:
    rng = np.random.default_rng(1)
    world_from_a = Rigid3d(Rotation3d(np.array([0.1, -0.2, 0.05])), np.array([1.0, 2.0, -0.5]))
    world_from_b = Rigid3d(Rotation3d(np.array([-0.05, 0.1, 0.2])), np.array([2.5, 1.7, 3.1]))
    points = rng.uniform(-12, 12, (500, 3))
    depths = np.array([[(pose.inverse() * p)[2] for p in points] for pose in (world_from_a, world_from_b)])
    kept = np.abs(depths).min(axis=0) > 0.1
    # A pixel is where the line through point and centre crosses the image, from behind as well.
    pixels_a, pixels_b = (
        np.array([CAMERA.matrix @ (pose.inverse() * p) for p in points[kept]]) for pose in (world_from_a, world_from_b)
    )
    expected = (depths[:, kept] > 0).all(axis=0)
    assert 0.1 < expected.mean() < 0.9
    actual = in_front(
        CAMERA, CAMERA, world_from_a, world_from_b, pixels_a[:, :2] / pixels_a[:, 2:], pixels_b[:, :2] / pixels_b[:, 2:]
    )
    np.testing.assert_array_equal(actual, expected)


@pytest.fixture(scope="module")
def views() -> list[View]:
    return PointStreet(seed=4).views(3, noise_px=0.2, clutter=100)


def is_right(views: list[View], matches: PairMatches) -> np.ndarray:
    """Which tentative matches are of one point."""
    a, b = (
        views[k].points[column]
        for k, column in ((matches.i, matches.tentative[:, 0]), (matches.j, matches.tentative[:, 1]))
    )
    return (a == b) & (a >= 0)


def test_right_matches_agree_with_the_poses_and_wrong_ones_do_not(views: list[View]) -> None:
    (matches,) = match_pairs([v.keyframe for v in views], [(0, 2)], MatchOptions(max_epipolar_error=2.0), silent)
    right = is_right(views, matches)
    accepted = matches.error <= 2.0
    assert right.sum() > 300
    assert accepted[right].mean() > 0.99
    assert (~right).sum() > 10
    assert accepted[~right].mean() < 0.1
    np.testing.assert_array_equal(matches.verified, matches.tentative[accepted])


def with_twins(view: View, seed: int) -> Keyframe:
    """Keyframe in which two points of three in a row look alike, with a little noise."""
    rng = np.random.default_rng(seed)
    looks = np.random.default_rng(0).normal(size=(view.points.max() + 2, 32))
    looks[1::3] = looks[: len(looks[1::3]) * 3 : 3]
    seen = looks[view.points] + 0.05 * rng.normal(size=(len(view.points), 32))
    seen[view.points < 0] = rng.normal(size=((view.points < 0).sum(), 32))
    descriptors = quantize((seen / np.linalg.norm(seen, axis=1, keepdims=True)).astype(np.float32))
    return replace(view.keyframe, features=replace(view.keyframe.features, descriptors=descriptors))


def test_points_with_twins_are_matched_along_epipolar_lines(views: list[View]) -> None:
    keyframes = [with_twins(view, i) for i, view in enumerate(views)]

    def verified(enough: int) -> tuple[int, float]:
        """Number of verified matches, and the ratio of right ones."""
        options = MatchOptions(enough_matches=enough)
        plain = match_pairs(keyframes, [(0, 2)], options, silent)
        (matches,) = match_along_lines(keyframes, plain, options, silent)
        a, b = views[0].points[matches.verified[:, 0]], views[2].points[matches.verified[:, 1]]
        return len(a), float(((a == b) & (a >= 0)).mean())

    (plain, _), (guided, right) = verified(0), verified(10_000)
    assert guided > 1.15 * plain
    assert right > 0.95


def test_few_agreeing_matches_guide_no_others(views: list[View]) -> None:
    """Along the epipolar lines of a wrong pose there are similar keypoints, too."""
    first, last = with_twins(views[0], 0), with_twins(views[2], 2)
    turned = replace(last, map_from_cam=last.map_from_cam * Rigid3d(Rotation3d(np.array([0.1, 0, 0])), np.zeros(3)))
    options = MatchOptions(enough_matches=10_000)
    plain = match_pairs([first, turned], [(0, 1)], options, silent)
    assert match_along_lines([first, turned], plain, options, silent) == plain
    assert len(plain[0].agreeing) < 0.25 * len(plain[0].tentative)


def test_matches_come_for_every_pair_in_order_of_the_first_keyframe(views: list[View]) -> None:
    keyframes = [v.keyframe for v in views]
    pairs = [(0, 1), (0, 2), (1, 2)]
    matches = match_pairs(keyframes, pairs, MatchOptions(), silent)
    assert [(m.i, m.j) for m in matches] == pairs
    for pair in matches:
        (alone,) = match_pairs(keyframes, [(pair.i, pair.j)], MatchOptions(), silent)
        np.testing.assert_array_equal(pair.tentative, alone.tentative)


def test_a_wrong_pose_rejects_the_right_matches(views: list[View]) -> None:
    first, last = views[0].keyframe, views[2].keyframe
    turned = replace(last, map_from_cam=last.map_from_cam * Rigid3d(Rotation3d(np.array([0, 0.1, 0])), np.zeros(3)))
    aside = replace(last, map_from_cam=Rigid3d(last.map_from_cam.rotation, np.array([4.0, RADIUS / 5, 3.0])))
    for wrong in (turned, aside):
        (matches,) = match_pairs([first, wrong], [(0, 1)], MatchOptions(), silent)
        right = is_right([views[0], views[2]], matches)
        assert right.sum() > 300, "what looks alike does not depend on the pose"
        assert (matches.error[right] <= matches.max_error).mean() < 0.4
