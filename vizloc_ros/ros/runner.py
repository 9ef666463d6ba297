"""Run of nodes in a process, with a clean end for every signal and error."""

from __future__ import annotations

import gc
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from threadpoolctl import threadpool_limits

from vizloc_ros.errors import RosError, VizlocError
from vizloc_ros.ros.dds_profile import ensure_profile
from vizloc_ros.ros.rclpy_errors import SHUTDOWN_ERRORS, RCLError, UnknownROSArgsError
from vizloc_ros.ros.start_signals import take_signals

_MIXED_NUMBERS = " (in a list, write all numbers with a decimal point or none: [1.0, 0.0, 0.5])"
NodeFactory = Callable[[], Any]  # makes an rclpy node; its destroy_node() stops the node's workers


def run_node(factory: NodeFactory, args: Sequence[str] | None = None) -> int:
    """Run one node until Ctrl-C, SIGTERM or a shutdown; return the process's exit code, as ``run_nodes`` does."""
    return run_nodes([factory], args)


def run_nodes(factories: Sequence[NodeFactory], args: Sequence[str] | None = None) -> int:
    """Run nodes in the main thread of one process (long work belongs into their workers).

    The first Ctrl-C or SIGTERM shuts ROS down between two callbacks. A second Ctrl-C interrupts a callback, such as a
    start that hangs. The clean-up is never interrupted: from then on both signals are ignored until the process ends.

    Returns:
        0 after Ctrl-C, SIGTERM or a shutdown; 1 after a ``VizlocError``, or for a parameter that ROS refuses; both are
        logged.
    """
    nodes: list[Any] = []
    try:
        profile = ensure_profile()
        if "OPENBLAS_NUM_THREADS" not in os.environ:
            # The nodes run in parallel; threads of BLAS that wait for each other by spinning slow down all of them.
            threadpool_limits(1, user_api="blas")
        _second_interrupt_raises()
        with ros(args):
            if take_signals():
                return 0
            if profile:
                get_logger("vizloc").info(profile)
            executor = SingleThreadedExecutor()
            try:
                try:
                    for factory in factories:
                        nodes.append(factory())
                        executor.add_node(nodes[-1])
                    executor.spin()
                finally:
                    _ignore_signals()
            except SHUTDOWN_ERRORS:
                if rclpy.ok():
                    raise  # else the signal came while a node was made, or between two steps of the executor
            finally:
                _ignore_signals()  # again: a second interrupt may have come just before the first call
                executor.shutdown()
                for node in nodes:
                    node.destroy_node()
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except VizlocError as error:
        get_logger("vizloc").fatal(str(error))
        return 1
    except (ParameterException, NameValidationException) as error:  # of ROS's own parameters, such as use_sim_time
        get_logger("vizloc").fatal(f"ROS 2 refuses a parameter or name: {error}")
        return 1
    finally:
        _ignore_signals()  # rclpy has brought back the handlers from before it
        gc.freeze()  # else the interpreter looks through all objects once more, for 0.3 s of CPU time
    return 0


@contextmanager
def ros(args: Sequence[str] | None = None, domain_id: int | None = None) -> Iterator[None]:
    """Context in which ROS runs, on a domain other than the environment's if one is given.

    Raises ``RosError`` for arguments or parameter files that ROS cannot read.
    """
    if not callable(signal.getsignal(signal.SIGTERM)):
        # pycolmap's logging library handles SIGTERM by aborting, and rclpy would pass the signal on to it.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with warnings.catch_warnings(), suppress(ImportError):
        # rclpy imports it with the first message; the lark of the wheels warns of a module that Python has renamed.
        warnings.simplefilter("ignore", DeprecationWarning)
        import_module("rosidl_generator_py")
    try:
        rclpy.init(args=None if args is None else list(args), domain_id=domain_id)
    except (RCLError, UnknownROSArgsError) as error:
        hint = _MIXED_NUMBERS if "should be of same type" in str(error) else ""
        raise RosError(f"ROS 2 does not start with these arguments: {error}{hint}") from error
    try:
        yield
    finally:
        rclpy.try_shutdown()


def _second_interrupt_raises() -> None:
    """Let Ctrl-C shut ROS down as SIGTERM does, between two callbacks; only the second one is a KeyboardInterrupt.

    Raised anywhere, as by default, it would interrupt a callback.
    """

    def on_first_interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, on_first_interrupt)


def _ignore_signals() -> None:
    """Ignore Ctrl-C and SIGTERM: a clean-up that is interrupted while a network runs ends in an abort."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
