"""The programs of docs/api.md run as they are shown, each by itself, in the order of the page."""

import re

import pytest
from repository import REPOSITORY

pytestmark = pytest.mark.e2e

PAGE = REPOSITORY / "docs" / "api.md"


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """The lines that each program prints."""
    printed: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("api"))
        for program in programs():
            lines: list[str] = []
            namespace = {"__name__": "__main__", "print": lambda *words, lines=lines: lines.append(" ".join(words))}
            exec(compile(program, PAGE.name, "exec"), namespace)
            printed.append(lines)
    return printed


def test_every_program_is_short() -> None:
    assert len(programs()) == 3
    assert all(len(program.splitlines()) <= 30 for program in programs())


def test_a_map_is_built(output: list[list[str]]) -> None:
    assert re.fullmatch(r"16 keyframes, \d{4,} landmarks, \d\.\d MB for the tracker", output[0][0])
    assert len(output[0]) == 1  # no warnings


def test_every_image_is_localized(output: list[list[str]]) -> None:
    errors = [re.search(r" inliers, (\d\.\d{3}) m and (\d\.\d\d) deg", line) for line in output[1]]
    assert len(errors) == 6
    assert all(error and float(error[1]) < 0.05 and float(error[2]) < 0.2 for error in errors)


def test_every_image_but_the_first_is_tracked(output: list[list[str]]) -> None:
    first, *others = output[2]
    assert first.endswith(": NOT_LOCALIZED: 1 of 2 localizations agree: waits for another one")
    errors = [re.search(r": TRACKING, (\d\.\d{3}) m and (\d\.\d\d) deg", line) for line in others]
    assert len(errors) == 15
    assert all(error and float(error[1]) < 0.25 and float(error[2]) < 1 for error in errors)
