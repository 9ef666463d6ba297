"""Commands of docs/lifecycle.md, run as they are written."""

import os
import subprocess
from pathlib import Path

import pytest
from launch_helpers import require_ros2
from node_helpers import COMPOSED, bench
from pixloc_helpers import LONG_SIDE
from repository import REPOSITORY

from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.ros.node_options import NODES, TRACKER

pytestmark = pytest.mark.ros
PAGE = REPOSITORY / "docs" / "lifecycle.md"
# Commands with what they print.
PRINTED = {"lifecycle set": "Transitioning successful", "lifecycle get": "active [3]", "param set": "successful",
           "service call": "success=True", "topic pub": "publishing #1"}  # fmt: skip


def commands() -> list[str]:
    lines = [line.strip() for line in PAGE.read_text().splitlines() if line.startswith("    ros2 ")]
    return [line for line in lines if not line.startswith("ros2 launch ")]


def test_every_kind_of_command_is_shown() -> None:
    assert {" ".join(line.split()[1:3]) for line in commands()} == set(PRINTED)


def test_the_commands_run_as_written(tracked_map: VisualMap, tmp_path: Path) -> None:
    ros2 = require_ros2("ros2lifecycle", "ros2param", "ros2service", "ros2topic")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "floor2").symlink_to(tracked_map.folder)
    options = {TRACKER: {"long_side": LONG_SIDE, "threads": 1}}
    with bench(tracked_map.folder, tmp_path / "log", COMPOSED, tracking=True, managed=True, **options) as made:
        domain = made.processes.environment["ROS_DOMAIN_ID"]
        environment = {**os.environ, "ROS_DOMAIN_ID": domain, "HOME": str(tmp_path)}
        environment["PATH"] = os.pathsep.join((str(Path(ros2).parent), environment["PATH"]))
        try:
            for line in commands():
                kind = " ".join(line.split()[1:3])
                if kind != "lifecycle set":  # the page shows the transitions of one node
                    for node in NODES[:1] + NODES[2:]:
                        if made.state_of(node) == "unconfigured":
                            assert made.change_state(node, "configure")
                            assert made.change_state(node, "activate")
                for _ in range(10):  # ros2 gives up when discovery takes longer than half a second
                    done = subprocess.run(
                        ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=60, check=False
                    )
                    if "Node not found" not in done.stderr:
                        break
                assert done.returncode == 0, (line, done.stdout, done.stderr)
                assert PRINTED[kind] in done.stdout, (line, done.stdout, done.stderr)
        finally:
            subprocess.run([ros2, "daemon", "stop"], env=environment, capture_output=True, timeout=60, check=False)
