"""``vizloc track``, ``localize --refine`` and the two evaluations of alignments, on the synthetic street."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest
from cli_helpers import Vizloc
from trajectory_readers import read_visuallocalization

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.evaluation.image_results import IMAGES_FILE, ImageResults
from vizloc_ros.features.device import Device
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.build_report import BuildReport
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.pixloc.reference_builder import add_references
from vizloc_ros.readers import open_dataset

pytestmark = pytest.mark.e2e

PRIORS = ["0.5m_1deg", "1m_2deg", "2m_4deg", "4m_8deg"]


@pytest.fixture(scope="module")
def tracked(street_build: tuple[Path, BuildReport], street: SyntheticStreet, tmp_path_factory) -> Path:
    """Map with the reference features that the commands compute by default."""
    folder: Path = tmp_path_factory.mktemp("default") / "map"
    shutil.copytree(street_build[0], folder)
    add_references(folder, street.records("map"), open_pyramid_extractor(device=Device(threads=1)))
    return folder


def report_of(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return loaded


def is_picture(path: Path) -> bool:
    picture = cv2.imread(str(path))
    return picture is not None and bool(picture.std() > 5)


def test_a_drive_is_tracked_and_compared_with_the_localizer(
    vizloc: Vizloc, tracked: Path, street: SyntheticStreet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vizloc_ros.evaluation.convergence_figures._NUM_FIGURES", 2)
    out, debug = tmp_path / "out", tmp_path / "debug"
    ended = vizloc("track", tracked, street.name, "--out", out, "--every", 4, "--debug", debug)
    assert ended.code == 0, ended.err
    report, records = report_of(out), open_dataset(street.name).records("query")[::4]
    assert report["num_images"] == report["num_poses"] == len(records)
    assert (report["num_failed"], report["num_late"], report["localizations"]) == (0, 1, 2)
    assert report["reasons"] == {}
    assert report["median_translation_m"] < 0.1
    assert report["median_translation_m"] <= report["p99_translation_m"] < 0.25
    assert report["localizer"]["num_images"] == len(records)
    assert {"features", "align", "total"} <= set(report["timings_ms"])
    images = ImageResults.read(out / IMAGES_FILE)
    assert images.source["every"] == 4
    assert [image.state for image in images.images] == ["NOT_LOCALIZED"] + ["TRACKING"] * (len(records) - 1)
    poses = read_visuallocalization(out / "poses_visuallocalization.txt")
    assert all(pose_error(poses[record.name], record.world_from_cam)[0] < 0.25 for record in records)
    pictures = list(debug.iterdir())
    assert pictures
    assert all(is_picture(path) for path in [*pictures, out / "trajectory.png"])


def test_what_cannot_be_seen_is_not_tracked_and_says_why(
    vizloc: Vizloc, tracked: Path, street: SyntheticStreet, tmp_path: Path
) -> None:
    """From one stretch of the street into another that the map does not have."""
    elsewhere = "synthetic:seed=9&length=12&width=400&height=250"
    ended = vizloc("track", tracked, elsewhere, "--out", tmp_path, "--every", 8, "--no-localizer")
    assert ended.code == 0, ended.err
    report = report_of(tmp_path)
    assert report["num_poses"] == 0
    assert len(report["reasons"]) == report["num_failed"] == report["num_images"] > 0
    assert "localizer" not in report


@pytest.mark.parametrize("perturb", [0.0, 0.3])
def test_refined_poses_are_no_worse(
    vizloc: Vizloc, tracked: Path, street: SyntheticStreet, tmp_path: Path, perturb: float
) -> None:
    options = ("--every", 4, "--refine", "pixloc", "--perturb", perturb)
    ended = vizloc("localize", tracked, street.name, "--out", tmp_path, *options)
    assert ended.code == 0, ended.err
    assert "before they were refined" in ended.out
    report = report_of(tmp_path)
    assert report["recall"]["0.25m_2deg"] == 1.0 >= report["unrefined"]["recall"]["0.25m_2deg"]
    if perturb:
        assert report["unrefined"]["median_translation_m"] == pytest.approx(perturb, abs=0.1)
        assert report["median_translation_m"] < 0.1


def test_images_are_aligned_from_a_prior_instead_of_the_localizers_pose(
    vizloc: Vizloc, tracked: Path, street: SyntheticStreet, tmp_path: Path
) -> None:
    ended = vizloc("localize", tracked, street.name, "--out", tmp_path, "--every", 6, "--prior", "top3")
    assert ended.code == 0, ended.err
    assert "(the priors)" in ended.out
    report = report_of(tmp_path)
    assert (report["prior"], report["num_failed"]) == ("top3", 0)
    assert report["num_poses"] == report["num_images"]
    assert set(report["retrieval"]) == {"r1_5m", "r10_5m", "landmarks"}
    assert set(report["timings_ms"]) == {"extract", "retrieve", "total"}
    assert report["recall"]["0.25m_2deg"] == 1.0 > report["unrefined"]["recall"]["0.25m_2deg"]
    refused = vizloc("localize", tracked, street.name, "--out", tmp_path / "no", "--prior", "nearest")
    assert refused.code == 2
    assert "prior nearest: there is no such prior; there is retrieval, top3, oracle" in refused.err
    refused = vizloc("localize", tracked, street.name, "--out", tmp_path / "no", "--prior", "oracle", "--roll", "auto")
    assert refused.code == 2
    assert "--prior oracle with --roll auto: an aligned prior does not tell which roll is right; give" in refused.err
    assert not list((tmp_path / "no").glob("*"))


def test_a_map_without_references_or_of_other_ones_is_refused(
    vizloc: Vizloc, street_build: tuple[Path, BuildReport], tracked: Path, street: SyntheticStreet, tmp_path: Path
) -> None:
    options = tmp_path / "options.yaml"
    options.write_text("long_side: 384\n")
    for refused in (
        vizloc("track", street_build[0], street.name, "--out", tmp_path / "out"),
        vizloc("localize", street_build[0], street.name, "--out", tmp_path / "out", "--refine", "pixloc"),
        vizloc("localize", tracked, street.name, "--out", tmp_path / "out", "--refine", "pixloc", "--long-side", 384),
        vizloc("localize", street_build[0], street.name, "--out", tmp_path / "out", "--prior", "retrieval"),
        vizloc("track", tracked, street.name, "--out", tmp_path / "out", "--config", options),
    ):
        assert refused.code == 1
        assert "vizloc map add-pixloc" in refused.err
    assert not list((tmp_path / "out").glob("*"))
    ended = vizloc("localize", tracked, street.name, "--out", tmp_path / "out", "--refine", "icp")
    assert ended.code == 2
    assert "--refine icp: there is only pixloc" in ended.err


def test_convergence_of_several_models_is_one_table(
    vizloc: Vizloc, tracked: Path, street: SyntheticStreet, tmp_path: Path
) -> None:
    options = (
        "--every",
        8,
        "--model",
        "",
        "--model",
        "raw=photometric",
        "--kinds",
        "blur",
        "--levels",
        "3",
        "--no-retrieved",
        "--basins",
        1,
    )
    ended = vizloc("evaluate", "convergence", tracked, street.name, "--out", tmp_path, *options)
    assert ended.code == 0, ended.err
    report = report_of(tmp_path)
    assert list(report["models"]) == ["pixloc", "raw"]
    for model in report["models"].values():
        assert list(model["converged"]) == PRIORS
        assert list(model["degraded"]) == ["blur:3"]
        assert 0 <= model["mean_degraded"] <= 1
    assert report["converged"] == report["models"]["pixloc"]["converged"]
    assert report["converged"]["0.5m_1deg"] == 1.0
    assert is_picture(tmp_path / "convergence.png")
    assert report["basins"]["num_images"] == 1
    assert list(report["basins"]["levels"]) == ["level 3", "level 2", "level 1", "level 0", "fine level"]
    assert all(level in ended.out for level in report["basins"]["levels"])
    (picture,) = (tmp_path / "basins").iterdir()
    assert is_picture(picture)


def test_the_covariance_of_localizer_and_tracker_is_compared_with_their_errors(
    vizloc: Vizloc, tracked: Path, street: SyntheticStreet, tmp_path: Path
) -> None:
    ended = vizloc("evaluate", "consistency", tracked, street.name, "--out", tmp_path, "--every", 4)
    assert ended.code == 0, ended.err
    found = report_of(tmp_path)["consistency"]
    assert list(found) == ["localizer", "tracker"]
    for run in found.values():
        assert run["clean"]["images"] == len(open_dataset(street.name).records("query")[::4])
        assert run["clean"]["poses"] >= 0.8 * run["clean"]["images"]
        assert run["clean"]["within_95"] > 0.9
        assert run["clean"]["nees"] < 12
    assert is_picture(tmp_path / "consistency.png")


def test_an_ablation_takes_one_part_away_at_a_time(
    vizloc: Vizloc, tracked: Path, street: SyntheticStreet, tmp_path: Path
) -> None:
    ended = vizloc("evaluate", "ablation", tracked, street.name, "--out", tmp_path, "--every", 12)
    assert ended.code == 0, ended.err
    models = report_of(tmp_path)["models"]
    assert list(models) == [
        *("full", "no fine level", "no uncertainty", "no learned damping", "compact features (16)", "photometric")
    ]
    assert all(name in ended.out for name in models)
    assert models["full"]["converged"]["0.5m_1deg"] == 1.0
    assert len({json.dumps(model["medians"]) for model in models.values()}) == len(models), "each is another alignment"
    assert is_picture(tmp_path / "ablation.png")
