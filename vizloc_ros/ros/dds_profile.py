"""Fast DDS settings that carry camera images: by default it loses most best-effort messages above 0.5 MB."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

from vizloc_ros.errors import RosError

Profile = Literal["network", "localhost"]
_PROFILES = {"network": "fastdds_network.xml", "localhost": "fastdds_localhost.xml"}
_FAST_DDS_3_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
_FAST_DDS_2_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
_FAST_DDS_2_DISTROS = frozenset({"humble", "iron", "jazzy"})
_STAYS_ON_HOST = frozenset({"LOCALHOST", "OFF"})  # of ROS_AUTOMATIC_DISCOVERY_RANGE


def ensure_profile(profile: Profile = "network") -> str:
    """Points Fast DDS to a profile of this package by one environment variable, before rclpy starts.

    What the user chose stays: nothing changes when a profiles file or an ``RMW_IMPLEMENTATION`` other than Fast DDS
    is set already. Processes started afterwards inherit the variable.

    Args:
        profile: ``network`` is found by other hosts, as ROS 2 is by default, unless ``ROS_AUTOMATIC_DISCOVERY_RANGE``
            or ``ROS_LOCALHOST_ONLY`` says otherwise; ``localhost`` stays on this host.

    Returns:
        What was done, for the log; empty if nothing was.

    Raises:
        RosError: the profile is not installed with the package.
    """
    if _FAST_DDS_3_VARIABLE in os.environ or _FAST_DDS_2_VARIABLE in os.environ:
        return ""
    if not os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith("rmw_fastrtps"):
        return ""
    if _discovery_stays_on_host():
        profile = "localhost"
    # Fast DDS 2 knows only the older name; with Fast DDS 3 (Kilted and later) that name is a deprecation warning.
    variable = _FAST_DDS_2_VARIABLE if _uses_fast_dds_2() else _FAST_DDS_3_VARIABLE
    os.environ[variable] = str(_shipped_config(_PROFILES[profile]))
    seen_by = "this host only" if profile == "localhost" else "this host and others"
    return f"Fast DDS carries large images with {os.environ[variable]}, for {seen_by}; to choose, set {variable}"


def _discovery_stays_on_host() -> bool:
    """Whether the user's settings of ROS keep discovery on this host; a profile would take no notice of them."""
    return (
        os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() in _STAYS_ON_HOST
        or os.environ.get("ROS_LOCALHOST_ONLY") == "1"
    )


def _uses_fast_dds_2() -> bool:
    """Whether the ROS 2 that is sourced, or installed with this Python, has Fast DDS 2, whose package is fastrtps."""
    if distro := os.environ.get("ROS_DISTRO"):
        return distro in _FAST_DDS_2_DISTROS
    prefixes = [sys.prefix, *filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))]
    return any((Path(prefix) / "share" / "fastrtps" / "cmake").is_dir() for prefix in prefixes)


def _shipped_config(name: str) -> Path:
    """Finds a file of ``config/`` above this module.

    Installed (pip or colcon), a folder above is the prefix that holds ``share/``; in the source tree, a folder above
    holds ``config/`` itself. So no ROS index has to be set up.
    """
    for folder in Path(__file__).resolve().parents:
        for candidate in (folder / "config" / name, folder / "share" / "vizloc_ros" / "config" / name):
            if candidate.is_file():
                return candidate
    raise RosError(
        f"{name} is not installed with vizloc_ros ({Path(__file__).resolve()}): install the package again with "
        "`make setup` or `colcon build`, or set FASTDDS_DEFAULT_PROFILES_FILE to a profile of your own."
    )
