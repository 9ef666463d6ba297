"""Gyroscope of the vehicle or of the camera: angular rates (sensor_msgs/Imu), summed up to turns between images."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d, Rotation3d
from sensor_msgs.msg import Imu

from vizloc_ros.arrays import Float64
from vizloc_ros.errors import RosError
from vizloc_ros.geometry.se3 import so3_exp
from vizloc_ros.pixloc.gyroscope import Attitude
from vizloc_ros.ros.messages import stamp_to_ns
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import RATES
from vizloc_ros.ros.stamp_guard import RESET_AFTER_NS
from vizloc_ros.timing import NANOSECONDS
from vizloc_ros.wording import name_text, numbers_text

_MAX_GAP_NS = 100_000_000  # between two messages, over which a rate is interpolated
_MAX_RATE = 100.0  # rad/s; more than any gyroscope measures
_MISSING_AFTER = 30  # images without a turn, before that is said
_FROM_BASE = Callable[[str], Rigid3d | None]  # pose of a frame in the base frame


@dataclass(frozen=True)
class _Sample:
    """One message: its time, the rate (3,) [rad/s], and the rotation start_from_imu that the rates until then give."""

    stamp_ns: int
    rate: Float64
    start_from_imu: Rotation3d
    run: int


class GyroscopeBuffer:
    """Buffer of the last rates, in the frame of the IMU, with the attitudes that they give. Thread-safe.

    A rate is interpolated between two messages, and its mean over the time is the rotation vector of the turn. So a
    constant rate gives the exact turn. After a gap of more than 0.1 s, and in another frame, a new run begins: there is
    no turn from one to the other.

    Attributes:
        frame: name of the IMU's frame.
    """

    def __init__(self, length: int = 4000) -> None:
        self._samples: deque[_Sample] = deque(maxlen=length)
        self._lock = threading.Lock()
        self._run = 0
        self.frame = ""

    def add(self, msg: Imu) -> None:
        """Add the next message. One out of order is ignored; one a second older than the newest empties the buffer.

        Raises ``RosError`` for a message without a rate, and for one that is none.
        """
        stamp, rate = stamp_to_ns(msg.header.stamp), _rate_of(msg)
        with self._lock:
            last = self._samples[-1] if self._samples else None
            if last is not None and stamp <= last.stamp_ns:
                if last.stamp_ns - stamp < RESET_AFTER_NS:
                    return
                self._samples.clear()
                last = None
            if msg.header.frame_id != self.frame:
                self._samples.clear()
                last, self.frame = None, msg.header.frame_id
            if last is None or stamp - last.stamp_ns > _MAX_GAP_NS:
                self._run += 1
                self._samples.append(_Sample(stamp, rate, Rotation3d(), self._run))
            else:
                turned = _turned(last, 0.5 * (last.rate + rate), stamp)
                self._samples.append(_Sample(stamp, rate, turned, self._run))

    def at(self, stamp_ns: int) -> Attitude | None:
        """Attitude of the IMU at a time; None outside of the buffered rates, and in a gap.

        The newest rate is kept for as long as the time between the last two messages: that of an image may be on its
        way.
        """
        with self._lock:
            samples = list(self._samples)
        after = bisect_right(samples, stamp_ns, key=lambda sample: sample.stamp_ns)
        if after == 0:
            return None
        before = samples[after - 1]
        if stamp_ns == before.stamp_ns:
            rate = before.rate
        elif after < len(samples):
            following = samples[after]
            if following.run != before.run:
                return None
            ratio = (stamp_ns - before.stamp_ns) / (following.stamp_ns - before.stamp_ns)
            rate = before.rate + 0.5 * ratio * (following.rate - before.rate)  # mean until then
        else:
            earlier = samples[after - 2] if after > 1 else before
            period_ns = before.stamp_ns - earlier.stamp_ns if earlier.run == before.run else 0
            if stamp_ns - before.stamp_ns > period_ns:
                return None
            rate = before.rate
        return Attitude(_turned(before, rate, stamp_ns), before.run)

    def turn_between(self, start_ns: int, end_ns: int) -> Rotation3d | None:
        """Rotation start_from_end of the IMU between two times; None if there are no rates, or not without a gap."""
        start, end = self.at(start_ns), self.at(end_ns)
        return None if start is None or end is None else start.turn_to(end)


class GyroscopeInput:
    """Attitudes of the rig by the messages on ``imu``; what keeps them from being used is reported."""

    def __init__(self, node: PipelineNode) -> None:
        self._node, self.gyroscope = node, GyroscopeBuffer()
        self._topic = node.resolve_topic_name("imu")
        self._missing = 0  # images in a row
        node.create_subscription(Imu, "imu", self._on_message, RATES)

    def attitude(self, stamp_ns: int, base_from_rig: Rigid3d, base_from: _FROM_BASE) -> Attitude | None:
        """Attitude of the rig at the time of an image, up to the rotation at the start; None if it is not known.

        Args:
            stamp_ns: time of the image.
            base_from_rig: pose of the rig on the vehicle.
            base_from: pose of a frame on the vehicle by its name; None where there is no transform.
        """
        attitude, frame = self.gyroscope.at(stamp_ns), self.gyroscope.frame
        if attitude is None:
            self._missing += 1
            if self._missing >= _MISSING_AFTER:
                self._node.diagnostics.notice(
                    f"no angular rates on {self._topic} of the times of the last {_MISSING_AFTER} images: does an IMU "
                    "send them, and are its stamps and the images' of one clock?"
                )
            return None
        self._missing = 0
        base_from_imu = base_from(frame) if frame else None
        if base_from_imu is None:
            remedy = "publish it (static_transform_publisher, URDF)" if frame else "give its driver a frame_id"
            self._node.diagnostics.notice(
                f"the rates on {self._topic} are not used: there is no transform of the IMU's frame "
                f"'{name_text(frame)}' to the base frame on /tf_static: {remedy}"
            )
            return None
        imu_from_rig = base_from_imu.rotation.inverse() * base_from_rig.rotation
        return Attitude(attitude.start_from_cam * imu_from_rig, attitude.run)

    def _on_message(self, msg: Imu) -> None:
        try:
            self.gyroscope.add(msg)
        except RosError as error:
            self._node.diagnostics.notice(f"{self._topic}: {error}")


def _rate_of(msg: Imu) -> Float64:
    """Angular rate (3,) of a message [rad/s]. Raises ``RosError`` if it has none."""
    if msg.angular_velocity_covariance[0] == -1:
        raise RosError(
            "its messages have no angular rates (angular_velocity_covariance[0] is -1): remap imu to a topic that has "
            "them, or set use_imu to false"
        )
    velocity = msg.angular_velocity
    rate = np.array([velocity.x, velocity.y, velocity.z])
    if not (np.abs(rate) <= _MAX_RATE).all():
        raise RosError(
            f"angular rate {numbers_text(rate)} ignored: it must be finite and at most {_MAX_RATE:.0f} rad/s; is it in "
            "rad/s?"
        )
    return rate


def _turned(sample: _Sample, rate: Float64, stamp_ns: int) -> Rotation3d:
    """Rotation start_from_imu after a turn with a mean rate since a message."""
    seconds = (stamp_ns - sample.stamp_ns) / NANOSECONDS
    turned = sample.start_from_imu * so3_exp(rate * seconds)
    turned.normalize()  # a sum of millions of turns
    return turned
