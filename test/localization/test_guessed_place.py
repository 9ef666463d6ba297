"""Retrieval where a person says the vehicle is: of two places that look alike, the one that was meant."""

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.mapping.pose_guess import PoseGuess
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch

RVIZ = np.diag([0.25, 0.25, 0, 0, 0, 0.0685])
QUERY = 4  # keyframe, 8 m from the begin; its street is there again 60 m farther on


def guess_at(visual_map: VisualMap, keyframe: int) -> PoseGuess:
    """RViz's arrow 3 m beside a keyframe, at no height."""
    x, y, _ = visual_map.keyframe_poses[keyframe, :3]
    return PoseGuess(Rigid3d(Rotation3d(), np.array([x + 3.0, y, 0.0])), RVIZ)


def distances(visual_map: VisualMap, keyframes: np.ndarray, to: int) -> np.ndarray:
    positions = visual_map.keyframe_poses[:, :3]
    return np.asarray(np.linalg.norm(positions[keyframes] - positions[to], axis=1))


@pytest.mark.parametrize("meant", [QUERY, QUERY + 30])
def test_keyframes_elsewhere_are_not_retrieved(repeated_map: VisualMap, meant: int) -> None:
    finder = PlaceFinder(repeated_map)
    query = np.array(repeated_map.global_descriptors[QUERY])
    anywhere = finder.find(query, Stopwatch()).keyframes
    assert distances(repeated_map, anywhere, QUERY).max() > 30
    found = finder.find(query, Stopwatch(), area=guess_at(repeated_map, meant).area, anew=True)
    assert distances(repeated_map, found.keyframes, meant).max() < 40
    assert len(found.places) > 0
    assert (np.diff(found.similarities) <= 0).sum() >= len(found.similarities) - 2


def test_a_guess_beside_the_map_restricts_nothing(repeated_map: VisualMap) -> None:
    finder = PlaceFinder(repeated_map)
    query = np.array(repeated_map.global_descriptors[QUERY])
    far = PoseGuess(Rigid3d(Rotation3d(), np.array([1e4, 0.0, 0.0])), RVIZ)
    found = finder.find(query, Stopwatch(), area=far.area, anew=True)
    assert found.searched == repeated_map.info.keyframes
    np.testing.assert_array_equal(found.keyframes, finder.find(query, Stopwatch()).keyframes)


def test_in_an_area_images_before_have_their_say_but_not_outside_of_it(repeated_map: VisualMap) -> None:
    """An image that looks like two keyframes of the area, and a bit more like the one where the camera was not."""
    finder = PlaceFinder(repeated_map)
    other, before = (np.array(repeated_map.global_descriptors[k]) for k in (QUERY, QUERY + 12))
    query = (1.1 * other + before) / np.linalg.norm(1.1 * other + before)
    area = guess_at(repeated_map, QUERY).area
    for step in range(3):
        finder.find(before, Stopwatch(), step * 100_000_000)
    found = finder.find(query, Stopwatch(), 300_000_000, area)
    alone = PlaceFinder(repeated_map).find(query, Stopwatch(), area=area)
    assert (alone.keyframes[0], found.keyframes[0]) == (QUERY, QUERY + 12)
    assert distances(repeated_map, found.keyframes, QUERY).max() < 40
    assert found.searched < repeated_map.info.keyframes


def test_images_before_the_guess_have_no_say(repeated_map: VisualMap) -> None:
    finder = PlaceFinder(repeated_map)
    first, other = (np.array(repeated_map.global_descriptors[k]) for k in (QUERY, QUERY + 12))
    for step in range(4):
        finder.find(first, Stopwatch(), step * 100_000_000)
    finder.find(other, Stopwatch(), 400_000_000, guess_at(repeated_map, QUERY + 12).area, anew=True)
    alone = PlaceFinder(repeated_map).find(other, Stopwatch(), 500_000_000)
    np.testing.assert_array_equal(finder.find(other, Stopwatch(), 500_000_000).keyframes, alone.keyframes)
