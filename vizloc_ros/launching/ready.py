"""Wait until nodes are ready: python -m vizloc_ros.launching.ready /hfnet /visual_map_server ...

A node loads its map and networks before it says anything on /diagnostics, so the first word of each is waited for. What
keeps one from working is printed, but does not hold up the others: a map may be without references for the tracker.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import ExternalShutdownException

from vizloc_ros.ros.diagnostics import node_of
from vizloc_ros.ros.qos import DIAGNOSTICS
from vizloc_ros.ros.runner import ros
from vizloc_ros.ros.start_signals import release_signals

_MAX_WAIT_S = 600.0  # TensorRT builds its engine for minutes


def wait_until_ready(nodes: Sequence[str], timeout_s: float) -> list[str]:
    """Wait for the first diagnostics of nodes, given by their full names; return those that have said nothing.

    Problems that they report are printed.
    """
    missing = {name.lstrip("/") for name in nodes}

    def on_diagnostics(msg: DiagnosticArray) -> None:
        for status in msg.status:
            node_name = node_of(status)
            if node_name in missing and status.level == DiagnosticStatus.ERROR:
                print(f"{node_name}: {status.message}", flush=True)  # noqa: T201
            missing.discard(node_name)

    node = rclpy.create_node("vizloc_ready")
    node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, DIAGNOSTICS)
    deadline = time.monotonic() + timeout_s
    while missing and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.5)
    node.destroy_node()
    return sorted(missing)


def main() -> int:
    """Wait for the nodes of the command line; return 1 if one of them has not come up in ten minutes."""
    release_signals()
    with ros():
        try:
            missing = wait_until_ready(sys.argv[1:], _MAX_WAIT_S)
        except (KeyboardInterrupt, ExternalShutdownException):
            return 1
    print(f"not ready: {', '.join(missing)}" if missing else "the nodes are ready", flush=True)  # noqa: T201
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
