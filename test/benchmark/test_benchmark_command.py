"""``vizloc benchmark``: every table end to end on small datasets in their published layouts."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from benchmark_trees import read_submission, write_aachen, write_cmu_slice, write_robotcar_seasons
from cli_helpers import Vizloc
from onnx_helpers import DETECTORS, write_network
from planar_sequences import write_sequence
from posed_folder import write_posed_folder
from repository import REPOSITORY
from sfm_helpers import posed
from typer.testing import CliRunner

from vizloc_ros.benchmark import benchmark_run, table_output
from vizloc_ros.benchmark.all_tables import TABLES
from vizloc_ros.cli.main import app
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.evaluation import kept_results
from vizloc_ros.evaluation.submission import check_submission, query_names
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.readers import open_dataset

pytestmark = pytest.mark.e2e

SUN, NIGHT = "sun/rear/1418235223450115", "night/rear/1418235392061935"


@pytest.fixture(scope="module")
def queries(street: SyntheticStreet) -> list[Record]:
    return street.records("query")[3:6:2]


@pytest.fixture(scope="module")
def data(street: SyntheticStreet, queries: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all datasets. Do not change it."""
    folder, mapped = tmp_path_factory.mktemp("data"), street.records("map")[3:7]
    write_posed_folder(folder / "kitti00", [*mapped, *queries])
    for name, shift in (("i_still", 0.0), ("v_moved", 4.0)):
        write_sequence(folder / "hpatches-sequences-release" / name, "hpatches", shift)
    write_aachen(folder / "Aachen-Day-Night-v1.1", mapped, day=queries[:1], night=queries[1:2])
    write_robotcar_seasons(folder / "RobotCar-Seasons", mapped, train={SUN: queries[0]}, test={NIGHT: queries[1]})
    for name, training in (("slice7", True), ("slice17", False)):
        write_cmu_slice(folder / "Extended-CMU-Seasons" / name, mapped, queries[:2], training)
    return folder


@dataclass(frozen=True)
class Made:
    """Output of a table."""

    out: Path
    report: dict[str, Any]
    page: str
    shown: str

    def row(self, method: str, group: str = "") -> dict[str, str]:
        (row,) = (r for r in self.report["rows"] if (r["method"], r.get("dataset", "")) == (method, group))
        return row


def make(table: str, data: Path, out: Path, *options: object, figure: bool = False) -> Made:
    """Run the command, with the figure of the table only if it is looked at: it takes a second."""
    arguments = ["benchmark", table, "--data", data, "--out", out, "--seed", "3", *options]
    with pytest.MonkeyPatch.context() as patch:
        if not figure:
            patch.setattr(table_output, "plot_table", lambda *_: None)
        ended = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    report = json.loads((out / "report.json").read_text())
    return Made(out, report, (out / f"{table}.md").read_text(), ended.output)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all tables, which share their maps."""
    return tmp_path_factory.mktemp("tables")


SIFT = ("--extractor", "rootsift")


@pytest.fixture(scope="module", autouse=True)
def no_figures_of_trajectories() -> Iterator[None]:
    """Leave out the pictures, which take most of the time and are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("report.plot_trajectory", "report.plot_errors", "offline_localization.draw_overlay"):
            patch.setattr(f"vizloc_ros.evaluation.{name}", lambda *_, **__: None)
        yield


@pytest.fixture(scope="module")
def recalls(data: Path, out: Path) -> Made:
    return make("hfnet-table3", data, out, *SIFT, figure=True)


def drawn(path: Path) -> bool:
    """True if the picture has the blue of our rows and the gray of the paper's."""
    picture = cv2.imread(str(path))
    return all(
        (np.abs(picture - np.array(color)).sum(axis=2) < 6).sum() > 500 for color in ((235, 99, 37), (189, 176, 163))
    )


def test_detectors_and_descriptors_of_any_network(data: Path, tmp_path: Path) -> None:
    network = write_network(tmp_path / "tiny.onnx", DETECTORS["probability"])
    words = ["--extractor", "rootsift", "--extractor", str(network)]
    detectors = make("hfnet-table1", data, tmp_path / "out", *words, figure=True)
    assert [row["method"] for row in detectors.report["rows"]] == ["rootsift", "tiny"]
    figures = detectors.report["figures"]["rootsift"]["hpatches"]
    assert detectors.row("rootsift")["hpatches_rep"] == f"{figures['repeatability']:.3f}"
    assert figures["repeatability"] > 0.9  # half the pairs are of one image, the others of shifted ones
    assert figures["localization_error_px"] < 0.1
    assert (figures["pairs"], figures["num_sequences"]) == (10, 2)
    assert "sfm_rep" not in detectors.row("rootsift")
    descriptors = make("hfnet-table2", data, tmp_path / "out", *words, "--limit", "1")  # of the still one
    assert descriptors.row("rootsift") == {
        "method": "rootsift",
        **dict.fromkeys(("hpatches_homography", "hpatches_ms", "hpatches_map"), "1.000"),
    }
    assert "- not the whole dataset: --limit 1\n" in descriptors.page
    assert "matching" in descriptors.shown, "another set of sequences is matched anew"
    assert drawn(tmp_path / "out" / "hfnet-table1.png")


def test_recalls_by_condition(recalls: Made, data: Path) -> None:
    row = recalls.row("rootsift")
    assert row == {
        "method": "rootsift",
        "robotcar_sun": "100.0 / 100.0 / 100.0",
        "cmu_urban": "100.0 / 100.0 / 100.0",
    }, "only of queries with poses: training images of RobotCar, training slices of CMU"
    figures = recalls.report["figures"]["rootsift"]
    assert figures["robotcar_night"]["num_posed"] == 0
    assert (figures["cmu_urban"]["num_images"], figures["cmu_suburban"]["num_posed"]) == (2, 0)
    assert "| rootsift | **vizloc_ros** | - | - | - | 100.0 / 100.0 / 100.0 | - | - | 100.0 / 100.0 / 100.0 | - |" in (
        recalls.page
    )
    assert "| HF-Net | HF-Net, Table 3 | 75.7 / 84.3 / 90.9 |" in recalls.page
    assert "seed 3" in recalls.page
    assert recalls.report["weights"]["rootsift"].startswith("rootsift-2048-0.02+vlad-64-")
    assert recalls.report["weights"]["rootsift"] in recalls.page
    assert drawn(recalls.out / "hfnet-table3.png")
    assert "ours:" in recalls.shown


@pytest.mark.parametrize(
    ("file", "specs", "split", "number"),
    [
        ("Aachen_eval_rootsift.txt", ["aachen:{}/Aachen-Day-Night-v1.1"], "query", 2),
        ("RobotCar_eval_rootsift.txt", ["robotcar-seasons:{}/RobotCar-Seasons?camera=rear"], "test", 1),
        ("CMU_eval_rootsift.txt", ["cmu:{}/Extended-CMU-Seasons/slice17"], "query", 2),
    ],
)
def test_private_truth_gets_a_submission(
    recalls: Made, data: Path, queries: list[Record], file: str, specs: list[str], split: str, number: int
) -> None:
    assert file in recalls.report["submissions"]
    assert file in recalls.page
    asked = [record for spec in specs for record in open_dataset(spec.format(data)).records(split)]
    assert check_submission(recalls.out / file, query_names(asked, file)).missing == []
    poses = read_submission(recalls.out / file)
    assert len(poses) == number
    truths = [posed(record) for record in queries]
    for cam_from_world in poses.values():
        assert min(pose_error(cam_from_world.inverse(), truth)[0] for truth in truths) < 0.05


def test_a_table_that_is_there_is_not_made_again(recalls: Made, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(kept_results, "build_map", fail)
    monkeypatch.setattr(benchmark_run, "evaluate_localization", fail)
    again = make("hfnet-table3", data, recalls.out, *SIFT)
    assert again.report["rows"] == recalls.report["rows"]
    with pytest.raises(AssertionError, match="made again"):
        make("hfnet-table3", data, recalls.out, *SIFT, "--limit", "1")  # of the two queries of a slice


def test_a_broken_run_goes_on_where_it_stopped(
    data: Path, recalls: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the figures of one split, that one alone is localized again, in the map that is there."""
    out = Path(shutil.copytree(recalls.out, tmp_path / "copy"))
    (out / "figures" / "rootsift" / "slice17-query.json").unlink()
    localized, evaluate = [], benchmark_run.evaluate_localization

    def watched(visual_map: VisualMap, records: list[Record], folder: Path, **options: Any) -> dict[str, Any]:
        localized.append(folder.relative_to(out))
        return evaluate(visual_map, records, folder, **options)

    monkeypatch.setattr(benchmark_run, "evaluate_localization", watched)
    again = make("hfnet-table3", data, out, *SIFT)
    assert localized == [Path("localized/rootsift/slice17/query")]
    assert again.report["rows"] == recalls.report["rows"]


def test_ablation_of_global_and_local_features(data: Path, out: Path, recalls: Made) -> None:
    only = data.parent / "only_kitti00"
    only.mkdir()
    (only / "kitti00").symlink_to((data / "kitti00").resolve())
    few = ("--extractor", "hfnet", "--limit", "2")
    made = make("hfnet-table4", only, out, *SIFT, *few)
    assert [row["method"] for row in made.report["rows"]] == ["rootsift", "rootsift+hfnet", "hfnet+rootsift", "hfnet"]
    for row in made.report["rows"]:
        assert row["kitti00"] == "100.0 / 100.0 / 100.0", row
    weights = made.report["weights"]
    assert weights["hfnet+rootsift"] == f"{weights['hfnet']} + {weights['rootsift']}"
    figures = made.report["figures"]
    retrieved = {method: of_method["kitti00"]["retrieval"] for method, of_method in figures.items()}
    assert retrieved["hfnet+rootsift"]["r1_5m"] == retrieved["hfnet"]["r1_5m"], "retrieval is that of the global one"
    assert "Aachen Day-Night is missing" in made.page
    assert "docs/datasets/aachen.md says where to get it" in made.shown.replace("\n", " ")


def test_milliseconds_of_each_stage(data: Path, out: Path, recalls: Made) -> None:
    made = make("hfnet-table5", data, out, *SIFT)
    groups = ["Aachen day", "Aachen night", "RobotCar night", "kitti00"]
    assert [row["dataset"] for row in made.report["rows"]] == groups  # no query of RobotCar at dusk
    row = made.row("rootsift", "kitti00")
    timings = made.report["figures"]["rootsift"]["kitti00"]["timings_ms"]
    for stage in ("extract", "retrieve", "cluster", "match", "pose", "total"):
        assert row[stage] == f"{timings[stage]['p50']:.1f}"
    assert "| RobotCar night | HF-Net | HF-Net, Table 5 | 15 | 13 | 1 | 6 | 38 | 73 |" in made.page
    assert "- CPU " in made.page


def test_statistics_of_models_are_those_of_the_maps(data: Path, out: Path, recalls: Made) -> None:
    made = make("hfnet-table6", data, out, *SIFT)
    assert [row["dataset"] for row in made.report["rows"]] == ["Aachen", "RobotCar", "CMU", "kitti00"]
    figures = made.report["figures"]["rootsift"]
    visual_map = VisualMap.open(out / "maps" / "rootsift" / "kitti00")
    keypoints = [
        len(visual_map.extractor.extract(r.read_image()))
        for r in open_dataset(f"folder:{data / 'kitti00'}").records("map")
    ]
    row, found = made.row("rootsift", "kitti00"), figures["kitti00"]
    observed = len(visual_map.observation_landmarks)
    assert found["keypoints"] == sum(keypoints)
    assert row["keypoints_per_image"] == f"{np.mean(keypoints):,.0f}"
    assert row["matched"] == f"{100 * observed / sum(keypoints):.1f}"
    assert row["track_length"] == f"{observed / len(visual_map.landmark_positions):.2f}"
    assert row["reprojection_error_px"] == f"{visual_map.info.build['mean_reprojection_error_px']:.2f}"
    assert figures["CMU"]["num_images"] == 8, "both slices"


def test_keys_of_the_report_are_documented(recalls: Made) -> None:
    page = (REPOSITORY / "docs" / "benchmark.md").read_text()
    assert {key for key in recalls.report if f"`{key}`" not in page} == set()
    assert {name for name in TABLES if f"`{name}`" not in page} == set()


@pytest.mark.parametrize("words", [(), ("--list",)])
def test_the_list_says_what_is_needed_and_there(vizloc: Vizloc, data: Path, words: tuple[str, ...]) -> None:
    ended = vizloc("benchmark", *words, "--data", data)
    assert ended.code == 0
    assert all(name in ended.out for name in TABLES)
    assert "    Extended CMU Seasons: slice7, slice17" in ended.out
    missing = (
        f"Landmarks: missing\n        expected: {data}/CambridgeLandmarks/*\n        see docs/datasets/cambridge.md\n"
    )
    assert missing in ended.out


def test_one_table_is_listed(vizloc: Vizloc, data: Path) -> None:
    ended = vizloc("benchmark", "hfnet-table1", "--list", "--data", data)
    first, *sources = ended.out.splitlines()
    assert first.startswith("hfnet-table1: ")
    assert [source.split(": ")[1] for source in sources] == ["hpatches-sequences-release"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("hfnet-table9",), 2, "there is no table 'hfnet-table9'; there is: hfnet-table1"),
        (("hfnet-table1",), 2, "hfnet-table1 needs --data"),
        (("--data", "{}/nope"), 1, "nope: no such folder; it holds the folders of the datasets"),
        (("hfnet-table1", "--data", "{}/nope", "--out", "{}/out"), 1, "--data "),
        (("hfnet-table1", "--data", "{}"), 2, "hfnet-table1 needs --data"),
        (
            ("hfnet-table1", "--data", "{}", "--out", "{}/out"),
            1,
            "nothing for hfnet-table1: HPatches, full sequences is",
        ),
        (("hfnet-table5", "--data", "{}", "--out", "{}/out"), 1, "docs/datasets/robotcar_seasons.md says where to get"),
    ],
)
def test_what_is_missing_is_said(
    vizloc: Vizloc, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    ended = vizloc("benchmark", *(word.format(tmp_path) for word in words))
    assert ended.code == code
    assert message in ended.err
    assert not (tmp_path / "out").exists()
