"""Input of the localizer: features and candidates of each camera, joined by image, and by instant for a rig."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sensor_msgs.msg import CameraInfo, PointCloud2

from vizloc_ros.ros.instant_input import InstantInput
from vizloc_ros.ros.messages import stamp_to_ns
from vizloc_ros.ros.node_options import LocalizerOptions, topic_of
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import FEATURES
from vizloc_ros.ros.stamp_guard import StampGuard, Verdict
from vizloc_ros.ros.stamp_join import StampJoin

CHANNELS = ("features/camera_info", "features", "candidates")
Joined = tuple[CameraInfo, PointCloud2, PointCloud2]  # of one image, in the order of the channels


class LocalizerInput:
    """Subscriptions of the localizer, for one camera without a name or the cameras of a rig.

    An ``Instant`` of ``Joined`` messages goes to the node's worker.
    """

    def __init__(
        self,
        node: PipelineNode,
        options: LocalizerOptions,
        on_jump: Callable[[], None],
        on_candidates: Callable[[PointCloud2], None],
    ) -> None:
        """Subscribe the node.

        Args:
            node: the node.
            options: its options.
            on_jump: called when the time has jumped back.
            on_candidates: sees every message with candidates, joined or not.
        """
        self._node, self._on_jump, self._on_candidates = node, on_jump, on_candidates
        self._cameras = options.cameras or ("",)
        self._stamps = {camera: StampGuard() for camera in self._cameras}
        self._joins = {camera: StampJoin(CHANNELS) for camera in self._cameras}
        self._rig = InstantInput(node, self._cameras, options.camera_tolerance, options.camera_wait)
        for camera in self._cameras:
            for channel, kind in zip(CHANNELS, (CameraInfo, PointCloud2, PointCloud2), strict=True):
                node.create_subscription(kind, topic_of(camera, channel), self.receiver(camera, channel), FEATURES)

    def receiver(self, camera: str, channel: str) -> Callable[[Any], None]:
        """Receiver of the messages of a camera on a channel."""
        join = self._joins[camera]

        def receive(msg: Any) -> None:
            stamp = stamp_to_ns(msg.header.stamp)
            # For the join alone: hfnet has dropped and reported images out of order. The first of its two messages
            # reveals a jump; candidates do not, they may be late ones from before it.
            if channel != "candidates" and self._stamps[camera].check(stamp).verdict is Verdict.JUMPED_BACK:
                join.reset()
                self._rig.reset()
                self._on_jump()
            if channel == "candidates":
                self._on_candidates(msg)
            joined = join.add(channel, stamp, msg)
            for name, count in join.dropped.items():
                self._node.diagnostics.set_value(f"without_{topic_of(camera, name)}", count)
            if joined is not None:
                self._rig.add(camera, stamp, joined)

        return receive

    def reset(self) -> None:
        """Forget the messages before."""
        for join in self._joins.values():
            join.reset()
        self._rig.reset()
