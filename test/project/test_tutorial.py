"""The tutorial of the car: all of its commands are run in their order, and print what is shown."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from car_bags import write_car_bags
from cli_helpers import Vizloc
from repository import REPOSITORY

PAGE = REPOSITORY / "docs" / "tutorial_car.md"
NUMBER = re.compile(r"\d+(?:\.\d+)?")
NODES = ("ros2",)  # their commands are tested with the launch files


@dataclass
class Step:
    """Commands that are shown together, and the lines of their output that follow."""

    commands: list[list[str]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)


def steps() -> list[Step]:
    """The indented commands of the page; blocks of text are the output of the commands before them."""
    found, is_output = [Step()], False
    for line in PAGE.read_text().splitlines():
        if line.startswith("```"):
            is_output = line != "```"
        elif is_output:
            found[-1].shown.append(line)
        elif line.startswith("    "):
            if found[-1].shown:
                found.append(Step())
            found[-1].commands.append(shlex.split(line))
    return found


def words_and_numbers(line: str) -> tuple[str, list[float]]:
    """A line without the frame of its table, with # for its numbers; and the numbers."""
    text = " ".join(re.sub("[│┃]", " ", line).split())
    return NUMBER.sub("#", text), [float(number) for number in NUMBER.findall(text)]


def require_shown(shown: list[str], printed: list[tuple[str, bool]]) -> None:
    """The shown lines are among the printed ones, in their order; ``...`` stands for lines, or the end of one.

    Numbers may differ by a tenth; those of a replay, which depend on the load of the machine, by more.
    """
    lines = iter(printed)
    for line in shown:
        if line == "...":
            continue
        words, numbers = words_and_numbers(line.removesuffix(" ..."))
        for known, is_stable in lines:
            known_words, known_numbers = words_and_numbers(known)
            if known_words == words or (line.endswith(" ...") and known_words.startswith(words)):
                given = known_numbers[: len(numbers)]
                assert not is_stable or given == pytest.approx(numbers, rel=0.1, abs=0.02), line
                break
        else:
            pytest.fail(f"{line!r} is not printed, or not in this order:\n" + "\n".join(known for known, _ in printed))


@pytest.mark.e2e
@pytest.mark.ros
def test_every_command_of_the_tutorial_prints_what_is_shown(
    vizloc: Vizloc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("report.plot_errors", "offline_localization.draw_overlay"):
        monkeypatch.setattr(f"vizloc_ros.evaluation.{name}", lambda *_, **__: None)  # slow, and tested elsewhere
    monkeypatch.chdir(tmp_path)
    write_car_bags(tmp_path)
    done = 0
    for step in steps():
        printed: list[tuple[str, bool]] = []
        for command in step.commands:
            if command[0] in NODES:
                continue
            caplog.clear()
            ended = vizloc(*command[1:])
            assert ended.code == 0, f"{shlex.join(command)}: {ended.err}"
            lines = "\n".join([*caplog.messages, ended.out]).splitlines()
            printed += [(line, command[1] != "replay") for line in lines]
            done += 1
        require_shown(step.shown, printed)
    assert done >= 13


def launch_commands() -> list[list[str]]:
    return [command for step in steps() for command in step.commands if command[:2] == ["ros2", "launch"]]


@pytest.mark.parametrize("command", launch_commands(), ids=lambda command: command[3])
def test_launch_files_and_their_arguments_exist(command: list[str]) -> None:
    _, _, package, name, *arguments = command
    assert package == "vizloc_ros"
    assert (REPOSITORY / "launch" / name).is_file()
    text = "".join((REPOSITORY / "launch" / file).read_text() for file in (name, "vizloc.launch.py"))  # it is included
    declared = set(re.findall(r"DeclareLaunchArgument\(\s*\"(\w+)\"", text))
    assert {argument.partition(":=")[0] for argument in arguments} <= declared


def test_topics_that_are_listened_to_exist() -> None:
    interface = (REPOSITORY / "docs" / "topics_and_parameters.md").read_text()
    topics = [command[3] for step in steps() for command in step.commands if command[:3] == ["ros2", "topic", "echo"]]
    assert topics
    assert [topic for topic in topics if f"| `{topic}` (" not in interface] == []
