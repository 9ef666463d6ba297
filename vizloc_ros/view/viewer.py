"""rerun's viewer for a recording: its window, or its page in a browser."""

import os
import socket
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
    """Serve rerun's page, and open it where there is a browser, until Ctrl-C.

    Raises:
        ConfigError: one of its ports is in use, or the viewer ends by itself.
    """
    for port in (PAGE_PORT, DATA_PORT):
        _require_free(port)
    mode = "--web-viewer" if has_display() else "--serve-web"
    _run([str(recording), mode, "--bind", LOCAL], "see its message above")


def _require_free(port: int) -> None:
    """Raise ``ConfigError`` if a port is in use: some versions of rerun would wait for ever."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((LOCAL, port))
        except OSError as error:
            text = f"port {port} cannot be served ({error.strerror}): end the viewer or program that uses it"
            raise ConfigError(text) from error


def _run(arguments: list[str], advice: str) -> None:
    try:
        ended = subprocess.run([sys.executable, "-m", "rerun", *arguments], check=False)
    except KeyboardInterrupt:
        return
    if ended.returncode > 0:
        raise ConfigError(f"rerun's viewer ended with exit code {ended.returncode}: {advice}")
