"""Keyframes may be as far apart as the depth of what they see allows; where they are too far apart, that is said."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from point_street import PointStreet
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import MapError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.mapping.builder import BuildReport, build_map
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions, keyframe_pairs
from vizloc_ros.mapping.pair_matching import MatchOptions
from vizloc_ros.mapping.view_depth import NeighborViews, in_view, neighbor_views, no_pairs

CAMERA = PinholeCamera(400, 300, 400.0, 400.0, 199.5, 149.5)
HEIGHT, FLIGHT_STEP = 200.0, 50.0  # m
METERS = 0.5  # of a pixel of the ground


def ground(width: int, height: int) -> UInt8:
    """Fields and buildings from above: texture of all sizes."""
    rng = np.random.default_rng(0)
    picture = np.zeros((height, width), np.float32)
    for size in (4, 8, 16, 32):
        noise = rng.normal(size=(height // size + 2, width // size + 2)).astype(np.float32)
        picture += size**0.5 * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def flight(steps: range, scale: float = 1.0) -> list[Record]:
    """Images of a camera that looks down; the poses are ``scale`` times as far apart. The ground has hills of 20 m."""
    terrain = ground(1700, 600)
    return [photo(terrain, i, scale) for i in steps]


def photo(terrain: UInt8, i: int, scale: float) -> Record:
    center = np.array([150.0 + FLIGHT_STEP * i, 150.0, HEIGHT])
    x, y = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    rays = CAMERA.rays(np.column_stack([x.ravel(), y.ravel()]).astype(float)) * [1, -1, -1]  # x east, y north, z up
    depth = np.full(len(rays), HEIGHT)
    for _ in range(5):
        points = center + rays * depth[:, None]
        depth = HEIGHT - 20 * np.sin(points[:, 0] / 40) * np.sin(points[:, 1] / 40)
    pixels = (center + rays * depth[:, None])[:, :2] / METERS
    image = cv2.remap(terrain, *(p.reshape(y.shape).astype(np.float32) for p in pixels.T), cv2.INTER_LINEAR)
    pose = Rigid3d(Rotation3d(np.diag([1.0, -1.0, -1.0])), scale * center)
    return Record(f"{i:03d}.png", 2_000_000_000 * i, CAMERA, "map", pose, partial(np.array, image))


def build(records: list[Record], out: Path) -> BuildReport:
    return build_map(records, open_extractor("rootsift", {"max_keypoints": 500}), out, dataset="flight")


def test_a_flight_gives_a_map_without_a_word_of_wrong_scale(tmp_path: Path) -> None:
    report = build(flight(range(6)), tmp_path / "map")
    assert report.landmarks > 300
    assert report.median_depth_m == pytest.approx(HEIGHT, rel=0.1)
    assert report.localizable_share == 1
    assert not any("wrong scale" in warning for warning in report.warnings)
    assert any("far landmarks" in warning and "looks down from the air" in warning for warning in report.warnings)


def test_a_flight_in_millimetres_is_a_wrong_scale(tmp_path: Path) -> None:
    with pytest.raises(MapError, match=r"wrong scale \(are positions in metres\?\): by the matches, .* 2e\+05 m away"):
        build(flight(range(4), scale=1000), tmp_path / "map")


def test_images_of_a_flight_that_do_not_overlap_are_too_far_apart(tmp_path: Path) -> None:
    """Every fifth image: 250 m, of which each shows 200."""
    with pytest.raises(MapError, match=r"250 m apart: too far apart: 0 of 2 pairs of neighbors have matches"):
        build(flight(range(0, 11, 5)), tmp_path / "map")


def test_an_ordinary_depth_leaves_the_pairs_as_they_are() -> None:
    """Points up to 25 m away, a keyframe every 7 m: the depth is looked at, and changes nothing."""
    world = PointStreet(seed=2, count=1500)
    keyframes = [world.view(7.0 * i).keyframe for i in range(5)]
    views = neighbor_views(keyframes, PairOptions(), MatchOptions())
    assert (views.pairs, views.overlapping) == (4, 4)
    assert 5 < views.depth < 25
    assert in_view(keyframes, PairOptions(), views) == PairOptions()


def test_dense_keyframes_are_not_even_matched() -> None:
    world = PointStreet(seed=2, count=500)
    dense = [world.view(2.0 * i).keyframe for i in range(5)]
    assert neighbor_views(dense, PairOptions(), MatchOptions()) == NeighborViews()


@pytest.fixture
def row() -> list[Keyframe]:
    """Keyframes 60 m apart, with the camera of the flight."""
    keyframe = PointStreet(seed=2, count=50).view(0.0).keyframe
    poses = [Rigid3d(Rotation3d(), np.array([60.0 * i, 0, 0])) for i in range(4)]
    return [replace(keyframe, camera=CAMERA, map_from_cam=pose) for pose in poses]


def test_the_distance_leaves_the_overlap_at_that_depth(row: list[Keyframe]) -> None:
    """The shorter side shows 3/4 of the depth; two thirds of it are 0.5 of the depth."""
    options = in_view(row, PairOptions(min_overlap=1 / 3), NeighborViews(3, 3, 200.0))
    assert options.max_distance == pytest.approx(100)
    row = [replace(k, features=replace(k.features, global_descriptor=np.ones(1, np.float32))) for k in row]
    assert keyframe_pairs(row, options.model_copy(update={"by_retrieval": 0})) == [(0, 1), (1, 2), (2, 3)]
    assert in_view(row, PairOptions(min_overlap=1), NeighborViews(3, 3, 200.0)).max_distance == 25
    assert in_view(row, PairOptions(), NeighborViews(3, 3, 45.0)).max_distance == 25
    assert in_view(row, PairOptions(), NeighborViews(3, 3, 5000.0)).max_distance == 25


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        (NeighborViews(3, 3, 40.0), "60 m apart: too far apart for what the camera sees: 3 of 3 .* at a depth of 40 m"),
        (NeighborViews(3, 0), "60 m apart: too far apart: 0 of 3 pairs .* if they are close, it is a wrong scale"),
        (NeighborViews(3, 3, 1e5), "60 m apart: wrong scale"),
    ],
)
def test_the_cause_of_no_pairs(row: list[Keyframe], views: NeighborViews, expected: str) -> None:
    text = no_pairs(row, PairOptions(), 1.0, views)
    assert text.startswith("no two images are within 25 m and 50 deg of each other; successive ones are 60 m apart")
    assert re.search(expected, text)
