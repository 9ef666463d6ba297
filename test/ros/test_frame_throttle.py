"""Rest of the feature node while the tracker tracks: one image in a period of the stamps, the same for all cameras."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vizloc_ros.pixloc.tracking import TrackerState
from vizloc_ros.ros.frame_throttle import FrameThrottle
from vizloc_ros.ros.messages import header_of, stamp_to_ns

pytestmark = pytest.mark.ros


class Node:
    """Node that keeps the stamps of submitted images, and its subscription to the tracker's state."""

    def __init__(self) -> None:
        self.submitted: list[int] = []
        self.diagnostics = SimpleNamespace(count=lambda *_: None)
        self.say: Any = None

    def submit(self, msg: Image) -> None:
        self.submitted.append(stamp_to_ns(msg.header.stamp))

    def create_subscription(self, _type: Any, _topic: str, callback: Any, _profile: Any) -> None:
        self.say = callback


def passed(period: float, begin_ns: int, count: int, state: str = TrackerState.TRACKING.value) -> list[int]:
    """Stamps of those of ``count`` images at 10 Hz that pass."""
    node = Node()
    throttle = FrameThrottle(node, period)  # type: ignore[arg-type]
    for index in range(count):
        node.say(String(data=state))
        throttle.submit_if_due(Image(header=header_of(begin_ns + index * 100_000_000, "camera")))
    return node.submitted


def test_one_image_passes_in_a_period() -> None:
    stamps = passed(3.0, 1_000_000_000_000, 100)
    assert 3 <= len(stamps) <= 5
    assert {later - earlier for earlier, later in pairwise(stamps[1:])} == {3_000_000_000}


def test_cameras_pass_images_of_the_same_instants_whenever_they_began() -> None:
    first, second = passed(3.0, 1_000_000_000_000, 150), passed(3.0, 1_004_300_000_000, 107)
    assert first[-3:] == second[-3:]


@pytest.mark.parametrize(
    ("period", "state"), [(0.0, TrackerState.TRACKING.value), (3.0, TrackerState.LOST.value), (3.0, "")]
)
def test_all_images_pass_without_a_period_or_a_track(period: float, state: str) -> None:
    assert len(passed(period, 1_000_000_000_000, 20, state)) == 20


def test_none_passes_while_the_camera_is_frozen() -> None:
    assert passed(3.0, 1_000_000_000_000, 20, TrackerState.FROZEN.value) == []
