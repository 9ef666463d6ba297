"""The training log: one row for each reported step, readable by every table program."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

Report = Callable[[int, Mapping[str, float]], None]
"""Takes a step and its values by name, to show them."""

_COLUMNS = ("step", "name", "value")


class TrainingLog:
    """A CSV file of (step, name, value)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Appends the values of a step."""
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(_COLUMNS)
            writer.writerows([step, name, f"{value:.6g}"] for name, value in values.items())

    def cut(self, step: int) -> None:
        """Drops what was logged after a step, before a run is resumed there."""
        if not self.path.exists():
            return
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row[0] == _COLUMNS[0] or int(row[0]) <= step]
        with self.path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
