"""Fast DDS profile for camera images: with its defaults it loses most best-effort messages above 0.5 MB."""

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
_LOCAL_DISCOVERY_RANGES = frozenset({"LOCALHOST", "OFF"})  # values of ROS_AUTOMATIC_DISCOVERY_RANGE


def ensure_profile(profile: Profile = "network") -> str:
    """Set the environment variable that makes Fast DDS read a profile of this package; call it before rclpy starts.

    The user's choice stays: nothing changes when a profiles file or an ``RMW_IMPLEMENTATION`` other than Fast DDS is
    set already. Processes started afterwards inherit the variable.

    Args:
        profile: ``network`` is discovered by other hosts, as ROS 2 is by default, unless
            ``ROS_AUTOMATIC_DISCOVERY_RANGE`` or ``ROS_LOCALHOST_ONLY`` limits it; ``localhost`` stays on this host.

    Returns:
        A line for the log; empty if nothing was set.

    Raises:
        RosError: the profile is not installed with the package.
    """
    if _FAST_DDS_3_VARIABLE in os.environ or _FAST_DDS_2_VARIABLE in os.environ:
        return ""
    if not os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith("rmw_fastrtps"):
        return ""
    if _discovery_is_local():
        profile = "localhost"
    # Fast DDS 2 reads only the older name; with Fast DDS 3 (Kilted and later) that name is a deprecation warning.
    variable = _FAST_DDS_2_VARIABLE if _uses_fast_dds_2() else _FAST_DDS_3_VARIABLE
    os.environ[variable] = str(shipped_config(_PROFILES[profile]))
    seen_by = "this host only" if profile == "localhost" else "this host and others"
    return f"Fast DDS carries large images with {os.environ[variable]}, for {seen_by}; to choose, set {variable}"


def _discovery_is_local() -> bool:
    """Return whether the user's ROS settings keep discovery on this host; a profile would override them."""
    return (
        os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper() in _LOCAL_DISCOVERY_RANGES
        or os.environ.get("ROS_LOCALHOST_ONLY") == "1"
    )


def _uses_fast_dds_2() -> bool:
    """Return whether the ROS 2 that is sourced, or installed with this Python, has Fast DDS 2 (package fastrtps)."""
    if distro := os.environ.get("ROS_DISTRO"):
        return distro in _FAST_DDS_2_DISTROS
    prefixes = [sys.prefix, *filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))]
    return any((Path(prefix) / "share" / "fastrtps" / "cmake").is_dir() for prefix in prefixes)


def shipped_config(name: str) -> Path:
    """Path of a file of ``config/``, searched in the folders above this module.

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
