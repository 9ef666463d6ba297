"""``vizloc evaluate degradations``: its figures are those of ``localize``, and an interrupted run goes on."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import cv2
import pytest
from repository import REPOSITORY
from typer.testing import CliRunner

from vizloc_ros.cli.main import app
from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.errors import ConfigError, DatasetError, DeviceError
from vizloc_ros.evaluation.offline_localization import localize_records
from vizloc_ros.evaluation.recall import evaluate_poses
from vizloc_ros.evaluation.robustness import (
    DegradationTask,
    choose_degradations,
    evaluate_degradations,
    mean_of_hard,
)
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.hfnet import runtime
from vizloc_ros.features.onnx_session import NetworkFile, open_session
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Item
from vizloc_ros.readers import open_dataset

pytestmark = pytest.mark.e2e

NOISE = [Degradation("noise", 1), Degradation("noise", 5)]
CELLS = ["clean", "noise:1", "noise:5"]


class Watcher:
    """``Progress`` that records the started tasks, and stops before one of them."""

    def __init__(self, stop_before: str = "") -> None:
        self.begun: list[str] = []
        self._stop_before = stop_before

    def __call__(self, iterable: Iterable[Item], description: str, total: int) -> Iterable[Item]:
        if self._stop_before and description.endswith(self._stop_before):
            raise KeyboardInterrupt
        self.begun.append(description)
        return iterable


def make_task(folder: Path, seed: int = 0, queries: int = 3) -> DegradationTask:
    dataset = open_dataset(f"folder:{folder}")
    return DegradationTask(dataset.name, dataset.records("map"), dataset.records("query")[:queries], NOISE, seed)


@pytest.fixture(scope="module")
def finished(street_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run. Do not change it."""
    out = tmp_path_factory.mktemp("degradations")
    evaluate_degradations("sift", open_extractor("rootsift"), make_task(street_folder), out)
    return out


def test_figures_are_those_of_localizing_the_same_images(finished: Path, street_folder: Path) -> None:
    task, visual_map = make_task(street_folder), VisualMap.open(finished / "maps" / "sift")
    figures = json.loads((finished / "figures" / "sift.json").read_text())["figures"]
    assert list(figures) == CELLS
    assert visual_map.keyframe_names == [record.name for record in task.mapped]
    for degradation in NOISE:
        run = localize_records(
            degrade_records(task.queries, degradation), visual_map, HierarchicalLocalizer(visual_map)
        )
        expected = evaluate_poses(run.estimates, {r.name: r.world_from_cam for r in task.queries})
        measured = figures[str(degradation)]
        for key in ("median_translation_m", "median_rotation_deg"):
            assert measured.pop(key) == pytest.approx(getattr(expected, key), rel=1e-6)
        assert (measured.pop("num_images"), measured.pop("num_poses")) == (3, expected.num_poses)
        assert measured.pop("num_wrong") == expected.num_wrong
        assert measured == {"recall": expected.recall, "retrieval": run.retrieval}
    assert figures["clean"]["recall"]["0.25m_2deg"] == 1


def test_an_interrupted_run_goes_on_where_it_stopped(finished: Path, street_folder: Path, tmp_path: Path) -> None:
    task = make_task(street_folder)
    shutil.copytree(finished / "maps", tmp_path / "maps")
    with pytest.raises(KeyboardInterrupt):
        evaluate_degradations("sift", open_extractor("rootsift"), task, tmp_path, Watcher("noise:5"))
    kept = json.loads((tmp_path / "figures" / "sift.json").read_text())["figures"]
    assert list(kept) == CELLS[:2]
    rest = Watcher()
    figures = evaluate_degradations("sift", open_extractor("rootsift"), task, tmp_path, rest)
    assert rest.begun == ["sift, noise:5"]  # neither the map nor what was measured is done again
    whole = json.loads((finished / "figures" / "sift.json").read_text())["figures"]
    assert list(figures) == CELLS
    for cell in CELLS:
        assert figures[cell]["recall"] == whole[cell]["recall"]


@pytest.mark.parametrize(
    ("changed", "begun"),
    [
        ({"queries": 2}, ["sift, clean", "sift, noise:1", "sift, noise:5"]),
        ({"seed": 1}, ["extracting features", "sift, clean", "sift, noise:1", "sift, noise:5"]),
    ],
)
def test_figures_of_another_task_are_not_taken_up(
    finished: Path, street_folder: Path, tmp_path: Path, changed, begun
) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    again = Watcher()
    figures = evaluate_degradations(
        "sift", open_extractor("rootsift"), make_task(street_folder, **changed), tmp_path, again
    )
    assert [name for name in again.begun if name == "extracting features" or name.startswith("sift")] == begun
    assert figures["clean"]["num_images"] == changed.get("queries", 3)


def test_a_map_of_other_features_is_built_again(finished: Path, street_folder: Path, tmp_path: Path) -> None:
    task = make_task(street_folder, queries=1)
    shutil.copytree(finished / "maps", tmp_path / "maps")
    watcher = Watcher()
    fewer = open_extractor("rootsift", {"max_keypoints": 900})
    evaluate_degradations("sift", fewer, task, tmp_path, watcher)
    assert "extracting features" in watcher.begun
    assert VisualMap.open(tmp_path / "maps" / "sift").extractor.settings["max_keypoints"] == 900


def test_a_damaged_file_of_figures_is_named(street_folder: Path, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "maps").symlink_to(finished / "maps")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "sift.json").write_text('{"origin": ')
    with pytest.raises(DatasetError, match=r"figures/sift\.json: cannot be read .* delete it"):
        evaluate_degradations("sift", open_extractor("rootsift"), make_task(street_folder), tmp_path)


def test_queries_without_poses_are_refused(street_folder: Path) -> None:
    dataset = open_dataset(f"folder:{street_folder}")
    with pytest.raises(DatasetError, match="none of the 0 queries has a pose"):
        DegradationTask("folder:x", dataset.records("map"), [], NOISE)


def test_choice_of_kinds_and_levels() -> None:
    assert len(choose_degradations("", "")) == 25
    assert [str(d) for d in choose_degradations("blur, noise,blur", "3,5")] == [
        *("blur:3", "blur:5", "noise:3", "noise:5")
    ]
    with pytest.raises(ConfigError, match="no degradation fog, rain; there is: night, blur, noise"):
        choose_degradations("fog,night,rain", "1")
    with pytest.raises(ConfigError, match="no level 0, six; levels are 1 to 5"):
        choose_degradations("night", "0,1,six")


def test_the_mean_is_over_night_blur_and_noise_at_levels_3_to_5() -> None:
    def figures(ratio: float) -> dict[str, object]:
        return {"recall": {"0.25m_2deg": ratio}, "retrieval": {"r1_5m": ratio / 2}}

    hard = {"night:3": figures(0.2), "blur:5": figures(0.6), "noise:4": figures(1.0)}
    others = {"clean": figures(1.0), "night:2": figures(0.9), "exposure:5": figures(0.1)}
    mean = mean_of_hard({**others, **hard})
    assert mean == {
        "of": ["night:3", "blur:5", "noise:4"],
        "recall": {"0.25m_2deg": pytest.approx(0.6)},
        "retrieval": {"r1_5m": pytest.approx(0.3)},
    }
    assert mean_of_hard(others) is None


def test_the_command_writes_report_and_picture(street_folder: Path, tmp_path: Path) -> None:
    arguments = ["--extractor", "rootsift", f"folder:{street_folder}", "--kinds", "blur", "--levels", "1,4"]
    ended = CliRunner().invoke(
        app, ["evaluate", "degradations", *arguments, "--every", "2", "--map-every", "2", "--out", str(tmp_path)]
    )
    assert ended.exit_code == 0, ended.output
    report = json.loads((tmp_path / "report.json").read_text())
    documented = (REPOSITORY / "docs" / "evaluation.md").read_text()
    for key in report:
        assert f"`{key}`" in documented, key
    figures = report["degradations"]["rootsift"]
    assert list(figures) == ["clean", "blur:1", "blur:4"]
    assert report["mean"]["rootsift"]["of"] == ["blur:4"]
    assert report["mean"]["rootsift"]["recall"] == figures["blur:4"]["recall"]
    assert (report["num_mapped"], report["num_queries"]) == (4, 2)
    shown = f"{100 * figures['blur:4']['recall']['0.25m_2deg']:.1f}"
    assert [line.split() for line in ended.output.splitlines() if line.strip().startswith("blur:4")] == [
        ["blur:4", shown]
    ]
    picture = cv2.imread(str(tmp_path / "degradations.png"))
    assert picture is not None
    assert picture.std() > 5


def test_two_extractors_of_one_name_are_refused(street_folder: Path, tmp_path: Path) -> None:
    arguments = ["--extractor", "rootsift", "--extractor", "rootsift", f"folder:{street_folder}"]
    ended = CliRunner().invoke(app, ["evaluate", "degradations", *arguments, "--out", str(tmp_path / "out")])
    assert isinstance(ended.exception, ConfigError)
    assert "have the same name" in str(ended.exception)
    assert not (tmp_path / "out").exists()


def test_settings_and_device_reach_map_and_queries(
    street_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images are worked on side by side, each on one core."""
    devices: list[Device] = []

    def watched(weights: NetworkFile, device: Device) -> object:
        devices.append(device)
        return open_session(weights, device)

    monkeypatch.setattr(runtime, "open_session", watched)
    config, out = tmp_path / "few.yaml", tmp_path / "out"
    config.write_text("{max_keypoints: 500, long_side: 320}")
    arguments = ["evaluate", "degradations", f"folder:{street_folder}", "--every", "3", "--kinds", "blur"]
    arguments += ["--levels", "1", "--out", str(out), "--extractor", "hfnet", "--extractor-config", str(config)]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert devices == [Device(threads=1)] * 2, "of the extractor that builds the map, and of the map's"
    settings = VisualMap.open(out / "maps" / "hfnet").info.extractor.settings
    assert (settings["max_keypoints"], settings["long_side"]) == (500, 320)
    with pytest.raises(ConfigError, match=r"few\.yaml is for one extractor, not for hfnet, rootsift"):
        CliRunner().invoke(app, [*arguments, "--extractor", "rootsift"], catch_exceptions=False)


def test_the_provider_is_asked_for(street_folder: Path, tmp_path: Path) -> None:
    arguments = [f"folder:{street_folder}", "--extractor", "rootsift", "--provider", "cuda", "--out", str(tmp_path)]
    with pytest.raises(DeviceError, match="rootsift runs on the CPU only"):
        CliRunner().invoke(app, ["evaluate", "degradations", *arguments], catch_exceptions=False)
