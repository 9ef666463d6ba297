"""`ros2 launch` as a process of its own: what it prints, which processes it has, and what its nodes say."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from repository import REPOSITORY

VIZLOC_LAUNCH = REPOSITORY / "launch" / "vizloc.launch.py"
REASON = "{} has no wheel: scripts/install_launch.sh installs it, or it comes with a ROS 2 installation"


def require_launch() -> None:
    """Skips where launch files cannot be run."""
    pytest.importorskip("launch_ros", reason=REASON.format("launch_ros"))


def require_ros2(*packages: str) -> str:
    """The path of ``ros2``, where it has these parts too; else the test is skipped."""
    for package in ("ros2cli", *packages):
        pytest.importorskip(package, reason=REASON.format(package))
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if not (ros2 := shutil.which("ros2", path=path)):
        pytest.skip(REASON.format("ros2"))
    return ros2


class Launched:
    """A running launch file."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process, self.log = process, log

    @property
    def text(self) -> str:
        """Output of the launch and its nodes so far."""
        return self.log.read_text(errors="replace")

    def pids(self, name: str) -> list[int]:
        """The processes of one name that it has started, in their order."""
        return [int(pid) for pid in re.findall(rf"\[{name}-\d+\]: process started with pid \[(\d+)\]", self.text)]

    def living(self) -> list[str]:
        """The commands of all processes of its session that are still there."""
        commands = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state != "Z":
                    commands.append((stat.parent / "cmdline").read_text().replace("\0", " "))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return commands

    def wait_for(self, *patterns: str, timeout_s: float = 60.0) -> None:
        """Waits until each pattern has been printed."""
        deadline = time.monotonic() + timeout_s
        while missing := [pattern for pattern in patterns if not re.search(pattern, self.text)]:
            assert time.monotonic() < deadline, f"{missing} not printed in {timeout_s} s:\n{self.text}"
            assert self.process.poll() is None, f"it has ended without {missing}:\n{self.text}"
            time.sleep(0.05)

    def end(self, timeout_s: float = 60.0) -> int:
        """Waits until it ends by itself; no process of it must be left. Returns its exit code."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {timeout_s} s:\n{self.text}") from None
        assert self.living() == []
        return code

    def interrupt(self) -> int:
        """Presses Ctrl-C, and waits for its end."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.end()


@contextmanager
def launched(file: Path, directory: Path, **arguments: object) -> Iterator[Launched]:
    """`ros2 launch` of a file with arguments, for as long as the context lasts, in the ROS domain of the test."""
    ros2 = require_ros2("ros2launch")
    if not (Path(sys.prefix) / "lib" / "vizloc_ros").is_dir():
        pytest.skip("vizloc_ros is not installed in this environment: make setup")
    prefixes = os.pathsep.join(filter(None, (sys.prefix, os.environ.get("AMENT_PREFIX_PATH"))))
    packages = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    bin_folder = Path(ros2).parent
    directory.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.endswith("DEFAULT_PROFILES_FILE")}
    environment |= {"ROS_LOG_DIR": str(directory / "ros"), "PYTHONUNBUFFERED": "1"}
    environment |= {"AMENT_PREFIX_PATH": prefixes, "PYTHONPATH": packages, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    log = directory / "launch.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [ros2, "launch", str(file), *(f"{name}:={value}" for name, value in arguments.items())],
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Launched(process, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
