"""Rest of the feature node while the tracker tracks or begins a track.

While it tracks, one image passes in a period of the stamps, the same for all cameras.
"""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vizloc_ros.pixloc.tracking import TrackerState
from vizloc_ros.ros import frame_throttle
from vizloc_ros.ros.frame_throttle import FrameThrottle
from vizloc_ros.ros.messages import header_of, stamp_to_ns

pytestmark = pytest.mark.ros


class Node:
    """Node that keeps the stamps of submitted images, and its subscriptions."""

    def __init__(self) -> None:
        self.submitted: list[int] = []
        self.diagnostics = SimpleNamespace(count=lambda *_: None)
        self.callbacks: dict[str, Any] = {}

    def submit(self, msg: Image) -> None:
        self.submitted.append(stamp_to_ns(msg.header.stamp))

    def create_subscription(self, _type: Any, topic: str, callback: Any, _profile: Any) -> None:
        self.callbacks[topic] = callback

    def say(self, state: str) -> None:
        self.callbacks["tracker/state"](String(data=state))

    def localize(self, stamp_ns: int) -> None:
        self.callbacks["localization/pose"](PoseWithCovarianceStamped(header=header_of(stamp_ns, "map")))


def passed(period: float, begin_ns: int, count: int, state: str = TrackerState.TRACKING.value) -> list[int]:
    """Stamps of those of ``count`` images at 10 Hz that pass."""
    node = Node()
    throttle = FrameThrottle(node, period)  # type: ignore[arg-type]
    for index in range(count):
        node.say(state)
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


def begun(
    monkeypatch: pytest.MonkeyPatch, period: float, *, tracker: bool = True, count: int = 30, ahead_ns: int = 0
) -> list[int]:
    """Numbers of those images at 30 Hz that pass, each localized before the fourth one after it arrives.

    The stamp of the localization is ``ahead_ns`` ahead, as of another camera of a rig.
    """
    now_ns, node = 10**12, Node()
    monkeypatch.setattr(frame_throttle.time, "monotonic_ns", lambda: now_ns)
    throttle = FrameThrottle(node, period)  # type: ignore[arg-type]
    for index in range(count):
        if tracker:
            node.say(TrackerState.NOT_LOCALIZED.value)
        if index >= 3 and node.submitted[-1] > 10**9 + (index - 4) * 33_000_000:
            node.localize(10**9 + (index - 3) * 33_000_000 + ahead_ns)
        throttle.submit_if_due(Image(header=header_of(10**9 + index * 33_000_000, "camera")))
        now_ns += 33_000_000
    return [(stamp - 10**9) // 33_000_000 for stamp in node.submitted]


def test_the_tracker_has_the_cores_while_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    for ahead_ns in (0, 15_000_000):
        passing = begun(monkeypatch, 3.0, count=50, ahead_ns=ahead_ns)
        assert passing[:3] == [0, 1, 2]
        assert 14 <= passing[3] <= 16  # 0.4 s after it has heard of the first pose
        assert passing[4:] == list(range(passing[3] + 1, 50))  # and then all for two seconds, whatever is localized


def test_without_a_tracker_or_a_period_all_images_are_localized(monkeypatch: pytest.MonkeyPatch) -> None:
    assert begun(monkeypatch, 3.0, tracker=False) == list(range(30))
    assert begun(monkeypatch, 0.0) == list(range(30))


def test_a_localization_that_nothing_follows_lets_the_next_image_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fast localizer has no other image on its way; the track needs a second one."""
    node = Node()
    monkeypatch.setattr(frame_throttle.time, "monotonic_ns", lambda: 10**12)
    throttle = FrameThrottle(node, 3.0)  # type: ignore[arg-type]
    for index in range(6):
        node.say(TrackerState.NOT_LOCALIZED.value)
        throttle.submit_if_due(Image(header=header_of(10**9 + index * 100_000_000, "camera")))
        if index == 0:
            node.localize(10**9)
    assert node.submitted == [10**9, 10**9 + 100_000_000]
