"""Training log: a CSV file with a row for each value of a logged step."""

import csv
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from vizloc_ros.files import replacing

Report = Callable[[int, Mapping[str, float]], None]
"""Function of a step and its values by name, for example to show them."""

_HEADER = "step,name,value\r\n"
_ROW = re.compile(r"(\d+),\w+,[-+.\w]+\r?\n")  # a kill may have left half of one


class TrainingLog:
    """CSV file of (step, name, value)."""

    def __init__(self, path: Path, resumed: int | None = None) -> None:
        """Continue the log after the step at which a run is resumed; without one, begin an empty log."""
        self.path = path
        kept = [_HEADER]
        if resumed is not None and path.exists():
            with path.open(newline="", encoding="utf-8", errors="replace") as file:
                kept += [line for line in file if (row := _ROW.fullmatch(line)) and int(row[1]) <= resumed]
        with replacing(path) as new:
            new.write("".join(kept).encode())

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append the values of a step."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([step, name, f"{value:.6g}"] for name, value in values.items())
