"""Instants of a node: a camera that is missing delays them by no more than the wait, and three times only."""

import time
from collections.abc import Iterator

import pytest
from ros_helpers import ros_context, spin_until

from vizloc_ros.ros.instant_input import InstantInput
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.rig_join import Instant

pytestmark = pytest.mark.ros
FRONT, REAR = CAMERAS = ("front", "rear")
TOLERANCE, WAIT = 0.005, 0.2  # s
SLACK = 0.15  # s; a quarter of the wait between two looks, and a busy machine


@pytest.fixture
def received() -> list[tuple[float, Instant]]:
    """Instants with their times of arrival in the worker."""
    return []


@pytest.fixture
def node(received: list[tuple[float, Instant]], monkeypatch: pytest.MonkeyPatch) -> Iterator[PipelineNode]:
    with ros_context() as context:
        monkeypatch.setattr("rclpy.node.get_default_context", lambda *_: context)
        made = PipelineNode("camera_user", lambda instant: received.append((time.monotonic(), instant)))
        yield made
        made.destroy_node()


def delay_of(node: PipelineNode, received: list[tuple[float, Instant]], given: InstantInput, index: int) -> float:
    """Time from the image of the front camera to its instant [s]."""
    count, sent = len(received), time.monotonic()
    given.add(FRONT, index * 100_000_000, f"front {index}")
    spin_until(lambda: len(received) > count, node)
    at, instant = received[-1]
    assert instant == Instant({FRONT: f"front {index}"}, (REAR,))
    return at - sent


def test_a_missing_camera_delays_three_instants_by_the_wait(
    node: PipelineNode, received: list[tuple[float, Instant]]
) -> None:
    given = InstantInput(node, CAMERAS, TOLERANCE, WAIT)
    delays = [delay_of(node, received, given, index) for index in range(6)]
    assert all(WAIT <= delay <= WAIT + SLACK for delay in delays[:3]), delays
    assert all(delay <= SLACK for delay in delays[3:]), delays


def test_an_instant_that_is_whole_does_not_wait(node: PipelineNode, received: list[tuple[float, Instant]]) -> None:
    given = InstantInput(node, CAMERAS, TOLERANCE, 10.0)
    given.add(REAR, 3_000_000, "r")
    given.add(FRONT, 0, "f")
    spin_until(lambda: bool(received), node, timeout_s=2.0)
    assert received[0][1] == Instant({FRONT: "f", REAR: "r"}, ())


def test_the_only_camera_does_not_wait(node: PipelineNode, received: list[tuple[float, Instant]]) -> None:
    given = InstantInput(node, ("",), TOLERANCE, 10.0)
    given.add("", 0, "a")
    given.add("", 1, "b")
    spin_until(lambda: bool(received), node, timeout_s=2.0)
    assert received[-1][1].missing == ()


def test_after_a_jump_back_earlier_stamps_count_again(
    node: PipelineNode, received: list[tuple[float, Instant]]
) -> None:
    given = InstantInput(node, CAMERAS, TOLERANCE, 10.0)
    for camera in CAMERAS:
        given.add(camera, 1_000_000_000, "new")
    spin_until(lambda: len(received) == 1, node, timeout_s=2.0)
    given.reset()
    for camera in CAMERAS:
        given.add(camera, 0, "old")
    spin_until(lambda: len(received) == 2, node, timeout_s=2.0)
    assert received[-1][1].items == {FRONT: "old", REAR: "old"}
