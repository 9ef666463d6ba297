"""Numbers in messages to users are formatted, and no name in them is empty."""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from repository import REPOSITORY

from vizloc_ros.wording import name_text, number_text, numbers_text, stages_text

PACKAGE = REPOSITORY / "vizloc_ros"
SEQUENCES = {"tuple", "list", "tolist"}  # their texts show np.float64(...), or 17 digits


def test_numbers_have_no_type() -> None:
    assert numbers_text(np.array([0.1, -2.0, np.nan])) == numbers_text([np.float64(0.1), -2, float("nan")])
    assert numbers_text([np.float64(0.1), np.float32(-2), np.nan]) == "(0.1, -2, nan)"
    assert numbers_text(()) == "()"


def test_an_empty_name_is_called_so() -> None:
    assert (name_text("camera"), name_text("")) == ("camera", "(empty)")


def unformatted(path: Path) -> Iterator[str]:
    """Sequences of numbers that the message of an error shows as Python writes them."""
    for raised in ast.walk(ast.parse(path.read_text())):
        if not isinstance(raised, ast.Raise):
            continue
        for node in ast.walk(raised):
            if not (isinstance(node, ast.FormattedValue) and node.format_spec is None):
                continue
            value = node.value
            called = getattr(value.func, "attr", getattr(value.func, "id", "")) if isinstance(value, ast.Call) else ""
            if called in SEQUENCES and "shape" not in ast.unparse(value):
                yield f"{path.relative_to(REPOSITORY)}:{node.lineno}: {ast.unparse(value)}"


def test_no_message_shows_numbers_as_python_writes_them() -> None:
    assert [found for path in sorted(PACKAGE.rglob("*.py")) for found in unformatted(path)] == []


def test_the_check_sees_them(tmp_path: Path) -> None:
    source = REPOSITORY / "test" / "project" / "test_wording.py"
    text = 'def f(t, d):\n    raise ValueError(f"k is {tuple(d)} and t {t.tolist()}, not {numbers_text(d)}")\n'
    copy = tmp_path / source.name
    copy.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "REPOSITORY", tmp_path)
        assert [found.partition(": ")[2] for found in unformatted(copy)] == ["tuple(d)", "t.tolist()"]


def test_numbers_of_tables_have_no_exponent() -> None:
    numbers = (54019, 54019.4, 740.46, 8.517, 0.63194, 0.0000123, 0, 0.0, -2.5, 12345678, float("nan"))
    shown = "54019 54019 740 8.52 0.632 0.0000123 0 0 -2.5 12345678 nan"
    assert " ".join(map(number_text, numbers)) == shown


def test_stages_without_time_are_left_out() -> None:
    assert stages_text({"extract": 8.12, "learn": 0.01, "match": 1.75}) == "extract 8.1 s, match 1.8 s"
    assert stages_text({}) == ""
