"""Signals in the first seconds of the nodes, while their imports run: they end with 0 and say nothing.

``signal_grid.py`` has the nodes and commands at many times.
"""

import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from signal_grid import NODES, start, strike, wait_for_the_package

from vizloc_ros.ros.start_signals import Program, program_of


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
def test_a_signal_during_the_start_ends_a_node_cleanly(
    node: str, numbers: Sequence[int], seconds: float, tmp_path: Path
) -> None:
    process = start([f"vizloc_ros.nodes.{node}", "--ros-args", "-p", "map_path:=/no/map"], tmp_path)
    wait_for_the_package(process)
    time.sleep(seconds)
    struck = strike(process, numbers, tmp_path)
    assert not struck.faults(numbers[0], is_node=True), struck


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
