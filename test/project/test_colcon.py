"""The package as ROS users build it: ``colcon build``, then executables out of the install space."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import REPOSITORY

COLCON = Path(sys.prefix) / "bin" / "colcon"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not COLCON.is_file() and not shutil.which("colcon"), reason="colcon is not installed"),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("workspace")
    unwanted = shutil.ignore_patterns(".*", "build", "install", "log", "__pycache__", "demo_output")
    shutil.copytree(REPOSITORY, workspace / "src" / "vizloc_ros", ignore=unwanted)
    colcon = str(COLCON) if COLCON.is_file() else "colcon"
    command = [colcon, "--log-base", "log", "build", "--base-paths", "src"]
    built = subprocess.run(command, cwd=workspace, text=True, capture_output=True, timeout=200, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return workspace


def start_sourced(workspace, command):
    """Starts a command with the install space sourced, away from the source tree."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "AMENT_PREFIX_PATH")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    script = f"source install/setup.bash && exec {command}"
    return subprocess.Popen(
        ["bash", "-c", script],
        cwd=workspace,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run_sourced(workspace, command):
    """The output of a command that must succeed."""
    with start_sourced(workspace, command) as process:
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    return output


def test_install_space_is_complete(workspace):
    prefix = workspace / "install" / "vizloc_ros"
    for executable in ("vizloc", "hfnet", "visual_map_server", "localizer", "vizloc_node"):
        assert os.access(prefix / "lib" / "vizloc_ros" / executable, os.X_OK)
    for folder in ("launch", "config"):
        names = {path.name for path in (REPOSITORY / folder).iterdir() if path.is_file()}
        assert names == {path.name for path in (prefix / "share" / "vizloc_ros" / folder).iterdir()}
    assert (prefix / "share" / "ament_index" / "resource_index" / "packages" / "vizloc_ros").is_file()
    assert (prefix / "share" / "vizloc_ros" / "package.xml").is_file()


def test_the_installed_code_and_profile_are_used(workspace):
    code = (
        "import os, vizloc_ros.ros.dds_profile as m; m.ensure_profile(); "
        "print(m.__file__, os.environ['FASTDDS_DEFAULT_PROFILES_FILE'])"
    )
    command = f'env -u FASTDDS_DEFAULT_PROFILES_FILE -u FASTRTPS_DEFAULT_PROFILES_FILE -u ROS_DISTRO python -c "{code}"'
    for path in map(Path, run_sourced(workspace, command).split()):
        assert path.is_relative_to(workspace / "install")


def test_command_line_runs_from_the_install_space(workspace):
    assert "localize" in run_sourced(workspace, "install/vizloc_ros/lib/vizloc_ros/vizloc --help")


def test_node_from_the_install_space_names_the_map_it_waits_for(workspace):
    pytest.importorskip("rclpy")
    command = "install/vizloc_ros/lib/vizloc_ros/visual_map_server --ros-args -p map_path:=/nowhere/map"
    with start_sourced(workspace, command) as process:
        try:
            assert any("/nowhere/map" in line for line in process.stdout)
        finally:
            process.terminate()
    assert process.returncode == 0
