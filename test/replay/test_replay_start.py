"""Start of a replay: inputs are checked before anything is made or started, and the user learns what will run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bag_helpers import TRUTH, rewrite
from cli_helpers import Vizloc
from pycolmap import Rigid3d, Rotation3d
from repository import REPOSITORY

from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import Mounting
from vizloc_ros.errors import RosError

pytest.importorskip("rclpy")
from vizloc_ros.replay import replay_report
from vizloc_ros.replay.bag_replay import Replay
from vizloc_ros.replay.replay_report import localizer_figures


@pytest.fixture(scope="module")
def good(street: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "bag"
    write_bag(street.records("query")[2:5], path)
    return path


def without_camera(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
    return [(topic, message)] if topic == TRUTH else []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("bag", "nobag: there is no such bag"),
        ("map", "nomap: there is no such map"),
        ("camera", "there is no camera's image in it"),
        ("device", "rootsift runs on the CPU only"),
        ("provider", "no provider 'gpu'"),
        ("rate", "--rate"),
    ],
)
def test_nothing_is_made_or_announced_for_a_wrong_input(
    vizloc: Vizloc, good: Path, street_build: tuple[Path, Any], tmp_path: Path, wrong: str, named: str
) -> None:
    bag = {"bag": tmp_path / "nobag", "camera": tmp_path / "camera"}.get(wrong, good)
    if wrong == "camera":
        rewrite(good, bag, without_camera)
    folder = tmp_path / "nomap" if wrong == "map" else street_build[0]
    option = {"rate": ("--rate", 0), "provider": ("--provider", "gpu"), "device": ("--provider", "cuda")}.get(wrong, ())
    ended = vizloc("replay", bag, folder, "--out", tmp_path / "out", *option)
    assert ended.code == (2 if wrong in ("rate", "provider") else 1)
    assert named in ended.err
    assert ended.out == ""
    assert not list((tmp_path / "out").glob("*"))


def test_a_gap_between_drives_is_not_waited_for(
    vizloc: Vizloc, street: Any, street_build: tuple[Path, Any], tmp_path: Path
) -> None:
    write_bag([*street.records("map")[:2], *street.records("query")[:2]], tmp_path / "bag")
    ended = vizloc("replay", tmp_path / "bag", street_build[0], "--out", tmp_path / "out")
    assert ended.code == 1
    assert "s without an image, which the replay would wait for" in ended.err
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("kind", ["map", "bag"])
def test_results_are_not_written_into_a_map_or_a_bag(
    vizloc: Vizloc, good: Path, street_build: tuple[Path, Any], kind: str
) -> None:
    folder = {"map": street_build[0], "bag": good}[kind]
    before = sorted(folder.iterdir())
    for command in (("replay", good, street_build[0]), ("localize", street_build[0], "synthetic:length=12")):
        ended = vizloc(*command, "--out", folder)
        assert ended.code == 1
        assert f"is the folder of a {kind}: give results another one" in ended.err
    assert sorted(folder.iterdir()) == before


def test_of_several_cameras_one_must_be_chosen_before_the_bag_is_written(
    vizloc: Vizloc, monkeypatch: pytest.MonkeyPatch, street: Any, street_build: tuple[Path, Any], tmp_path: Path
) -> None:
    records = [replace(r, mounting=Mounting(camera)) for r in street.records("query")[:2] for camera in ("c0", "c1")]
    monkeypatch.setattr(type(street), "records", lambda _, split: records)
    ended = vizloc("replay", "synthetic:length=12&width=400&height=250", street_build[0], "--out", tmp_path / "out")
    assert ended.code == 1
    assert "2 cameras: choose one with ?camera=c0, or with --image-topic: /c0/image, /c1/image" in ended.err
    assert not list((tmp_path / "out").glob("*"))


def test_without_references_the_start_says_so_and_how_to_add_them(
    vizloc: Vizloc, monkeypatch: pytest.MonkeyPatch, good: Path, street_build: tuple[Path, Any], tmp_path: Path
) -> None:
    def start(*arguments: Any, **options: Any) -> Replay:
        raise RosError("stopped where the nodes would start")

    monkeypatch.setattr(replay_report, "replay_bag", start)
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    ended = vizloc("replay", good, street_build[0], "--out", tmp_path / "out")
    assert ended.err == "error: stopped where the nodes would start\n"
    first, second = ended.out.splitlines()
    assert "the tracker does not run" in first
    assert first.endswith(f"vizloc map add-pixloc {street_build[0]}")
    assert second.endswith(f"ROS_DOMAIN_ID=7 rviz2 -d {REPOSITORY / 'config' / 'vizloc.rviz'}")


def test_the_recall_of_the_localizer_is_of_the_images_that_it_was_asked_for() -> None:
    at: Callable[[float], Rigid3d] = lambda x: Rigid3d(Rotation3d(), [x, 0.0, 0.0])  # noqa: E731
    truth = {str(i): at(i) for i in range(100)}
    localized = {"0": at(0.1), "1": at(1.1), "2": at(9.0), "unposed": at(0.0)}
    figures = localizer_figures(localized, {"0", "1", "2", "3", "unposed"}, truth)
    assert (figures["num_images"], figures["num_poses"]) == (5, 4)
    assert figures["recall"] == {"0.05m_5deg": 0, "0.25m_2deg": 0.5, "0.5m_5deg": 0.5, "5m_10deg": 0.5}
    assert figures["num_wrong"] == 1
    assert figures["median_translation_m"] == pytest.approx(0.1)
