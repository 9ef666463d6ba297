"""A stage that counts its calls in a file, slowly, and fails or is killed on demand; a module, for other processes."""

import os
import signal
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vizloc_ros.errors import ImageError
from vizloc_ros.parallel import silent
from vizloc_ros.work.stages import Arrays
from vizloc_ros.work.work_folder import work_folder
from vizloc_ros.work.workers import Threads, open_processes


@dataclass(frozen=True)
class Counted:
    """Two arrays of an item; the first has as many rows as the item says.

    Attributes:
        calls: file with a line for each call.
        factor: an option.
        seconds: duration of a call [s].
        bad: item that is no image.
        deadly: True if the system kills the process.
        spared: process whose calls take no time and are not deadly.
    """

    calls: Path
    factor: int = 1
    seconds: float = 0.0
    bad: int = -1
    deadly: bool = False
    spared: int = 0

    def __call__(self, item: int) -> Arrays:
        with self.calls.open("a") as file:
            file.write(f"{item} {os.getpid()}\n")
        if self.deadly and os.getpid() != self.spared:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == self.bad:
            raise ImageError(f"image {item}: is empty")
        if os.getpid() != self.spared:
            time.sleep(self.seconds)
        rng = np.random.default_rng(item)
        return rng.random((item % 5, 3)).astype(np.float32), np.array([item * self.factor])


def called(calls: Path) -> list[int]:
    """Items that were computed, sorted."""
    return sorted(int(line.split()[0]) for line in calls.read_text().splitlines()) if calls.exists() else []


def main(folder: str, calls: str, count: int, processes: int) -> None:
    """Compute the stage as a program does, until somebody kills it."""
    function = Counted(Path(calls), seconds=0.02)
    opened = open_processes(processes) if processes > 1 else nullcontext(Threads(1))
    with opened as workers, work_folder(Path(folder), workers) as work:
        work.map("count", function, range(count), "counting", silent)
