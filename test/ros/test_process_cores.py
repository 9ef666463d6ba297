"""The process of a node is bound to cores with all its threads. Each test has a process of its own.

A network on "all cores" runs on those, too: ONNX Runtime would bind its threads to others by itself.
"""

import os
import subprocess
import sys

import pytest
from repository import REPOSITORY

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are bound on Linux alone")
BEGIN = """
import os, threading
from vizloc_ros.ros.process_cores import bind_process
def cores():
    return sorted({core for thread in os.listdir("/proc/self/task") for core in os.sched_getaffinity(int(thread))})
end = threading.Event()
threading.Thread(target=end.wait, daemon=True).start()
"""
NETWORK = """
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.device import Device
before = len(os.listdir("/proc/self/task"))
extractor = open_extractor("hfnet", device=Device(threads=0))
"""


def run(code: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", BEGIN + code]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=False)


def test_all_threads_run_on_the_cores_that_are_named_and_so_do_later_ones() -> None:
    core = max(os.sched_getaffinity(0))
    code = f"bind_process([{core}]); threading.Thread(target=end.wait, daemon=True).start(); print(cores())"
    assert run(code).stdout == f"{[core]}\n"


def test_a_network_on_all_cores_keeps_to_those_of_the_process() -> None:
    core = min(os.sched_getaffinity(0))
    code = f"bind_process([{core}])\n{NETWORK}print(cores(), extractor is not None)"
    assert run(code).stdout == f"{[core]} True\n"


def test_none_are_all_and_a_second_node_may_name_the_same() -> None:
    usable = sorted(os.sched_getaffinity(0))
    assert run("bind_process(()); print(cores())").stdout == f"{usable}\n"
    assert run(f"bind_process([{usable[0]}]); bind_process([{usable[0]}]); print(cores())").stdout == f"{usable[:1]}\n"


def test_a_core_that_the_process_may_not_use_is_named() -> None:
    usable = sorted(os.sched_getaffinity(0))
    said = run(f"bind_process([{usable[0]}, 4000])").stderr
    assert f"parameter cpu_affinity: names 4000; this process may use: {', '.join(map(str, usable))}" in said
    assert run(f"bind_process([{usable[0]}])\ntry: bind_process([4000])\nexcept Exception: print(cores())").stdout == (
        f"{usable[:1]}\n"
    )
