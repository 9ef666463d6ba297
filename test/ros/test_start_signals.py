"""Signals in the first seconds of the nodes, while their imports run: they end with 0 and say nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from repository import REPOSITORY

from vizloc_ros.ros.start_signals import Program, program_of

NODES = ("hfnet", "visual_map_server", "localizer", "pixloc_tracker", "vizloc_node")


def start(node: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", f"vizloc_ros.nodes.{node}", "--ros-args", "-p", "map_path:=/no/map"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_the_package(process: "subprocess.Popen[str]") -> None:
    """Wait until the package has begun, whose first line blocks the signals: Python itself can only die of them."""
    status = Path(f"/proc/{process.pid}/status")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        blocked = next(line for line in status.read_text().splitlines() if line.startswith("SigBlk"))
        if int(blocked.split()[1], 16) & 1 << (signal.SIGTERM - 1):
            return
        time.sleep(0.002)
    raise AssertionError("the signals are not blocked")


@pytest.mark.ros
@pytest.mark.parametrize(
    ("node", "numbers", "seconds"),
    [
        ("hfnet", [signal.SIGINT], 0.0),
        ("visual_map_server", [signal.SIGTERM], 0.2),
        ("localizer", [signal.SIGINT, signal.SIGINT], 0.5),
        ("pixloc_tracker", [signal.SIGTERM], 1.0),
        ("vizloc_node", [signal.SIGINT, signal.SIGINT], 1.0),
    ],
)
def test_a_signal_during_the_start_ends_a_node_cleanly(node: str, numbers: Sequence[int], seconds: float) -> None:
    process = start(node)
    wait_for_the_package(process)
    time.sleep(seconds)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.05)
    output = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "Traceback" not in "".join(output)


@pytest.mark.parametrize(
    ("name", "module", "program"),
    [
        *((node, f"vizloc_ros.nodes.{node}", Program.NODE) for node in NODES),
        ("vizloc", "vizloc_ros.cli.main", Program.COMMAND),
    ],
)
def test_only_the_programs_of_this_package_are_meant(name: str, module: str, program: Program, tmp_path: Path) -> None:
    assert program_of(["python3", "-m", module, "--ros-args"], ["-m", "--ros-args"]) is program
    assert program_of(["python3", "-m", "pytest", module], ["-m"]) is Program.OTHER
    script = tmp_path / name
    assert program_of(["python3", str(script)], [str(script)]) is Program.OTHER
    script.write_text("from other import main\nmain()\n")
    assert program_of(["python3", str(script)], [str(script)]) is Program.OTHER
    script.write_text(f"from {module} import main\nmain()\n")
    assert program_of(["python3", str(script)], [str(script)]) is program
    assert program_of(["python3"], [""]) is Program.OTHER
