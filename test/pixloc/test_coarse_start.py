"""Coarse levels are skipped for accurate initial poses."""

from dataclasses import replace

import numpy as np
import pytest
from pixloc_scene import CAMERA, PRIORS, TRUTH, scene

from vizloc_ros.geometry.poses import pose_error, transform_points
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.optimizer.alignment import align
from vizloc_ros.pixloc.search import coarsest_needed

SCENE = scene()


def needed(position_std: float, rotation_std: float) -> int:
    prediction = Prediction(TRUTH.inverse(), position_std, rotation_std)
    return coarsest_needed(SCENE.view(), prediction)


def test_what_is_likely_counts_more_than_what_is_possible() -> None:
    assert likely(0.01, 0.1) == needed(0.01, np.radians(0.1)) == 0
    assert likely(5.0, 30.0) == needed(5.0, np.radians(30.0)) == 2


def likely(position: float, degrees: float) -> int:
    prediction = Prediction(TRUTH.inverse(), 0.3, 0.05, (position, np.radians(degrees)))
    assert coarsest_needed(SCENE.view(), replace(prediction, likely_error=None)) > 0
    return coarsest_needed(SCENE.view(), prediction)


def test_less_accurate_predictions_need_more_levels() -> None:
    assert [needed(std, 0.0) for std in (0.0, 0.05, 5.0)] == [0, 0, 2]
    assert [needed(0.0, np.radians(degrees)) for degrees in (0.1, 0.5, 1.0, 30)] == [0, 0, 1, 2]
    stds = np.linspace(0, 3, 100)
    levels = [needed(std, 0.0) for std in stds]
    assert levels == sorted(levels)
    assert set(levels) == {0, 1, 2}


def test_the_next_level_is_needed_beyond_the_basin_of_the_finer_one() -> None:
    """Three standard deviations move landmarks by two cells of the finer level."""
    depth = np.median(transform_points(TRUTH, SCENE.references.positions)[:, 2])
    cells = CAMERA.fx * SCENE.pyramid.levels[0].scale[0] / depth  # by which one meter moves the median landmark
    assert needed(0.99 * 2 / 3 / cells, 0.0) == 0
    assert needed(1.01 * 2 / 3 / cells, 0.0) == 1


@pytest.mark.parametrize("coarsest", [0, 1, 2])
def test_skipped_levels_have_no_iterations(coarsest: int) -> None:
    (found,) = align([SCENE.view()], [PRIORS[3]], SCENE.learned, coarsest=coarsest)
    assert [bool(count) for count in found.iterations] == [index <= coarsest for index in range(3)]
    assert pose_error(found.cam_from_map, TRUTH) == pytest.approx((0, 0), abs=1e-2)


def test_coarse_levels_that_lead_away_are_left() -> None:
    """With the features of other landmarks on the coarse levels, their minimum is anywhere."""
    levels, rows = SCENE.references.levels, np.random.default_rng(0).permutation(len(SCENE.references))
    misled = replace(SCENE.references, levels=(levels[0], *(level.take(rows) for level in levels[1:])))
    near = se3_exp(np.array([0.05, 0.0, -0.05, 0.0, 0.003, 0.0])) * TRUTH
    (found,) = align([replace(SCENE.view(), references=misled)], [near], SCENE.learned, accurate=True, trace=True)
    assert max(pose_error(pose, TRUTH)[0] for pose in found.trace) > 0.5, "the coarse levels lead away"
    assert pose_error(found.cam_from_map, TRUTH) == pytest.approx((0, 0), abs=1e-2)
