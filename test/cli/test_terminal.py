"""Output of the commands in a terminal of 80 columns: no name is cut or broken, no number has an exponent."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from bag_helpers import renamed, rewrite
from cli_helpers import Vizloc
from rich.console import Console, ConsoleDimensions

from vizloc_ros.bags.writer import write_bag
from vizloc_ros.cli.main import app
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.mapping.map_format import read_info


@pytest.fixture
def vizloc80(vizloc: Vizloc, monkeypatch: pytest.MonkeyPatch) -> Vizloc:
    monkeypatch.setattr(Console, "size", ConsoleDimensions(80, 50))
    monkeypatch.setenv("COLUMNS", "80")
    return vizloc


def every_command(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from every_command(inner, *path, name)


COMMANDS = list(every_command(typer.main.get_command(app)))


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) or "vizloc" for path, _ in COMMANDS])
def test_help_shows_whole_names_and_sentences(vizloc80: Vizloc, path: tuple[str, ...], command: Any) -> None:
    lines = vizloc80(*path, "--help").out.splitlines()
    shown = {word.rstrip(",") for line in lines for word in line.split()}
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {name for name in names if name.startswith("--")} <= shown
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines[1:] if "\u2026" in line or line.endswith("...") or "\\" in line]


def test_topics_of_a_bag_are_whole(vizloc80: Vizloc, street: SyntheticStreet, tmp_path: Path) -> None:
    write_bag(street.records("map")[:2], tmp_path / "good")
    name = "/sensing/camera/front_wide_angle_left/ground_truth/trajectory_of_the_rear_axle"
    ended = vizloc80("bag", "info", rewrite(tmp_path / "good", tmp_path / "bag", renamed(truth=name)))
    assert ended.code == 0, ended.err
    words = re.sub("[:,]", " ", ended.out).split()
    assert {name, "/camera/camera_info", "sensor_msgs/msg/CameraInfo", "(--camera-info-topic)"} <= set(words)


def test_tables_of_the_papers_are_listed_in_whole_lines(vizloc80: Vizloc) -> None:
    shown = vizloc80("benchmark").out.splitlines()
    assert max(map(len, shown)) <= 80
    assert "    Aachen Day-Night: Aachen-Day-Night-v1.1 below --data" in shown
    assert "        see docs/datasets/aachen.md" in shown


def test_numbers_of_a_map_are_plain_and_shown_once(vizloc80: Vizloc, street_build: tuple[Path, Any]) -> None:
    ended = vizloc80("map", "info", street_build[0])
    assert ended.code == 0, ended.err
    info = read_info(street_build[0])
    assert len(re.findall(rf"\b{info.observations}\b", ended.out)) == 1
    assert not re.search(r"\de[+-]\d", ended.out)
