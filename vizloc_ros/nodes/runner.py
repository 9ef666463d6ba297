"""Starts nodes, spins them and takes them down again, whatever ends them."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from threadpoolctl import threadpool_limits

from vizloc_ros.errors import RosError, VizlocError
from vizloc_ros.nodes.middleware import ensure_profile

NodeFactory = Callable[[], Any]  # makes an rclpy node; its destroy_node() stops the node's workers


def run_node(factory: NodeFactory, args: Sequence[str] | None = None) -> int:
    """Runs one node until Ctrl-C, SIGTERM or a shutdown; returns the process's exit code, as ``run_nodes``."""
    return run_nodes([factory], args)


def run_nodes(factories: Sequence[NodeFactory], args: Sequence[str] | None = None) -> int:
    """Runs nodes in one process and in its main thread (long work belongs into their workers).

    Returns:
        0 after Ctrl-C, SIGTERM or a shutdown; 1 when a ``VizlocError`` ended it, whose message is logged.
    """
    nodes: list[Any] = []
    try:
        ensure_profile()
        if "OPENBLAS_NUM_THREADS" not in os.environ:
            # The nodes work side by side; threads of BLAS that wait for each other by spinning slow down all of them.
            threadpool_limits(1, user_api="blas")
        with _first_interrupt_shuts_down(), ros(args):
            executor = SingleThreadedExecutor()
            try:
                for factory in factories:
                    nodes.append(factory())
                    executor.add_node(nodes[-1])
                executor.spin()
            except rclpy_implementation.RCLError:
                if rclpy.ok():
                    raise  # else the signal came between two steps of the executor
            finally:
                executor.shutdown()
                for node in nodes:
                    node.destroy_node()
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except VizlocError as error:
        get_logger("vizloc").fatal(str(error))
        return 1
    return 0


@contextmanager
def ros(args: Sequence[str] | None = None, domain_id: int | None = None) -> Iterator[None]:
    """ROS is up inside, on a domain other than the environment's if one is given.

    Raises ``RosError`` for arguments or parameter files it cannot read.
    """
    # pycolmap's logging library handles SIGTERM by aborting, and rclpy would pass the signal on to it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        rclpy.init(args=None if args is None else list(args), domain_id=domain_id)
    except (rclpy_implementation.RCLError, rclpy_implementation.UnknownROSArgsError) as error:
        raise RosError(f"ROS 2 does not start with these arguments: {error}") from error
    try:
        yield
    finally:
        rclpy.try_shutdown()


@contextmanager
def _first_interrupt_shuts_down() -> Iterator[None]:
    """Lets Ctrl-C shut ROS down as SIGTERM does, between two callbacks; only the second one is a KeyboardInterrupt.

    Raised anywhere, as by default, it would cut off a callback, or the very clean-up it leads to.
    """

    def on_first_interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, on_first_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
