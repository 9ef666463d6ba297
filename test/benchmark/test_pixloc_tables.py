"""PixLoc's tables: its rows as printed, and runs on small datasets in their published layout."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import pytest
from benchmark_trees import read_submission, write_cmu_slice
from cli_helpers import Vizloc
from conftest import write_posed_folder
from repository import DATA
from sfm_helpers import posed, write_image

from vizloc_ros.benchmark.all_tables import TABLES
from vizloc_ros.benchmark.paper_table import MISSING, PaperTable, TableRow, numbers_of
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet, open_synthetic
from vizloc_ros.geometry.poses import pose_error

PAPER = DATA.parent / "papers" / "pixloc_back_to_the_feature.txt"
_PAPER_NAMES = {
    "IR Oracle": "Oracle",
    "PixLoc + Oracle prior": "+ Oracle prior",
    "hloc + PixLoc refine": "+ PixLoc refine",
}


def row_of(table: str, method: str) -> TableRow:
    (row,) = (row for row in TABLES[table].papers if row.method == method)
    return row


def test_rows_of_the_paper() -> None:
    pixloc, oracle = row_of("pixloc-table1", "PixLoc"), row_of("pixloc-table1", "PixLoc + Oracle prior")
    assert (pixloc.cells["ShopFacade"], pixloc.cells["redkitchen"], pixloc.cells["recall"]) == (
        "5/0.23",
        "3/1.20",
        "75.7",
    )
    assert (oracle.cells["GreatCourt"], oracle.cells["stairs"], oracle.cells["recall"]) == ("21/0.12", "4/1.08", "81.7")
    assert row_of("pixloc-table2", "PixLoc").cells["cmu_park"] == "61.0 / 62.5 / 69.4"
    assert row_of("pixloc-table2", "IR NetVLAD").cells["robotcar_day"] == "6.4 / 26.3 / 90.9"
    assert row_of("pixloc-table2", "hloc + PixLoc refine").cells["robotcar_night"] == "34.9 / 67.7 / 89.5"


@pytest.mark.parametrize("table", [TABLES["pixloc-table1"], TABLES["pixloc-table2"]], ids=lambda table: table.name)
def test_every_row_is_a_line_of_the_paper(table: PaperTable) -> None:
    if not PAPER.is_file():
        pytest.skip(f"no text of the paper at {PAPER}")
    printed = [
        [re.sub(r"\s*\[\d+\]|\\dagger", "", field).strip() for field in line.rstrip().split("\t")] for line in lines()
    ]
    for row in table.papers:
        name = _PAPER_NAMES.get(row.method, row.method.removeprefix("IR "))
        cells = [numbers_of(row.cell(column)) for column in table.columns]
        assert all(row.cell(column) == MISSING or numbers for column, numbers in zip(table.columns, cells, strict=True))
        found = [fields[fields.index(name) + 1 :] for fields in printed if name in fields]
        assert cells in [[numbers_of(field) for field in fields] for fields in found], row.method


def lines() -> list[str]:
    return PAPER.read_text(encoding="utf-8").splitlines()


def write_cambridge(folder: Path, mapped: Sequence[Record], queries: Sequence[Record]) -> None:
    model = []
    for part, records in (("train", mapped), ("test", queries)):
        rows = []
        for index, record in enumerate(records):
            name = f"seq_{part}/frame{index:05d}.png"
            write_image(folder / name, record.read_image())
            x, y, z, w = posed(record).inverse().rotation.quat
            center = " ".join(map(repr, posed(record).translation.tolist()))
            rows.append(f"{name} {center} {w} {x} {y} {z}\n")
            model.append(f"{name} {record.camera.fx} {w} {x} {y} {z} {center} 0 0\n")
        head = "Visual Landmark Dataset V1\nImageFile, Camera Position [X Y Z W P Q R]\n\n"
        (folder / f"dataset_{part}.txt").write_text(head + "".join(rows))
    (folder / "reconstruction.nvm").write_text(f"NVM_V3\n\n{len(model)}\n{''.join(model)}\n0\n")


@pytest.fixture(scope="module")
def small_street() -> SyntheticStreet:
    return open_synthetic("length=6&width=288&height=180")


@pytest.fixture(scope="module")
def data(small_street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of Cambridge, two slices of CMU and a posed folder, with four images of a map each."""
    data: Path = tmp_path_factory.mktemp("data")
    mapped, queries = small_street.records("map")[2:6], small_street.records("query")[3:4]
    write_cambridge(data / "CambridgeLandmarks/ShopFacade", mapped, queries)
    (data / "CambridgeLandmarks/__MACOSX").mkdir()
    write_cmu_slice(data / "Extended-CMU-Seasons/slice2", mapped, queries, training=False)
    write_cmu_slice(data / "Extended-CMU-Seasons/slice8", mapped, queries, training=True)
    (data / "kitti00").mkdir()
    write_posed_folder(data / "kitti00", [*mapped, *queries])
    return data


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figures of single runs, which take most of the time and are looked at elsewhere; the table's one stays."""
    for name in ("report.plot_trajectory", "report.plot_errors", "offline_localization.draw_overlay"):
        monkeypatch.setattr(f"vizloc_ros.evaluation.{name}", lambda *_, **__: None)


def benchmark(vizloc: Vizloc, table: str, data: Path, out: Path) -> dict[str, Any]:
    ended = vizloc("benchmark", table, "--data", data, "--out", out, "--extractor", "rootsift")
    assert ended.code == 0, ended.err
    picture = cv2.imread(str(out / f"{table}.png"))
    assert picture is not None
    assert picture.std() > 5
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


@pytest.mark.e2e
@pytest.mark.usefixtures("without_figures")
def test_table_1_has_the_scene_that_is_there(vizloc: Vizloc, data: Path, tmp_path: Path) -> None:
    report = benchmark(vizloc, "pixloc-table1", data, tmp_path)
    rows = {row["method"]: row for row in report["rows"]}
    assert list(rows) == [
        f"{name} (rootsift)" for name in ("IR", "IR Oracle", "PixLoc", "PixLoc + Oracle prior", "localizer")
    ]
    assert all(row.keys() == {"method", "ShopFacade"} for row in rows.values())
    cm = {name: numbers_of(row["ShopFacade"])[0] for name, row in rows.items()}
    assert cm["PixLoc (rootsift)"] < 10 < cm["IR (rootsift)"]
    assert report["figures"]["PixLoc (rootsift)"]["ShopFacade"]["recall_5cm_5deg"] is not None
    assert any("7-Scenes is missing" in note for note in report["notes"])


@pytest.mark.e2e
@pytest.mark.usefixtures("without_figures")
def test_table_2_scores_public_truth_and_submits_the_rest(
    vizloc: Vizloc, data: Path, small_street: SyntheticStreet, tmp_path: Path
) -> None:
    report = benchmark(vizloc, "pixloc-table2", data, tmp_path)
    rows = {row["method"].replace(" (rootsift)", ""): row for row in report["rows"]}
    assert list(rows) == [
        "IR",
        "IR Oracle",
        "PixLoc",
        "PixLoc + Oracle prior",
        "localizer",
        "localizer + PixLoc refine",
    ]
    assert rows["PixLoc"]["cmu_urban"] == "100.0 / 100.0 / 100.0"
    assert rows["IR"]["cmu_urban"] != rows["PixLoc"]["cmu_urban"]
    assert all(row.keys() == {"method", "cmu_urban"} for row in rows.values())
    names = [f"CMU_eval_rootsift{end}.txt" for end in ("_pixloc", "_pixloc_oracle", "", "_pixloc_refined")]
    assert report["submissions"] == names
    for name in names:
        ((image, cam_from_world),) = read_submission(tmp_path / name).items()
        assert image.startswith("img_00000_c0_")
        assert pose_error(cam_from_world.inverse(), posed(small_street.records("query")[3]))[0] < 0.25


@pytest.mark.e2e
def test_table_3_runs_on_a_posed_folder(vizloc: Vizloc, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "kitti00", tmp_path / "data/kitti00")
    report = benchmark(vizloc, "pixloc-table3", tmp_path / "data", tmp_path)
    names = [row["method"] for row in report["rows"]]
    assert names[:3] == ["full", "no fine level", "no uncertainty"]
    assert names[3:] == ["no learned damping", "compact features (16)", "photometric"]
    assert report["rows"][0]["kitti00_0.5m_1deg"] == "100.0"
    assert report["figures"]["full"]["kitti00"]["num_images"] == 1
    assert len(set(report["weights"].values())) == len(names)
    (figures,) = (tmp_path / "figures").rglob("*.json")
    made = figures.stat().st_mtime_ns
    assert benchmark(vizloc, "pixloc-table3", tmp_path / "data", tmp_path)["rows"] == report["rows"]
    assert figures.stat().st_mtime_ns == made, "a second run takes up the first"
