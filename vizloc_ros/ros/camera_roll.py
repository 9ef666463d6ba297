"""Roll of the camera for each image of a node: fixed, by its mounting on the vehicle, or by trying."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from std_msgs.msg import Header

from vizloc_ros.geometry.quarter_turns import AUTO, Roll
from vizloc_ros.localization.roll_search import RollSearch
from vizloc_ros.ros.extrinsics import CameraExtrinsics
from vizloc_ros.ros.messages import stamp_to_ns
from vizloc_ros.ros.node_options import MOUNTING, HfnetOptions
from vizloc_ros.ros.qos import POSE

_MAX_PENDING = 100  # images whose pose may still come


class CameraRoll:
    """Choice of the roll with which an image is turned upright.

    ``mounting`` tries rolls only if the camera is mounted sideways or upside down, ``auto`` always. The roll of the
    last image for which the localizer has published a pose stays.
    """

    def __init__(self, node: Any, options: HfnetOptions) -> None:
        """Read the option, and subscribe to what the choice needs: poses of the localizer, ``/tf_static``."""
        self._option, self._search = options.roll, RollSearch()
        self._pending: OrderedDict[int, Roll] = OrderedDict()
        self._lock = threading.Lock()  # images come in the worker, poses in the executor's thread
        if self._searches:
            self._extrinsics = CameraExtrinsics(node, options.base_frame, options.fixed_base_from_cam)
            node.create_subscription(PoseWithCovarianceStamped, "localization/pose", self._on_pose, POSE)

    @property
    def _searches(self) -> bool:
        return self._option in (AUTO, MOUNTING)

    def choose(self, image: Header) -> Roll:
        """Choose the roll for an image with that header."""
        if not self._searches:
            return Roll(self._option)
        base_from_cam = self._extrinsics.find(image.frame_id)
        mounting = Roll.NONE if base_from_cam is None else Roll.of_mounting(base_from_cam)
        if self._option == MOUNTING and mounting is Roll.NONE:
            return Roll.NONE
        with self._lock:
            roll = self._search.choose(likely=mounting)
            self._pending[stamp_to_ns(image.stamp)] = roll
            if len(self._pending) > _MAX_PENDING:
                self._pending.popitem(last=False)
        return roll

    def _on_pose(self, msg: PoseWithCovarianceStamped) -> None:
        with self._lock:
            roll = self._pending.pop(stamp_to_ns(msg.header.stamp), None)
            if roll is not None:
                self._search.found(roll)
