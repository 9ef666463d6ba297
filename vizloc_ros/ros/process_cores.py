"""CPU cores of the process of a node: those that its parameter ``cpu_affinity`` names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vizloc_ros.errors import ConfigError

_THREADS = Path("/proc/self/task")


def bind_process(cores: Sequence[int]) -> None:
    """Let all threads of this process, and those that they start, run on some cores alone; on all if none is named.

    Nodes of one process share its cores: a second one may name the same, or some of them.

    Raises:
        ConfigError: the process may not use one of the cores, or the system is not Linux.
    """
    if not cores:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise ConfigError("parameter cpu_affinity: this system cannot bind a process to cores: leave it empty")
    usable = os.sched_getaffinity(0)
    if unusable := sorted(set(cores) - usable):
        raise ConfigError(
            f"parameter cpu_affinity: names {', '.join(map(str, unusable))}; this process may use: "
            f"{', '.join(map(str, sorted(usable)))}"
        )
    bound: set[int] = set()
    while new := {int(thread.name) for thread in _THREADS.iterdir()} - bound:  # one may start another meanwhile
        for thread in new:
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread, cores)
        bound |= new
