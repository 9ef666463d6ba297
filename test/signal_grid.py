"""SIGINT and SIGTERM at many times of every node and of commands: exit code, one line, no traceback, nothing left over.

    PYTHONPATH=. python test/signal_grid.py --out /tmp/grid --step 0.5 --until 12

Times count from the first line of the package: before it, Python itself can only die of a signal.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from repository import REPOSITORY

NODES = ("hfnet", "visual_map_server", "localizer", "pixloc_tracker", "vizloc_node")
NUMBERS = (signal.SIGINT, signal.SIGTERM)
DATASET = "synthetic:length=4&width=320&height=200"
_END_SECONDS = 60.0
_REPLAYING = "interrupted after"  # a replay that was played in part is evaluated, and ends with 130


@dataclass(frozen=True)
class Struck:
    """Program that a signal has ended.

    Attributes:
        code: its exit code.
        output: what it wrote.
        seconds: time from the signal to its end [s].
        processes: processes of its session that still run.
        litter: unfinished files and folders.
    """

    code: int
    output: str
    seconds: float
    processes: list[str]
    litter: list[str]

    def faults(self, number: int, *, is_node: bool) -> list[str]:
        """Return what is wrong with this end."""
        expected = {0} if is_node else {0, 128 + number} | ({130} if _REPLAYING in self.output else set())
        found = [] if self.code in expected else [f"exit code {self.code}"]
        found += [text for text in ("Traceback", "*** SIG", "Aborted", "KeyboardInterrupt") if text in self.output]
        if not is_node and self.code > 128 and _REPLAYING not in self.output:
            line = f"stopped by {signal.Signals(number).name}"
            found += [] if self.output.splitlines().count(line) == 1 else [f"does not say once: {line}"]
        return found + self.processes + self.litter


def start(arguments: Sequence[str], folder: Path) -> "subprocess.Popen[str]":
    """Start a module of the package in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_the_package(process: "subprocess.Popen[str]") -> None:
    """Wait until the package has begun, whose first line blocks the signals."""
    wait_for(lambda: _has_begun(process.pid), process)


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]", timeout_s: float = 120.0) -> None:
    """Wait until a condition holds while a process runs."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing of it happened"
        time.sleep(0.002)


def _has_begun(process: int) -> bool:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    masks = (int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk", "SigCgt")))
    return any(mask & 1 << (signal.SIGTERM - 1) for mask in masks)


def strike(process: "subprocess.Popen[str]", numbers: Sequence[int], folder: Path) -> Struck:
    """Send signals, one after the other, and wait for the end."""
    began = time.monotonic()
    for number in numbers:
        if process.poll() is None:
            process.send_signal(number)
        time.sleep(0.05 * (len(numbers) > 1))
    try:
        output = process.communicate(timeout=_END_SECONDS)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        output = process.communicate()[0] + "\nTraceback: it did not end"
    seconds = time.monotonic() - began
    return Struck(process.returncode, output, seconds, _session(process.pid), _litter(folder))


def _session(leader: int) -> list[str]:
    """Names of the processes of a session; those that have ended, and wait for init, do not count."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = stat.read_text().rpartition(")")
        except OSError:
            continue
        state, _, _, session = fields.split()[:4]
        if int(session) == leader and state != "Z":
            found.append(f"process {name.partition('(')[2]}")
    return found


def _litter(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]


def programs(folder: Path) -> dict[str, list[str]]:
    """Arguments of the nodes and commands by name; a map and a bag are made first."""
    vizloc, map_path, bag = "vizloc_ros.cli.main", str(folder / "the_map"), str(folder / "the_bag")
    build = [vizloc, "map", "build", DATASET, "--extractor", "rootsift", "--out"]
    for arguments in ([*build, map_path], [vizloc, "bag", "write", DATASET, "--split", "query", "--out", bag]):
        process = start(arguments, folder)
        output = process.communicate()[0]
        assert process.returncode == 0, output
    trust = ["evaluate", "trust", "--quick", "--only", "none", "--extractor", "rootsift", "--nodes", "--out", "out"]
    return {
        **{node: [f"vizloc_ros.nodes.{node}", "--ros-args", "-p", f"map_path:={map_path}"] for node in NODES},
        "map build": [*build, "out"],
        "map build --processes": [*build, "out", "--processes", "2"],
        "localize": [vizloc, "localize", map_path, DATASET, "--split", "query", "--out", "out"],
        "track": [vizloc, "track", map_path, DATASET, "--split", "query", "--out", "out"],
        "replay": [vizloc, "replay", bag, map_path, "--out", "out"],
        "bag play": [vizloc, "bag", "play", bag, "--loop"],
        "evaluate trust": [vizloc, *trust],
    }


def grid(folder: Path, names: Sequence[str], step: float, until: float) -> Iterator[tuple[str, str, float, Struck]]:
    """Yield program, signal, time and end for every one of them."""
    every = programs(folder)
    for name in names or every:
        for number in NUMBERS:
            for k, seconds in enumerate(np.arange(0.0, until, step)):
                scratch = folder / f"{name.replace(' ', '_')}_{number.name}_{k}"
                scratch.mkdir()
                process = start(every[name], scratch)
                wait_for_the_package(process)
                time.sleep(seconds)
                yield name, number.name, float(seconds), strike(process, [number], scratch)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", default=[], help="name of a program")
    parser.add_argument("--step", type=float, default=0.5)
    parser.add_argument("--until", type=float, default=12.0)
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    wrong = count = 0
    for program, number, at, ended in grid(given.out.resolve(), given.only, given.step, given.until):
        faults = ended.faults(signal.Signals[number], is_node=program in NODES)
        wrong, count = wrong + bool(faults), count + 1
        print(f"{program:24} {number:8} {at:5.2f} s: {ended.code:4}, {ended.seconds:5.2f} s {faults}", flush=True)  # noqa: T201
    print(f"{wrong} of {count} ends are wrong")  # noqa: T201
    sys.exit(bool(wrong))
