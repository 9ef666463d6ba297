"""Recorder of the nodes' output, for replays and tests: poses with their arrival times, and diagnostics."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from pycolmap import Rigid3d
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String

from vizloc_ros.errors import RosError
from vizloc_ros.replay.reasons import Reasons
from vizloc_ros.ros.diagnostics import node_of
from vizloc_ros.ros.messages import pose_from_msg, stamp_to_ns
from vizloc_ros.ros.qos import DIAGNOSTICS, FEATURES, POSE, STATE


@dataclass(frozen=True)
class ReceivedPose:
    """Pose map_from_base, and the ``time.monotonic_ns()`` of its arrival."""

    map_from_base: Rigid3d
    monotonic_ns: int


class Recorder(Node):
    """Node that records every pose by its stamp [ns], and the newest diagnostic status of every node.

    Attributes:
        poses: poses of the localizer.
        tracked: poses of the tracker.
        states: (``time.monotonic_ns()``, state) of the tracker at every change.
        extracted: stamps of the images whose features were published [ns].
        statuses: newest status by node.
        messages: every (node, level, message) that was not OK.
        reasons: the same, counted by images that failed.
    """

    def __init__(self, name: str = "vizloc_recorder", **options: Any) -> None:
        super().__init__(name, **options)
        self.poses: dict[int, ReceivedPose] = {}
        self.tracked: dict[int, ReceivedPose] = {}
        self.states: list[tuple[int, str]] = []
        self.extracted: set[int] = set()
        self.statuses: dict[str, DiagnosticStatus] = {}
        self.messages: list[tuple[str, int, str]] = []
        self.reasons = Reasons()
        for topic, poses in (("localization/pose", self.poses), ("pose", self.tracked)):
            self.create_subscription(PoseWithCovarianceStamped, topic, partial(_keep, poses), POSE)
        self.create_subscription(String, "tracker/state", self._on_state, STATE)
        self.create_subscription(CameraInfo, "features/camera_info", self._on_features, FEATURES)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, DIAGNOSTICS)

    def value(self, node: str, key: str) -> float | None:
        """Number in a node's newest diagnostics; None if there is none."""
        status = self.statuses.get(node)
        text = next((pair.value for pair in status.values if pair.key == key), None) if status else None
        try:
            return None if text is None else float(text)
        except ValueError:
            return None

    def count(self, node: str, key: str) -> int:
        """Count in a node's newest diagnostics; 0 if there is none."""
        return int(self.value(node, key) or 0)

    def timings(self) -> dict[str, dict[str, float]]:
        """Timings {stage: {"p50", "p99"}} of all nodes [ms]."""
        stages: dict[str, dict[str, float]] = {}
        for status in self.statuses.values():
            for pair in status.values:
                for percentile in ("p50", "p99"):
                    if pair.key.endswith(suffix := f"_{percentile}_ms"):
                        stages.setdefault(pair.key.removesuffix(suffix), {})[percentile] = float(pair.value)
        return stages

    def forget_problems(self) -> None:
        """Forget all messages and reasons so far."""
        self.messages.clear()
        self.reasons.clear()

    def _on_state(self, msg: String) -> None:
        if not self.states or self.states[-1][1] != msg.data:
            self.states.append((time.monotonic_ns(), msg.data))

    def _on_features(self, msg: CameraInfo) -> None:
        self.extracted.add(stamp_to_ns(msg.header.stamp))

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            self.statuses[node_of(status)] = status
            self.reasons.add(status)
            level = int.from_bytes(status.level, "little")
            if level:
                self.messages.append((node_of(status), level, status.message))


def _keep(poses: dict[int, ReceivedPose], msg: PoseWithCovarianceStamped) -> None:
    with suppress(RosError):  # of someone else on the topic: the nodes publish no pose that is none
        poses[stamp_to_ns(msg.header.stamp)] = ReceivedPose(pose_from_msg(msg.pose.pose), time.monotonic_ns())
