"""Fast DDS settings that carry camera images: by default it loses most best-effort messages above 0.5 MB."""

import os
from pathlib import Path
from typing import Literal

from vizloc_ros.errors import RosError

_PROFILES = {"localhost": "fastdds_shm.xml", "network": "fastdds_network.xml"}
_FAST_DDS_3_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
_FAST_DDS_2_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
_FAST_DDS_2_DISTROS = frozenset({"humble", "iron", "jazzy"})


def ensure_profile(reach: Literal["localhost", "network"] = "localhost") -> None:
    """Points Fast DDS to the shipped profile by one environment variable, before rclpy starts.

    What the user chose stays: nothing changes when a profiles file or an ``RMW_IMPLEMENTATION`` other than Fast DDS
    is set already. Processes started afterwards inherit the variable.

    Args:
        reach: "localhost" for nodes on one host; "network" for nodes that talk to other hosts.

    Raises:
        RosError: the profile is not installed with the package.
    """
    if _FAST_DDS_3_VARIABLE in os.environ or _FAST_DDS_2_VARIABLE in os.environ:
        return
    if not os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith("rmw_fastrtps"):
        return
    # Fast DDS 2 knows only the older name; with Fast DDS 3 (Kilted and later) that name is a deprecation warning.
    uses_fast_dds_2 = os.environ.get("ROS_DISTRO") in _FAST_DDS_2_DISTROS
    variable = _FAST_DDS_2_VARIABLE if uses_fast_dds_2 else _FAST_DDS_3_VARIABLE
    os.environ[variable] = str(_shipped_config(_PROFILES[reach]))


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
