"""Signals in the first seconds of a node or command: Ctrl-C and SIGTERM end it at once and cleanly.

Imports take most of the start. A signal during them would end in a traceback of whatever is imported just then, or in
an abort by a library that handles SIGTERM itself. So the signals are blocked from the first line of the package on, a
thread waits for them, and whoever runs the program takes them over once its own handlers stand. Nothing that could be
lost has begun before that. Only the standard library is imported here.
"""

import os
import signal
import sys
import threading
from enum import Enum

_NODES = frozenset({"hfnet", "visual_map_server", "localizer", "pixloc_tracker", "vizloc_node"})
_NODE_MODULES = frozenset(f"vizloc_ros.nodes.{name}" for name in _NODES)
_COMMANDS = frozenset({"vizloc"})
_COMMAND_MODULES = frozenset({"vizloc_ros.cli.main", "vizloc_ros.launching.ready"})
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_POLL_SECONDS = 0.05
_started = threading.Event()
_watch: list[threading.Thread] = []


class Program(Enum):
    """Kind of a program of this package; its end by a signal is a normal one for a node, and not for a command."""

    NODE = "node"
    COMMAND = "command"
    OTHER = "other"


def watch_signals() -> None:
    """End the process on Ctrl-C or SIGTERM until they are taken, if it is a node or a command; else do nothing."""
    program = program_of(sys.orig_argv, sys.argv)
    if program is not Program.OTHER:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # threads that start from now on inherit it
        _watch.append(threading.Thread(target=_end_on_signal, args=(program,), name="start_signals", daemon=True))
        _watch[0].start()


def is_watched() -> bool:
    """Return True if this process is a node or command of its own, and not a program that calls one."""
    return bool(_watch)


def take_signals() -> bool:
    """Let signals through to a node's handlers; return True if one has come before, which is then done with."""
    _stop_watch()
    held = bool(signal.sigpending() & set(SIGNALS))
    if held:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return held


def release_signals() -> None:
    """Let signals through to the handlers; one that has come before reaches them at once."""
    _stop_watch()
    if _watch:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def ended_by(number: int) -> tuple[int, str]:
    """Exit code of a command that a signal has ended, as of shells, and the line that says so."""
    return 128 + number, f"stopped by {signal.Signals(number).name}"


def _stop_watch() -> None:
    _started.set()
    for thread in _watch:
        thread.join()


def _end_on_signal(program: Program) -> None:
    while not _started.is_set():
        received = signal.sigtimedwait(SIGNALS, _POLL_SECONDS)
        if received is None:
            continue
        if program is Program.NODE:
            os._exit(0)
        code, line = ended_by(received.si_signo)
        os.write(2, f"{line}\n".encode())
        os._exit(code)


def program_of(command: list[str], arguments: list[str]) -> Program:
    """Kind of a program: ``python -m MODULE``, or a script with the name of a program that runs this package."""
    if "-m" in command[1:]:
        module = "".join(command[command.index("-m", 1) + 1 :][:1])
        nodes, commands = _NODE_MODULES, _COMMAND_MODULES
    else:
        script = arguments[0] if arguments else ""
        module = os.path.basename(script)  # noqa: PTH119 - pathlib takes time to import
        nodes, commands = _NODES, _COMMANDS
        if module in nodes | commands and not _runs_this_package(script):
            return Program.OTHER
    if module in nodes:
        return Program.NODE
    return Program.COMMAND if module in commands else Program.OTHER


def _runs_this_package(script: str) -> bool:
    try:
        with open(script, errors="replace") as file:  # noqa: PTH123
            text = file.read()
    except OSError:
        return False
    return "vizloc_ros" in text or "vizloc-ros" in text
