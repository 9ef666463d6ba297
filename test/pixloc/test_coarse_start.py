"""Coarse levels are skipped for accurate initial poses."""

from dataclasses import replace

import numpy as np
import pytest
from pixloc_scene import CAMERA, PRIORS, TRUTH, scene, stack

from vizloc_ros.geometry.camera import IntrinsicsCorrection
from vizloc_ros.geometry.poses import pose_error, transform_points
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.optimizer.aligned_view import View
from vizloc_ros.pixloc.optimizer.alignment import align
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions
from vizloc_ros.pixloc.optimizer.projection import project
from vizloc_ros.pixloc.references import sample_references
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


def misled(first: int) -> View:
    """View with the features of other landmarks from level ``first`` on: their minimum is anywhere."""
    levels, rows = SCENE.references.levels, np.random.default_rng(0).permutation(len(SCENE.references))
    others = tuple(level.take(rows) for level in levels[first:])
    return replace(SCENE.view(), references=replace(SCENE.references, levels=(*levels[:first], *others)))


def test_coarse_levels_that_lead_away_are_left() -> None:
    near = se3_exp(np.array([0.05, 0.0, -0.05, 0.0, 0.003, 0.0])) * TRUTH
    (found,) = align([misled(1)], [near], SCENE.learned, accurate=True, trace=True)
    assert max(pose_error(pose, TRUTH)[0] for pose in found.trace) > 0.5, "the coarse levels lead away"
    assert pose_error(found.cam_from_map, TRUTH) == pytest.approx((0, 0), abs=1e-2)


def elsewhere(first: int) -> View:
    """View whose levels from ``first`` on look as if it were turned by 30 degrees."""
    references, turned = SCENE.references, se3_exp(np.array([0, 0, 0, 0, np.radians(30), 0])) * TRUTH
    rotations, translations = stack([turned])
    seen = project(rotations, translations, references.positions, CAMERA, IntrinsicsCorrection()).pixels[0]
    inside = np.clip(seen, 0, (CAMERA.width - 1, CAMERA.height - 1))
    others = tuple(sample_references(level, inside, normalize=False) for level in SCENE.pyramid.levels[first:])
    return replace(SCENE.view(), references=replace(references, levels=(*references.levels[:first], *others)))


@pytest.mark.parametrize("first", [1, 2])
def test_an_alignment_that_fits_badly_is_tried_again_without_the_coarsest_levels(first: int) -> None:
    near = se3_exp(np.array([0.02, 0.0, -0.02, 0.0, 0.001, 0.0])) * TRUTH
    (at_once,) = align([elsewhere(first)], [near], SCENE.learned, AlignmentOptions(retry_below=0.0))
    assert pose_error(at_once.cam_from_map, TRUTH)[0] > 0.1, "the coarse levels lead away"
    (found,) = align([elsewhere(first)], [near], SCENE.learned)
    assert pose_error(found.cam_from_map, TRUTH) == pytest.approx((0, 0), abs=1e-2)
    assert found.iterations[2] == 0


def test_an_alignment_that_fits_well_is_not_tried_again() -> None:
    """It would be without iterations on the coarsest level."""
    for retry_below in (0.0, 0.5):
        options = AlignmentOptions(retry_below=retry_below)
        (found,) = align([SCENE.view()], [PRIORS[0]], SCENE.learned, options)
        assert found.iterations[2] > 0


def test_the_best_of_several_tries_counts_even_if_none_is_good() -> None:
    """Never one that has failed, or that costs more than the first."""
    far = se3_exp(np.array([0.8, 0.3, -0.5, 0.02, 0.1, 0.0])) * TRUTH
    (at_once,) = align([misled(0)], [far], SCENE.learned, AlignmentOptions(retry_below=0.0))
    (found,) = align([misled(0)], [far], SCENE.learned, AlignmentOptions(retry_below=1.0))
    assert at_once.inlier_ratio < 1
    assert (bool(found.failure), found.cost) <= (bool(at_once.failure), at_once.cost)
