"""Python packages that `rosdep install` cannot install, and the command that installs them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import Any

# rosdep has no key for the first three; Ubuntu's versions of the others are too old, or not installed.
WITHOUT_ROSDEP = ("pycolmap", "apsw", "threadpoolctl", "pydantic", "typer")
_MIN_PYDANTIC = 2  # major version


def require_dependencies(
    find: Callable[[str], Any] = find_spec, version_of: Callable[[str], str] = metadata.version
) -> None:
    """Raise ``ImportError`` if packages are missing or too old; the text names them and the command for pip."""
    lacking = [name for name in WITHOUT_ROSDEP if find(name) is None]
    if "pydantic" not in lacking and int(version_of("pydantic").split(".")[0]) < _MIN_PYDANTIC:
        lacking.append("pydantic")
    if lacking:
        lines = " ".join(f"'{_requirement(name)}'" for name in lacking)
        raise ImportError(
            f"vizloc_ros needs {', '.join(lacking)}, which rosdep does not bring: run `make setup` in its folder and "
            f"activate .venv, or: pip install {lines}"
        )


def _requirement(name: str) -> str:
    """Range of versions from setup.py, or the name alone if this package is not installed."""
    try:
        requirements = metadata.requires("vizloc_ros") or []
    except metadata.PackageNotFoundError:
        return name
    return next((line for line in requirements if line.startswith(name)), name)
