"""Cost around the true pose: wide basins of coarse levels, and a narrow one of the fine level."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pixloc_helpers import small_extractor

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.basin_figures import draw_basins
from vizloc_ros.evaluation.basins import DIRECTIONS, LATERAL, Basins, CostLine, Direction, basin_report, measure_basins
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.pose_refiner import MapAligner

OFFSETS = np.linspace(-2, 2, 81)


@pytest.fixture(scope="module")
def aligner(tracked_map: VisualMap) -> MapAligner:
    return MapAligner(tracked_map, small_extractor())


@pytest.fixture(scope="module")
def measured(street: SyntheticStreet, aligner: MapAligner) -> list[Basins]:
    """Two images of the second lap."""
    return measure_basins(street.records("query")[2:18], aligner, 2)


@pytest.mark.e2e
def test_the_fine_level_is_lowest_at_the_true_pose(measured: list[Basins]) -> None:
    for basins in measured:
        line = basins.lines["lateral"]["fine level"]
        left, at_truth, right = np.interp([-0.03, 0, 0.03], line.offsets, line.costs)
        assert at_truth < min(left, right)
        assert abs(line.lowest) <= 0.015


@pytest.mark.e2e
def test_coarse_levels_lead_to_the_true_pose_from_far_and_the_fine_level_from_near(measured: list[Basins]) -> None:
    for basins in measured:
        for level, offsets in (
            ("level 3", [0.5, 1.0, 1.5]),
            ("level 2", [0.0, 0.25, 0.5]),
        ):  # level 3 has a flat bottom
            line = basins.lines["lateral"][level]
            for side in (-1, 1):
                costs = np.interp(side * np.array(offsets), line.offsets, line.costs)
                assert (np.diff(costs) > 0).all(), (basins.name, level, side)
    report = basin_report(measured)
    assert list(report) == ["level 3", "level 2", "level 1", "level 0", "fine level"]
    for direction in DIRECTIONS:
        half = [of_level[direction.name]["half"] for of_level in report.values()]
        assert half[-1] < 0.5 * half[0]


@pytest.mark.e2e
def test_each_image_has_a_figure_and_maps_of_the_coarsest_and_the_finest_level(
    measured: list[Basins], tmp_path: Path
) -> None:
    draw_basins(tmp_path / "made", measured)
    assert len(list((tmp_path / "made").glob("*.png"))) == len(measured)
    for basins in measured:
        assert list(basins.maps) == ["level 3", "fine level"]
        fine = basins.maps["fine level"]
        ahead, aside = np.unravel_index(np.nanargmin(fine.costs), fine.costs.shape)
        assert abs(fine.offsets[aside]) < 0.01
        assert abs(fine.offsets[ahead]) < 0.1


@pytest.mark.e2e
def test_images_far_from_the_map_have_no_basins(street: SyntheticStreet, aligner: MapAligner) -> None:
    record = street.records("query")[2]
    assert record.world_from_cam is not None
    away = replace(record, world_from_cam=se3_exp(np.array([500.0, 0, 0, 0, 0, 0])) * record.world_from_cam)
    with pytest.raises(DatasetError, match="no keyframe is near"):
        measure_basins([away], aligner, 1)
    with pytest.raises(DatasetError, match="has no pose"):
        measure_basins([replace(record, world_from_cam=None)], aligner, 1)


def test_a_lateral_offset_moves_the_camera_to_its_right() -> None:
    cam_from_map = se3_exp(np.array([1.0, 2, 3, 0.3, 0.2, 0.1]))
    moved = LATERAL.moved(cam_from_map, 0.5)
    assert np.allclose((cam_from_map * moved.inverse()).translation, [0.5, 0, 0])
    assert pose_error(cam_from_map, moved)[1] < 1e-6


@pytest.mark.parametrize("direction", DIRECTIONS, ids=lambda direction: direction.name)
def test_offsets_have_the_true_pose(direction: Direction) -> None:
    offsets = direction.offsets
    assert (np.diff(offsets) > 0).all()
    assert (offsets[0], offsets[-1]) == (-direction.reach, direction.reach)
    assert 0 in offsets


def test_a_basin_ends_where_the_cost_falls_again() -> None:
    line = CostLine(OFFSETS, np.minimum(np.abs(OFFSETS), 3 - np.abs(OFFSETS)))  # highest 1.5 away
    assert line.lowest == pytest.approx(0)
    assert line.basin == pytest.approx((-1.5, 1.5))
    assert line.half == pytest.approx((-0.75, 0.75))


def test_ripples_do_not_end_a_basin() -> None:
    line = CostLine(OFFSETS, np.abs(OFFSETS) + 0.004 * (-1) ** np.arange(len(OFFSETS)))
    assert line.basin == pytest.approx((-2, 2))
    higher = CostLine(OFFSETS, np.abs(OFFSETS) + 0.1 * (-1) ** np.arange(len(OFFSETS)))
    assert np.ptp(higher.basin) < 0.3


def test_half_of_the_range_is_found_between_the_offsets() -> None:
    line = CostLine(np.array([-2.0, -1, 0, 1, 2]), np.array([4.0, 3, 0, 1, 4]))
    assert line.half == pytest.approx((-2 / 3, 4 / 3))


def test_a_basin_ends_where_too_few_landmarks_are_in_the_image() -> None:
    costs = OFFSETS**2
    costs[OFFSETS > 1.01] = np.nan
    line = CostLine(OFFSETS, costs)
    assert line.basin == pytest.approx((-2, 1))
    assert line.half == pytest.approx((-np.sqrt(2), 1), abs=0.01)


def test_a_constant_cost_is_drawn_as_zero() -> None:
    line = CostLine(OFFSETS, np.ones(len(OFFSETS)))
    assert (line.heights == 0).all()
