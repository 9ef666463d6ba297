"""rerun's viewer for a recording: its window, or its page in a browser."""

import os
import subprocess
import sys
from pathlib import Path

from vizloc_ros.errors import ConfigError

LOCAL = "127.0.0.1"  # a recording holds images: it is served to this machine only
PAGE_PORT, DATA_PORT = 9090, 9876  # rerun's own
PAGE = f"http://localhost:{PAGE_PORT}?url=rerun%2Bhttp%3A%2F%2Flocalhost%3A{DATA_PORT}%2Fproxy"


def has_display() -> bool:
    """Return whether a window can be opened."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def open_window(recording: Path) -> None:
    """Open rerun's window and wait until it is closed. Raises ``ConfigError`` if it does not open."""
    _run([str(recording)], f"copy {recording} to another machine, or use --web")


def serve_page(recording: Path) -> None:
    """Serve rerun's page, and open it where there is a browser, until Ctrl-C. Raises ``ConfigError`` if it ends."""
    mode = "--web-viewer" if has_display() else "--serve-web"
    _run([str(recording), mode, "--bind", LOCAL], f"are the ports {PAGE_PORT} and {DATA_PORT} free?")


def _run(arguments: list[str], advice: str) -> None:
    try:
        ended = subprocess.run([sys.executable, "-m", "rerun", *arguments], check=False)
    except KeyboardInterrupt:
        return
    if ended.returncode > 0:
        raise ConfigError(f"rerun's viewer ended with exit code {ended.returncode}: {advice}")
