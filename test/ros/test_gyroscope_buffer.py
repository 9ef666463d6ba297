"""Turns by the angular rates of sensor_msgs/Imu: exact at a constant rate, and none where rates are missing."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycolmap import Rigid3d, Rotation3d
from sensor_msgs.msg import Imu

from vizloc_ros.errors import RosError
from vizloc_ros.geometry.se3 import so3_exp
from vizloc_ros.ros.gyroscope_buffer import GyroscopeBuffer, GyroscopeInput
from vizloc_ros.ros.messages import header_of

pytestmark = pytest.mark.ros
START_NS, PERIOD_NS = 10**12, 5_000_000  # 200 Hz
RATE = np.array([0.3, -1.0, 0.2])  # rad/s
rates = st.lists(st.floats(-10, 10), min_size=3, max_size=3).map(np.array)


def message(stamp_ns: int, rate: np.ndarray = RATE, frame: str = "imu_link") -> Imu:
    msg = Imu(header=header_of(stamp_ns, frame))
    msg.angular_velocity.x, msg.angular_velocity.y, msg.angular_velocity.z = map(float, rate)
    return msg


def filled(seconds: float = 1.0, rate_at: Callable[[float], np.ndarray] = lambda t: RATE) -> GyroscopeBuffer:
    gyroscope = GyroscopeBuffer()
    for stamp in range(0, round(seconds * 1e9) + 1, PERIOD_NS):
        gyroscope.add(message(START_NS + stamp, rate_at(stamp * 1e-9)))
    return gyroscope


def degrees_apart(one: Rotation3d | None, other: Rotation3d) -> float:
    assert one is not None
    return float(np.degrees((one.inverse() * other).angle()))


@given(rates, st.integers(0, 300_000_000), st.integers(0, 300_000_000))
def test_a_constant_rate_gives_the_exact_turn(rate: np.ndarray, start_ns: int, end_ns: int) -> None:
    turn = filled(0.3, lambda t: rate).turn_between(START_NS + start_ns, START_NS + end_ns)
    assert degrees_apart(turn, so3_exp(rate * (end_ns - start_ns) * 1e-9)) < 1e-5


@given(st.floats(0.0, 0.49), st.floats(0.0, 0.49))
def test_a_rate_that_grows_is_interpolated_between_messages(start: float, end: float) -> None:
    """About one axis, a rate that is linear in time gives a turn that is its square."""
    gyroscope = filled(0.5, lambda t: np.array([0.0, 8.0 * t, 0.0]))
    turn = gyroscope.turn_between(START_NS + round(start * 1e9), START_NS + round(end * 1e9))
    assert degrees_apart(turn, so3_exp(np.array([0.0, 4.0 * (end**2 - start**2), 0.0]))) < 1e-4


def test_turns_about_changing_axes_are_summed_up() -> None:
    def rate_at(t: float) -> np.ndarray:
        return np.array([np.sin(7 * t), np.cos(5 * t), 0.5])

    expected = Rotation3d()
    for k in range(10_000):
        expected = expected * so3_exp(rate_at((k + 0.5) * 1e-4) * 1e-4)
    assert degrees_apart(filled(1.0, rate_at).turn_between(START_NS, START_NS + 10**9), expected) < 0.01


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "known"), [(-1, 500, False), (0, 1000, True), (0, 1005, True), (0, 1006, False)]
)
def test_a_turn_is_extrapolated_by_one_period_at_most(start_ms: int, end_ms: int, known: bool) -> None:
    turn = filled().turn_between(START_NS + start_ms * 1_000_000, START_NS + end_ms * 1_000_000)
    assert (turn is not None) is known


@pytest.mark.parametrize(("gap_ms", "known"), [(50, True), (100, True), (101, False), (900, False)])
def test_there_is_no_turn_over_a_gap(gap_ms: int, known: bool) -> None:
    gyroscope, after_ns = filled(), START_NS + 10**9 + gap_ms * 1_000_000
    for k in range(5):
        gyroscope.add(message(after_ns + k * PERIOD_NS))
    turn = gyroscope.turn_between(START_NS + 900_000_000, after_ns + PERIOD_NS)
    assert (turn is not None) is known
    assert (gyroscope.at(after_ns - 20_000_000) is not None) is known
    assert gyroscope.turn_between(after_ns, after_ns + PERIOD_NS) is not None


def test_one_message_is_for_its_own_time_and_an_empty_buffer_for_none() -> None:
    gyroscope = GyroscopeBuffer()
    assert gyroscope.at(START_NS) is None
    gyroscope.add(message(START_NS))
    assert gyroscope.at(START_NS) is not None
    assert gyroscope.at(START_NS + 1) is None


@pytest.mark.parametrize("back_ms", [0, 3, 999])
def test_what_comes_twice_or_late_changes_nothing(back_ms: int) -> None:
    gyroscope, other = filled(), filled()
    gyroscope.add(message(START_NS + 10**9 - back_ms * 1_000_000, 5 * RATE))
    interval = START_NS + 100_000_000, START_NS + 10**9
    assert degrees_apart(gyroscope.turn_between(*interval), other.turn_between(*interval) or Rotation3d()) == 0


def test_a_clock_that_jumps_back_and_another_frame_begin_anew() -> None:
    gyroscope = filled()
    gyroscope.add(message(START_NS - 10**9))
    assert gyroscope.at(START_NS) is None
    gyroscope.add(message(START_NS - 10**9 + PERIOD_NS))
    assert gyroscope.turn_between(START_NS - 10**9, START_NS - 10**9 + PERIOD_NS) is not None
    gyroscope.add(message(START_NS - 10**9 + 2 * PERIOD_NS, frame="other_link"))
    assert gyroscope.frame == "other_link"
    assert gyroscope.turn_between(START_NS - 10**9, START_NS - 10**9 + 2 * PERIOD_NS) is None


def test_memory_is_bounded() -> None:
    gyroscope = GyroscopeBuffer(length=10)
    for k in range(100):
        gyroscope.add(message(START_NS + k * PERIOD_NS))
    assert gyroscope.at(START_NS + 89 * PERIOD_NS) is None
    assert gyroscope.at(START_NS + 90 * PERIOD_NS) is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e300, 101.0])
def test_what_is_no_rate_is_refused(value: float) -> None:
    with pytest.raises(RosError, match="is it in rad/s"):
        filled().add(message(START_NS + 2 * 10**9, np.array([0.0, value, 0.0])))


class _Node:
    """A node with diagnostics that keep what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.diagnostics = SimpleNamespace(
            notice=self.said.append, report=lambda level, message: self.said.append(message)
        )

    def resolve_topic_name(self, name: str) -> str:
        return f"/robot/{name}"

    def create_subscription(self, kind: Any, topic: str, callback: Callable[[Any], None], qos: Any) -> None:
        assert (kind, topic) == (Imu, "imu")
        self.send = callback


BASE_FROM_IMU = Rigid3d(so3_exp(np.array([0.1, 2.0, -0.4])), np.ones(3))
BASE_FROM_RIG = Rigid3d(so3_exp(np.array([-1.2, 0.3, 1.1])), np.zeros(3))


def test_the_rig_turns_as_the_imu_on_it_does() -> None:
    node = _Node()
    given = GyroscopeInput(node)  # type: ignore[arg-type]
    for k in range(21):
        node.send(message(START_NS + k * PERIOD_NS))
    first, last = (given.attitude(START_NS + ns, BASE_FROM_RIG, lambda name: BASE_FROM_IMU) for ns in (0, 100_000_000))
    assert first is not None
    assert last is not None
    rig_from_imu = BASE_FROM_RIG.rotation.inverse() * BASE_FROM_IMU.rotation
    turn = rig_from_imu * so3_exp(0.1 * RATE) * rig_from_imu.inverse()
    assert degrees_apart(first.turn_to(last), turn) < 1e-5
    assert node.said == []


def test_an_imu_that_cannot_be_used_is_named() -> None:
    node = _Node()
    given = GyroscopeInput(node)  # type: ignore[arg-type]
    for _ in range(30):
        assert given.attitude(START_NS, BASE_FROM_RIG, lambda name: None) is None
    assert node.said.pop() == (
        "no angular rates on /robot/imu of the times of the last 30 images: does an IMU send them, and are its stamps "
        "and the images' of one clock?"
    )
    node.send(message(START_NS))
    assert given.attitude(START_NS, BASE_FROM_RIG, lambda name: None) is None
    assert "/robot/imu are not used: there is no transform of the IMU's frame 'imu_link'" in node.said.pop()
    node.send(message(START_NS + 1, frame=""))
    assert given.attitude(START_NS + 1, BASE_FROM_RIG, lambda name: BASE_FROM_IMU) is None
    assert "give its driver a frame_id" in node.said.pop()
    without = message(START_NS + 2, frame="")
    without.angular_velocity_covariance[0] = -1.0
    node.send(without)
    assert node.said.pop().startswith("/robot/imu: its messages have no angular rates")
    assert node.said == []
