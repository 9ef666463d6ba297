"""The command line: exit codes, what messages name, and the files it leaves."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from cli_helpers import Vizloc
from repository import REPOSITORY
from trajectory_readers import read_tum, read_visuallocalization

from vizloc_ros import __version__
from vizloc_ros.evaluation.recall import evaluate_poses
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.map_format import read_info
from vizloc_ros.mapping.visual_map import open_map_extractor
from vizloc_ros.readers import open_dataset

pytestmark = pytest.mark.e2e

REPORT_KEYS = {  # of docs/evaluation.md, those of `vizloc localize`
    "num_images",
    "num_poses",
    "num_wrong",
    "recall",
    "median_translation_m",
    "median_rotation_deg",
    "retrieval",
    "num_failed",
    "timings_ms",
    "map_bytes_per_keyframe",
    "command",
    "seed",
    "unlocalized",
}
ROOTSIFT = ("--extractor", "rootsift")  # which is fast, and needs no weights
TOLERANCES = {"0.05m_5deg", "0.25m_2deg", "0.5m_5deg", "5m_10deg"}


@pytest.fixture(scope="module")
def street_map_path(street_build: tuple[Path, object]) -> Path:
    return street_build[0]


@pytest.fixture(scope="module")
def results(street_map_path: Path, street_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of ``vizloc localize``, run as a separate process."""
    out = tmp_path_factory.mktemp("results") / "new" / "folder"
    command = [sys.executable, "-m", "vizloc_ros.cli.main", "localize", str(street_map_path), f"folder:{street_folder}"]
    ended = subprocess.run(
        [*command, "--split", "query", "--out", str(out), "--seed", "3"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "recall" in ended.stdout
    return out


def test_the_report_has_the_keys_of_the_design(results: Path, street_map_path: Path, street_folder: Path) -> None:
    report = json.loads((results / "report.json").read_text())
    assert set(report) == REPORT_KEYS
    assert report["num_images"] == report["num_poses"] == 3
    assert report["recall"] == dict.fromkeys(TOLERANCES, 1.0)
    assert 0 < report["median_translation_m"] < 0.25
    assert 0 < report["median_rotation_deg"] < 1
    assert set(report["retrieval"]) == {"r1_5m", "r10_5m", "landmarks"}
    assert report["num_failed"] == 0
    assert report["unlocalized"] == {}
    assert set(report["timings_ms"]) == {"extract", "retrieve", "cluster", "match", "pose", "rivals", "total"}
    for times in report["timings_ms"].values():
        assert 0 < times["p50"] <= times["p99"]
    size = sum(path.stat().st_size for path in street_map_path.rglob("*") if path.name != "map.yaml" and path.is_file())
    assert report["map_bytes_per_keyframe"] == pytest.approx(size / 24)
    assert report["seed"] == 3
    assert report["command"].startswith("vizloc localize ")
    assert str(street_folder) in report["command"]


def test_the_poses_come_back_from_both_formats(results: Path, street_folder: Path) -> None:
    records = open_dataset(f"folder:{street_folder}").records("query")
    by_stamp = dict(read_tum(results / "poses_tum.txt"))
    by_name = read_visuallocalization(results / "poses_visuallocalization.txt")
    assert list(by_stamp) == [record.timestamp_ns for record in records]
    assert set(by_name) == {record.name for record in records}
    for record in records:
        assert pose_error(by_stamp[record.timestamp_ns], by_name[record.name]) == pytest.approx((0, 0), abs=1e-5)
    report = json.loads((results / "report.json").read_text())
    recall = evaluate_poses(by_name, {record.name: record.world_from_cam for record in records})
    assert recall.median_translation_m == pytest.approx(report["median_translation_m"], rel=1e-6)


def test_the_pictures_are_pictures(results: Path) -> None:
    for name in ("trajectory.png", "errors.png", "overlay.png"):
        picture = cv2.imread(str(results / name))
        assert picture is not None, name
        assert picture.std() > 5, name
    assert not [path for path in results.iterdir() if path.name.startswith(".")]


def test_a_build_prints_what_it_made(vizloc: Vizloc, street_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "map"
    ended = vizloc("map", "build", f"folder:{street_folder}", *ROOTSIFT, "--split", "map", "--every", 2, "--out", out)
    assert ended.code == 0
    assert re.search(r"keyframes\s.*\b4\b", ended.out)
    assert map_problems(out) == []
    info = read_info(out)
    records = open_dataset(f"folder:{street_folder}").records("map")
    assert (out / "keyframe_names.txt").read_text().split() == [record.name for record in records[::2]]
    assert info.dataset == f"folder:{street_folder}"
    shown = vizloc("map", "info", out)
    assert shown.code == 0
    for text in (info.extractor.feature_id, str(info.landmarks), info.dataset, "400x250"):
        assert text in shown.out


def test_settings_of_the_extractor_are_kept_by_the_map(vizloc: Vizloc, street_folder: Path, tmp_path: Path) -> None:
    """Nodes and ``vizloc localize`` open the extractor with the options in the map."""
    settings = {"max_keypoints": 400, "threshold": 0.01, "long_side": 320, "refine": False}
    config, out = tmp_path / "extractor.yaml", tmp_path / "map"
    config.write_text(yaml.safe_dump(settings))
    ended = vizloc("map", "build", f"folder:{street_folder}", "--extractor-config", config, "--out", out)
    assert ended.code == 0, ended.err
    info = read_info(out)
    assert info.extractor.settings == {"weights": "", **settings}
    extractor = open_map_extractor(out, info)
    assert extractor.settings == info.extractor.settings
    features = extractor.extract(open_dataset(f"folder:{street_folder}").records("query")[0].read_image())
    assert len(features) == 400
    pixels = (features.keypoints + 0.5) * 320 / 400 - 0.5
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-3)


@pytest.mark.parametrize("command", [["map", "build", "synthetic:"], ["demo"]])
def test_a_wrong_setting_of_the_extractor_is_named(vizloc: Vizloc, tmp_path: Path, command: list[str]) -> None:
    config, out = tmp_path / "extractor.yaml", tmp_path / "out"
    for text, named in (
        ("{keypoints: 100}", "settings of hfnet: keypoints: there is no such option, did you mean max_keypoints?"),
        ("{threshold: 2}", "settings of hfnet: threshold: "),
        ("{max_keypoints: 5000}", "hfnet.onnx: finds at most 2048 keypoints, and max_keypoints is 5000"),
        ("400", f"{config}: holds no keys"),
    ):
        config.write_text(text)
        ended = vizloc(*command, "--extractor-config", config, "--out", out)
        assert ended.code == 2
        assert named in ended.err
    assert not out.exists()


def test_every_and_degrade_choose_and_change_the_images(
    vizloc: Vizloc, street_map_path: Path, street_folder: Path, tmp_path: Path
) -> None:
    arguments = ("localize", street_map_path, f"folder:{street_folder}", "--every", 2, "--out")
    plain, noisy = tmp_path / "plain", tmp_path / "noisy"
    assert vizloc(*arguments, plain).code == 0
    assert vizloc(*arguments, noisy, "--degrade", "noise:2").code == 0
    names = [record.name for record in open_dataset(f"folder:{street_folder}").records("query")[::2]]
    poses = {folder: read_visuallocalization(folder / "poses_visuallocalization.txt") for folder in (plain, noisy)}
    assert list(poses[plain]) == names
    assert json.loads((plain / "report.json").read_text())["num_images"] == 2
    for name, pose in poses[noisy].items():
        assert pose_error(pose, poses[plain][name])[0] > 1e-6


def test_images_that_show_nothing_are_counted_with_the_reason(
    vizloc: Vizloc, street_map_path: Path, street_folder: Path, tmp_path: Path
) -> None:
    """No figure and no format fails on an empty result."""
    dark = Path(shutil.copytree(street_folder, tmp_path / "dark"))
    for image in (dark / "query").iterdir():
        cv2.imwrite(str(image), np.zeros((250, 400), np.uint8))
    out = tmp_path / "out"
    assert vizloc("localize", street_map_path, f"folder:{dark}", "--out", out).code == 0
    report = json.loads((out / "report.json").read_text())
    assert (report["num_images"], report["num_poses"], report["num_failed"]) == (3, 0, 3)
    assert report["recall"] == dict.fromkeys(TOLERANCES, 0.0)
    assert report["median_translation_m"] is None
    assert set(report["unlocalized"].values()) == {"only 0 keypoints in the image, 15 are needed"}
    assert read_tum(out / "poses_tum.txt") == []


def test_images_without_true_poses_are_localized_all_the_same(
    vizloc: Vizloc, street_map_path: Path, street_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(street_folder, tmp_path / "unposed"))
    lines = (folder / "poses.csv").read_text().splitlines()
    lines = [",".join([*line.split(",")[:3], *[""] * 7]) if ",query," in line else line for line in lines]
    (folder / "poses.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    assert vizloc("localize", street_map_path, f"folder:{folder}", "--out", out).code == 0
    report = json.loads((out / "report.json").read_text())
    assert (report["num_images"], report["num_poses"]) == (3, 3)
    assert report["median_translation_m"] is None
    assert len(read_tum(out / "poses_tum.txt")) == 3


def test_a_bag_is_written(vizloc: Vizloc, street_folder: Path, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    arguments = ("bag", "write", f"folder:{street_folder}", "--out", bag, "--every", 2)
    ended = vizloc(*arguments, "--degrade", "blur:1")
    assert ended.code == 0, ended.err
    assert "2 images written" in ended.out
    assert (bag / "metadata.yaml").is_file()
    refused = vizloc(*arguments)
    assert refused.code == 1
    assert f"{bag}: exists already: take another --out, or --overwrite" in refused.err
    assert vizloc(*arguments, "--overwrite").code == 0


def test_version_and_help(vizloc: Vizloc) -> None:
    assert vizloc("version").out.strip() == __version__
    for command in ((), ("map",), ("bag",), ("localize",), ("replay",), ("demo",), ("map", "build"), ("map", "check")):
        ended = vizloc(*command, "--help")
        assert ended.code == 0
        assert "Usage: vizloc" in ended.out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["map", "build", "folder:{tmp}/nowhere", "--out", "{tmp}/map"], r"error: {tmp}/nowhere: no such folder"),
        (["map", "build", "nonsense:{tmp}", "--out", "{tmp}/map"], r"unknown reader 'nonsense'; write one of: folder"),
        (["map", "build", "{data}", "--out", "{tmp}/map"], r"has no reader"),
        (["map", "build", "folder:{data}", "--split", "lap3", "--out", "{tmp}/map"], r"no split 'lap3'; .* map, query"),
        (
            ["map", "build", "folder:{data}", *ROOTSIFT, "--every", "9", "--out", "{tmp}/map"],
            r"folder:{data}: a map needs at least 3 images",
        ),
        (["map", "build", "folder:{data}", *ROOTSIFT, "--out", "{data}"], r"{data}: exists and is not a map"),
        (["map", "check", "{tmp}/nomap"], r"{tmp}/nomap: there is no such map"),
        (["map", "info", "{data}"], r"{data}/map.yaml: missing, so this folder is no map"),
        (["localize", "{tmp}/nomap", "folder:{data}", "--out", "{tmp}/out"], r"{tmp}/nomap: there is no such map"),
        (["localize", "{map}", "synthetic:seed=x", "--out", "{tmp}/out"], r"synthetic:seed=x: seed is 'x'"),
        (["localize", "{map}", "folder:{data}", "--split", "no", "--out", "{tmp}/out"], r"no split 'no'"),
        (["bag", "write", "folder:{data}", "--split", "no", "--out", "{tmp}/bag"], r"no split 'no'"),
        (
            ["map", "build", "folder:{data}", *ROOTSIFT, "--provider", "cuda", "--out", "{tmp}/map"],
            "rootsift runs on the CPU only",
        ),
        (
            ["localize", "{map}", "folder:{data}", "--provider", "tensorrt", "--out", "{tmp}/out"],
            "rootsift runs on the CPU only",
        ),
        (["map", "build", "{data}", "--out", "{tmp}/map"], r"write folder:{data}, or another reader: folder, "),
        (["map", "build", "folder:{data}", "--extractor", "no.onnx", "--out", "{tmp}/map"], r"no.onnx: .* no such"),
        (["map", "add-pixloc", "{map}", "--model", "no.onnx"], r"no.onnx: .* cannot be read"),
        (["bag", "info", "{data}/poses.csv"], r"{data}/poses.csv: not a bag: a folder with metadata.yaml, a .db3 or "),
        (
            ["export", "hfnet", "{tmp}/nowhere", "--out", "{tmp}/x.onnx"],
            r"nowhere: there is no such checkpoint|PyTorch",
        ),
    ],
)
def test_an_error_about_the_input_ends_with_1_and_names_it(
    vizloc: Vizloc, street_map_path: Path, street_folder: Path, tmp_path: Path, arguments: list[str], named: str
) -> None:
    places = {"tmp": tmp_path, "data": street_folder, "map": street_map_path}
    ended = vizloc(*(argument.format(**places) for argument in arguments))
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    assert re.search(named.format(**{k: re.escape(str(v)) for k, v in places.items()}), ended.err), ended.err
    assert not (tmp_path / "map").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nonsense"], "nonsense"),
        (["map"], "build"),
        (["map", "build", "folder:x"], "--out"),
        (["map", "build", "folder:x", "--out", "y", "--every", "0"], "--every"),
        (["map", "build", "folder:x", "--out", "y", "--seed", "-1"], "--seed"),
        (["map", "build", "folder:x", "--out", "y", "--nonsense"], "--nonsense"),
        (["localize", "{map}"], "DATASET"),
        (["localize", "{map}", "folder:{data}", "--out", "{data}/poses.csv"], "--out"),
        (["localize", "{map}", "folder:{data}", "--out", "{tmp}/y", "--degrade", "fog:2"], "fog:2"),
        (["localize", "{map}", "folder:{data}", "--out", "{tmp}/y", "--degrade", "noise:6"], "noise:6"),
        (["map", "build", "folder:{data}", "--out", "{tmp}/y", "--extractor", "orb"], "no feature extractor 'orb'"),
        (["map", "build", "folder:{data}", "--out", "{tmp}/y", "--provider", "gpu"], "no provider 'gpu'"),
        (["bag", "write", "folder:{data}", "--out", "{tmp}/y", "--compressed", "gif"], "--compressed"),
        (["bag", "play", "{tmp}/x", "--rate", "0"], "--rate"),
        (["bag", "play", "{tmp}/x", "--delay", "-1"], "--delay"),
        (["bag", "to-folder", "{tmp}/x", "--out", "{tmp}/y", "--base-from-cam", "1 2"], "--base-from-cam"),
        (["localize", "{map}", "folder:{data}", "--out", "{tmp}/y", "--roll", "90"], "roll 90"),
        (["evaluate", "degradations", "x:", "--extractor", "hfnet", "--out", "{tmp}/y", "--kinds", "fog"], "fog"),
        (["export", "hfnet", "{tmp}/x", "--out", "{tmp}/y", "--size", "640"], "--size"),
        (["demo", "--out", "{tmp}/y", "--provider", "gpu"], "no provider 'gpu'"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_the_option(
    vizloc: Vizloc, street_map_path: Path, street_folder: Path, tmp_path: Path, arguments: list[str], named: str
) -> None:
    places = {"tmp": tmp_path, "data": street_folder, "map": street_map_path}
    ended = vizloc(*(argument.format(**places) for argument in arguments))
    assert ended.code == 2
    assert named in re.sub(r"\x1b\[[0-9;]*m", "", ended.out + ended.err)
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("retrieval: {top_k: 0}", "retrieval.top_k"),
        ("pose: {places: all}", "pose.places"),
        ("nonsense: 1", "nonsense"),
        ("- 1", "holds no keys"),
        ("{", "cannot be read"),
    ],
)
def test_a_wrong_option_in_a_file_is_named(
    vizloc: Vizloc, street_map_path: Path, street_folder: Path, tmp_path: Path, text: str, named: str
) -> None:
    config = tmp_path / "options.yaml"
    config.write_text(text)
    ended = vizloc("localize", street_map_path, f"folder:{street_folder}", "--out", tmp_path / "y", "--config", config)
    assert ended.code == 2
    assert named in ended.err
    assert str(config) in ended.err
    assert not (tmp_path / "y").exists()


def test_options_of_a_file_are_used(vizloc: Vizloc, street_map_path: Path, street_folder: Path, tmp_path: Path) -> None:
    config, out = tmp_path / "options.yaml", tmp_path / "y"
    config.write_text("pose: {min_inliers: 9999}\nretrieval: {top_k: 3}\n")
    ended = vizloc("localize", street_map_path, f"folder:{street_folder}", "--out", out, "--config", config)
    assert ended.code == 0
    report = json.loads((out / "report.json").read_text())
    assert report["num_poses"] == 0
    assert all("9999" in reason for reason in report["unlocalized"].values())
    assert report["retrieval"].keys() == {"r1_5m", "landmarks"}


def test_a_damaged_image_is_named(vizloc: Vizloc, street_map_path: Path, street_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(street_folder, tmp_path / "damaged"))
    image = sorted((folder / "query").iterdir())[1]
    image.write_bytes(image.read_bytes()[:200])
    ended = vizloc("localize", street_map_path, f"folder:{folder}", "--out", tmp_path / "out")
    assert ended.code == 1
    assert str(image) in ended.err


def test_a_damaged_map_is_named_before_the_work_begins(
    vizloc: Vizloc, street_map_path: Path, street_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(street_map_path, tmp_path / "map"))
    (folder / "observation_descriptors.npy").write_bytes(b"\x93NUMPY")
    ended = vizloc("localize", folder, f"folder:{street_folder}", "--out", tmp_path / "out")
    assert ended.code == 1
    assert f"{folder}/observation_descriptors.npy: cut off or corrupt" in ended.err
