"""Rows of the papers as printed, cells as numbers, and folders of datasets."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from vizloc_ros.benchmark.all_tables import TABLES, find_table
from vizloc_ros.benchmark.hfnet_table3 import combined, table_column
from vizloc_ros.benchmark.hfnet_table6 import combined_models
from vizloc_ros.benchmark.paper_table import Column, TableRow, numbers_of, paper_rows
from vizloc_ros.benchmark.sources import AACHEN, CMU, HPATCHES, ROBOTCAR_SEASONS, Present
from vizloc_ros.errors import ConfigError


def row_of(table: str, method: str, group: str = "") -> TableRow:
    (row,) = (r for r in TABLES[table].papers if (r.method, r.group) == (method, group))
    return row


@pytest.mark.parametrize(
    ("table", "method", "group", "cells"),
    [
        ("hfnet-table1", "SuperPoint", "", {"hpatches_rep": "0.495", "hpatches_mle": "1.04", "sfm_mle": "1.45"}),
        ("hfnet-table2", "Root-SIFT", "", {"hpatches_homography": "0.681", "hpatches_ms": "0.307", "sfm_map": "0.236"}),
        ("hfnet-table3", "HF-Net", "", {"robotcar_night": "2.7 / 6.6 / 15.8", "cmu_suburban": "71.8 / 78.2 / 87.1"}),
        ("hfnet-table3", "SMC", "", {"robotcar_sun": "(46.7 / 74.6 / 95.9)", "cmu_urban": "75.0 / 82.1 / 87.8"}),
        ("hfnet-table4", "NV+DOAP", "", {"aachen_night": "34.7 / 52.0 / 72.4"}),
        ("hfnet-table5", "NV+SIFT", "RobotCar night", {"extract": "92+189", "match": "389", "pose": "149"}),
        ("hfnet-table6", "HF-Net", "Aachen", {"landmarks": "685k", "keypoints_per_image": "2,576", "matched": "33.8"}),
    ],
)
def test_rows_are_those_of_the_paper(table: str, method: str, group: str, cells: Mapping[str, str]) -> None:
    row = row_of(table, method, group)
    assert {key: row.cells[key] for key in cells} == cells


@pytest.mark.parametrize("method", ["NV+SP", "HF-Net"])
@pytest.mark.parametrize("group", ["Aachen day", "Aachen night", "RobotCar dusk", "RobotCar night"])
def test_stages_of_the_paper_sum_up_to_its_totals(method: str, group: str) -> None:
    *stages, total = (numbers_of(row_of("hfnet-table5", method, group).cell(c))[0] for c in columns("hfnet-table5"))
    assert sum(stages) == pytest.approx(total, abs=1)  # each is rounded


def test_tables_3_and_4_agree_where_they_repeat_each_other() -> None:
    for method in ("HF-Net", "NV+SP"):
        for key in ("aachen_day", "aachen_night"):
            assert row_of("hfnet-table4", method).cells[key] == row_of("hfnet-table3", method).cells[key]


def columns(table: str) -> tuple[Column, ...]:
    return TABLES[table].columns


def test_every_cell_of_the_papers_has_a_column_and_numbers() -> None:
    for table in TABLES.values():
        keys = {column.key for column in table.columns}
        for row in table.papers:
            assert row.cells.keys() <= keys
            assert all(numbers_of(cell) for cell in row.cells.values()), row


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [
        ("75.7 / 84.3 / 90.9", [75.7, 84.3, 90.9]),
        ("(6.2 / 18.5 / 44.3)", [6.2, 18.5, 44.3]),
        ("92+263", [355]),
        ("1,900k", [1_900_000]),
        ("21.6k", [21_600]),
        ("10,230", [10_230]),
        ("0.307", [0.307]),
        ("-", []),
    ],
)
def test_numbers_of_cells(cell: str, numbers: list[float]) -> None:
    assert numbers_of(cell) == pytest.approx(numbers)


def test_a_row_with_too_few_cells_is_a_mistake() -> None:
    with pytest.raises(ValueError):
        paper_rows((Column("a", "A"), Column("b", "B")), "NV+SP | 1")


def test_an_unknown_table_is_answered_with_the_names() -> None:
    with pytest.raises(ConfigError, match=r"no table 'hfnet-table7'; there is: hfnet-table1, hfnet-table2"):
        find_table("hfnet-table7")


def test_folders_are_found_whatever_their_case_and_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("slice10", "slice9", "slice2", "papers"):
        (tmp_path / "extended-cmu-seasons" / name).mkdir(parents=True)
    (tmp_path / "extended-cmu-seasons" / "slice3").write_text("no folder")
    parts = CMU.present(tmp_path)
    assert [part.name for part in parts] == ["slice2", "slice9", "slice10"]
    assert parts[0].spec == f"cmu:{tmp_path}/extended-cmu-seasons/slice2"
    (tmp_path / "robotcar-seasons-v2").mkdir()
    (part,) = ROBOTCAR_SEASONS.present(tmp_path)
    assert part.spec.endswith("robotcar-seasons-v2?camera=rear")
    assert AACHEN.present(tmp_path) == HPATCHES.present(tmp_path / "nowhere") == []


@pytest.mark.parametrize(("slice_name", "column"), [("slice2", "urban"), ("slice9", "suburban"), ("slice25", "park")])
def test_slices_belong_to_the_columns_of_their_scene(slice_name: str, column: str) -> None:
    assert table_column(CMU, Present("cmu", slice_name, Path(slice_name), ""), "query") == f"cmu_{column}"
    assert table_column(ROBOTCAR_SEASONS, Present("", "x", Path("x"), ""), "night-rain") == "robotcar_night-rain"


def test_recalls_of_several_slices_are_those_of_all_their_images() -> None:
    def report(posed: int, ratio: float) -> dict[str, object]:
        recall = dict.fromkeys(("0.25m_2deg", "0.5m_5deg", "5m_10deg"), ratio) if posed else {}
        return {"num_images": 10, "num_poses": 9, "num_failed": 1, "num_posed": posed, "recall": recall}

    found = combined([report(1, 1.0), report(3, 0.2), report(0, 0.0)])
    assert found["recall"]["0.25m_2deg"] == pytest.approx((1 + 0.6) / 4)
    assert (found["num_images"], found["num_poses"], found["num_posed"]) == (30, 27, 4)
    assert combined([report(0, 0.0)])["recall"] == {}


def test_statistics_of_several_models_by_hand() -> None:
    small = {"num_images": 2, "landmarks": 10, "observations": 40, "keypoints": 100, "reprojection_error_px": 1.0}
    large = {"num_images": 6, "landmarks": 40, "observations": 120, "keypoints": 700, "reprojection_error_px": 0.5}
    found = combined_models([{**small, "map_bytes_per_keyframe": 1.0}, {**large, "map_bytes_per_keyframe": 2.0}])
    assert found["keypoints_per_image"] == 800 / 8
    assert found["observations_per_image"] == 160 / 8
    assert found["matched_keypoints"] == 160 / 800
    assert found["track_length"] == 160 / 50
    assert found["reprojection_error_px"] == pytest.approx((40 * 1.0 + 120 * 0.5) / 160)
    assert found["map_bytes_per_keyframe"] == pytest.approx(1.75)
