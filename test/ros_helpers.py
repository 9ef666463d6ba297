"""Helpers of tests with rclpy in the process: a context of their own, and waiting with a deadline."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vizloc_ros.ros.dds_profile import ensure_profile

ensure_profile("localhost")
import rclpy  # noqa: E402 - Fast DDS reads its profile when rclpy starts
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402


@contextmanager
def ros_context(*arguments: str, domain_id: int | None = None) -> Iterator[Context]:
    """Context with a ROS context of its own, in the domain of the test; ``arguments`` are those after --ros-args."""
    context = Context()
    rclpy.init(context=context, domain_id=domain_id, args=["--ros-args", *arguments] if arguments else None)
    try:
        yield context
    finally:
        context.try_shutdown()


@contextmanager
def ros_nodes(*names: str, arguments: tuple[str, ...] = (), domain_id: int | None = None) -> Iterator[list[Any]]:
    """Context with nodes of these names, for ``spin_until``."""
    with ros_context(*arguments, domain_id=domain_id) as context:
        nodes = [Node(name, context=context) for name in names]
        try:
            yield nodes
        finally:
            for node in nodes:
                node.destroy_node()


def spin_until(condition: Callable[[], bool], *nodes: Any, timeout_s: float = 15.0) -> None:
    """Spin the nodes until the condition holds; fail the test after ``timeout_s``."""
    executor = SingleThreadedExecutor(context=nodes[0].context)
    for node in nodes:
        executor.add_node(node)
    deadline = time.monotonic() + timeout_s
    try:
        while not condition():
            assert time.monotonic() < deadline, f"nothing of it happened in {timeout_s} s"
            executor.spin_once(timeout_sec=0.05)
    finally:
        for node in nodes:
            executor.remove_node(node)
        executor.shutdown()


#: PYTHONWARNINGS of nodes under test: a warning comes out as an error. Only that a client has gone, or was not
#: discovered yet when its answer was sent (``call_service``), is no fault of the node.
STRICT_WARNINGS = "error,ignore:failed to send response"


def call_service(
    node: Any,
    kind: Any,
    name: str,
    request: Any = None,
    wait: Callable[[Callable[[], bool]], None] | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Any:
    """Call a service and return its answer; ``meanwhile`` is called again and again until it comes.

    ``wait`` waits until a condition holds, by ``spin_until`` of the node unless given.
    """
    wait = wait or (lambda condition: spin_until(condition, node, timeout_s=60.0))
    client = node.create_client(kind, name)
    wait(client.service_is_ready)
    # The client knows the service now; the service may learn of the client later, and its answer would be lost.
    discovered = time.monotonic() + 0.3
    wait(lambda: time.monotonic() > discovered)
    answer = client.call_async(kind.Request() if request is None else request)
    while meanwhile is not None and not answer.done():
        meanwhile()
    wait(answer.done)
    node.destroy_client(client)
    return answer.result()


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait until a condition holds through another thread; fail the test after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"nothing of it happened in {timeout_s} s"
        time.sleep(0.002)
