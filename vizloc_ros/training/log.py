"""The training log: one row for each reported step, readable by every table program."""

import csv
import re
from collections.abc import Callable, Mapping
from pathlib import Path

Report = Callable[[int, Mapping[str, float]], None]
"""Takes a step and its values by name, to show them."""

_HEADER = "step,name,value\r\n"
_ROW = re.compile(r"(\d+),\w+,[-+.\w]+\r?\n")  # a kill may have left half of one


class TrainingLog:
    """A CSV file of (step, name, value)."""

    def __init__(self, path: Path, resumed: int | None = None) -> None:
        """Goes on after the rows up to the step at which a run is resumed; without one, starts anew."""
        self.path = path
        kept = [_HEADER]
        if resumed is not None and path.exists():
            with path.open(newline="", encoding="utf-8", errors="replace") as file:
                kept += [line for line in file if (row := _ROW.fullmatch(line)) and int(row[1]) <= resumed]
        aside = path.with_suffix(".part")
        with aside.open("w", newline="", encoding="utf-8") as file:
            file.writelines(kept)
        aside.replace(path)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Appends the values of a step."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([step, name, f"{value:.6g}"] for name, value in values.items())
