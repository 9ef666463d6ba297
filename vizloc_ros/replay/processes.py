"""Processes of the nodes, for machines without ``ros2 launch``: demo, replays and tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import vizloc_ros
from vizloc_ros.errors import RosError
from vizloc_ros.ros.dds_profile import ensure_profile
from vizloc_ros.ros.node_options import NODES, SHARED_TOPICS, WITHOUT_TRACKER

_STOP_SECONDS = 15.0


@dataclass
class NodeProcesses:
    """Context in which nodes run; at its end they are interrupted as by Ctrl-C.

    Attributes:
        parameters: parameters that differ from the defaults, by node name.
        remappings: new names of topics, for all nodes.
        executables: nodes to start; ``vizloc_node`` runs all of them in one process, ``front/hfnet`` is an hfnet in the
            namespace of a camera.
        tracking: whether ``vizloc_node`` includes the tracker.
        use_sim_time: whether the nodes take the time from /clock.
        log: file for the nodes' output; None leaves it on the terminal.
        environment: environment variables on top of this process's.
    """

    parameters: Mapping[str, Mapping[str, object]]
    remappings: Mapping[str, str] = field(default_factory=dict)
    executables: Sequence[str] = NODES
    tracking: bool = True
    use_sim_time: bool = False
    log: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)

    def __enter__(self) -> NodeProcesses:
        ensure_profile("localhost")  # a demo, a replay and a test must not be visible to other hosts
        if self.log is not None:
            self.log.write_bytes(b"")
        for executable in self.executables:
            self.start(executable)
        return self

    def start(self, executable: str) -> None:
        """Start a process, also one that has ended."""
        package_folder = str(Path(vizloc_ros.__file__).parents[1])
        path = os.pathsep.join(filter(None, (package_folder, os.environ.get("PYTHONPATH"))))
        output = None if self.log is None else self.log.open("ab")
        try:
            self._processes[executable] = subprocess.Popen(
                [sys.executable, "-m", f"vizloc_ros.nodes.{executable.split('/')[-1]}", *self._arguments(executable)],
                env={**os.environ, **self.environment, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches them through __exit__, once
            )
        finally:
            if output is not None:
                output.close()

    def kill(self, executable: str) -> None:
        """End a process at once, without giving it the chance to say so."""
        self._processes[executable].kill()
        self._processes[executable].wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self._processes.values():
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def exit_codes(self) -> dict[str, int | None]:
        """Exit codes by executable; None while the process runs."""
        return {name: process.poll() for name, process in self._processes.items()}

    @property
    def process_ids(self) -> dict[str, int]:
        """Ids of the processes by executable."""
        return {name: process.pid for name, process in self._processes.items()}

    def wait(self, executable: str, timeout_s: float) -> int:
        """Wait for a process that ends by itself, and return its exit code. Raises ``RosError`` after the timeout."""
        try:
            return self._processes[executable].wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise RosError(f"node {executable} still runs after {timeout_s:g} s") from None

    def require_alive(self) -> None:
        """Raise ``RosError`` with the last lines of the log if a node has ended."""
        for name, code in self.exit_codes.items():
            if code is not None:
                last_lines = ""
                if self.log is not None:
                    last_lines = "\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])
                raise RosError(f"node {name} ended with {code}{last_lines}")

    def _arguments(self, executable: str) -> list[str]:
        """ROS arguments of one process; ``node:parameter`` so that one process can hold several nodes."""
        namespace, _, executable = executable.rpartition("/")
        composed = executable == "vizloc_node"
        arguments = [WITHOUT_TRACKER] if composed and not self.tracking else []
        arguments.append("--ros-args")
        for node in NODES if composed else (executable,):
            given = {"use_sim_time": self.use_sim_time, **self.parameters.get(node, {})}
            of_node = "" if namespace else f"{node}:"  # a name alone is not that of a node in a namespace
            for name, value in given.items():
                arguments += ["-p", f"{of_node}{name}:={_yaml(value)}"]
        shared = {topic: f"/{topic}" for topic in SHARED_TOPICS} if namespace else {}
        for topic, target in {**shared, **self.remappings}.items():
            arguments += ["-r", f"{topic}:={target}"]
        return [*arguments, *(("-r", f"__ns:=/{namespace}") if namespace else ())]


def _yaml(value: object) -> str:
    """Text of a parameter value for ROS's command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return repr(value)
