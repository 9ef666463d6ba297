"""Signals in the first seconds of a node: Ctrl-C and SIGTERM end it at once and cleanly.

The imports of a node take most of its start. A signal during them would end in a traceback of whatever is imported
just then, or in an abort by a library that handles SIGTERM itself. So the signals are blocked from the first line of
the package on, a thread waits for them, and ``runner`` takes them over once its own handlers stand. Nothing that could
be lost has begun before that. Only the standard library is imported here.
"""

import os
import signal
import sys
import threading

_NODES = frozenset({"hfnet", "visual_map_server", "localizer", "pixloc_tracker", "vizloc_node"})
_MODULES = frozenset(f"vizloc_ros.nodes.{name}" for name in _NODES)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_POLL_SECONDS = 0.05
_started = threading.Event()
_watch: list[threading.Thread] = []


def watch_signals_of_a_node() -> None:
    """End the process with 0 on Ctrl-C or SIGTERM until ``take_signals``, if it is a node; else do nothing."""
    if _is_node(sys.orig_argv, sys.argv):
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # threads that start from now on inherit it
        _watch.append(threading.Thread(target=_end_on_signal, name="start_signals", daemon=True))
        _watch[0].start()


def take_signals() -> bool:
    """Let signals through to the handlers; return True if one has come before, which is then done with."""
    _started.set()
    for thread in _watch:
        thread.join()
    held = bool(signal.sigpending() & set(_SIGNALS))
    if held:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    return held


def _end_on_signal() -> None:
    while not _started.is_set():
        if signal.sigtimedwait(_SIGNALS, _POLL_SECONDS) is not None:
            os._exit(0)


def _is_node(command: list[str], arguments: list[str]) -> bool:
    """Return True for ``python -m vizloc_ros.nodes.NODE``, and for a script NODE that runs a node of this package."""
    if "-m" in command[1:]:
        return not _MODULES.isdisjoint(command[command.index("-m", 1) + 1 :][:1])
    script = arguments[0] if arguments else ""
    if os.path.basename(script) not in _NODES:  # noqa: PTH119 - pathlib takes time to import
        return False
    try:
        with open(script, errors="replace") as file:  # noqa: PTH123
            text = file.read()
    except OSError:
        return False
    return "vizloc_ros" in text or "vizloc-ros" in text
