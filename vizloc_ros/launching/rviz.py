"""Location of RViz."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix


def rviz_executable() -> str:
    """Path of rviz2, from the ROS packages or from PATH; empty if it is not installed."""
    try:
        in_package = Path(get_package_prefix("rviz2")) / "lib" / "rviz2" / "rviz2"
    except (PackageNotFoundError, OSError):  # the latter without AMENT_PREFIX_PATH
        return shutil.which("rviz2") or ""
    return str(in_package) if in_package.is_file() else shutil.which("rviz2") or ""


def how_to_install_rviz() -> str:
    """Text that names what is missing, and the command that brings it."""
    return (
        "RViz is not installed (no package rviz2): "
        f"sudo apt-get install ros-{os.environ.get('ROS_DISTRO', '$ROS_DISTRO')}-rviz2, or start with rviz:=false"
    )
