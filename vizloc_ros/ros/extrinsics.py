"""Camera extrinsics base_from_cam: from a parameter, or through the transforms of ``/tf_static``; no default.

A mount that moves has its transforms on ``/tf``. That topic carries all that moves on a robot, so only nodes that are
told so subscribe to it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from geometry_msgs.msg import TransformStamped
from pycolmap import Rigid3d

from vizloc_ros.errors import RosError
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.transform_history import TransformHistory
from vizloc_ros.geometry.transform_tree import TransformTree
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.messages import stamp_to_ns
from vizloc_ros.ros.qos import TF, TF_STATIC
from vizloc_ros.ros.subscriptions import subscribe_to_either
from vizloc_ros.wording import name_text

_MOVED_M, _TURNED_DEG = 0.001, 0.05  # more than the rounding of a file
_MAX_CAMERAS = 32  # whose poses are remembered
_WAIT_S = 0.2  # for the transform of a mount, which may come after the image of its time


class StaticTransforms:
    """Subscription to ``/tf_static``; ``on_problem`` receives a message for each transform that cannot be used."""

    def __init__(self, node: Any, on_problem: Callable[[str], None]) -> None:
        self.tree = TransformTree()
        self._on_problem = on_problem
        subscribe_to_either(node, tf_message_type(), "/tf_static", self._on_message, TF_STATIC)

    def lookup(self, parent: str, child: str) -> Rigid3d | None:
        """Pose parent_from_child along the chain of static transforms; None if the frames are not connected (yet)."""
        return self.tree.lookup(parent, child)

    def _on_message(self, msg: Any) -> None:
        transforms: Iterable[TransformStamped] = msg.transforms
        for transform in transforms:
            try:
                self.tree.add(transform)
            except RosError as error:
                self._on_problem(str(error))


def tf_message_type() -> Any:
    """Class of ``tf2_msgs/TFMessage``. Raises ``RosError`` if it is not installed: it is not on PyPI."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError as error:
        raise RosError("tf2_msgs is not installed: see the installation notes, or apt's ros-*-tf2-msgs") from error
    return TFMessage


class MountTransforms:
    """Subscription to ``/tf``, for mounts that move below the static transforms."""

    def __init__(self, node: Any, static: TransformTree, on_problem: Callable[[str], None]) -> None:
        self._moving = TransformHistory(static)
        self._on_problem = on_problem
        self._came = threading.Condition()
        node.create_subscription(tf_message_type(), "/tf", self._on_message, TF)

    def wait_for(self, parent: str, child: str, stamp_ns: int) -> Rigid3d | None:
        """Pose parent_from_child at a time, waited for in a worker; None if it does not come."""
        with self._came:
            return self._came.wait_for(lambda: self._moving.lookup(parent, child, stamp_ns), _WAIT_S)

    def _on_message(self, msg: Any) -> None:
        with self._came:
            for transform in msg.transforms:
                try:
                    self._moving.add(transform, stamp_to_ns(transform.header.stamp))
                except RosError as error:
                    self._on_problem(str(error))
            self._came.notify_all()


class CameraExtrinsics:
    """Pose of the camera on the vehicle: the fixed one of a parameter, else that of ``/tf_static`` and ``/tf``.

    One that changes on ``/tf_static`` is followed, as tf2 does, and named.
    """

    def __init__(self, node: Any, base_frame: str, fixed: Rigid3d | None, *, moving: bool = False) -> None:
        def warn(message: str) -> None:
            node.diagnostics.report(Level.WARN, message)

        self._node, self._base, self._fixed = node, base_frame, fixed
        self._used: OrderedDict[str, Rigid3d] = OrderedDict()  # last poses by the frame of the camera
        self._transforms = StaticTransforms(node, warn)
        self._mount = MountTransforms(node, self._transforms.tree, warn) if moving and fixed is None else None

    def find(self, camera_frame: str) -> Rigid3d | None:
        """Pose of the camera's optical frame in the base frame; None while there is no transform, or if it moves."""
        return self._fixed or self._transforms.lookup(self._base, camera_frame)

    def of_sensor(self, frame: str) -> Rigid3d | None:
        """Pose of another sensor's frame in the base frame by ``/tf_static``; None while there is no transform."""
        return self._transforms.lookup(self._base, frame)

    def base_from_cam(self, camera_frame: str, stamp_ns: int) -> Rigid3d:
        """Pose of the camera's optical frame in the base frame, for a worker.

        Args:
            camera_frame: frame of the image.
            stamp_ns: time of the image, for a mount that moves.

        Raises:
            RosError: there is no transform (yet).
        """
        if (fixed := self.find(camera_frame)) is not None:
            self._name_move(camera_frame, fixed)
            return fixed
        if self._mount is None:
            raise self._missing(camera_frame, "/tf_static")
        moving = self._mount.wait_for(self._base, camera_frame, stamp_ns)
        if moving is None:
            raise self._missing(camera_frame, "/tf_static and /tf of the time of the image")
        return moving

    def _missing(self, camera_frame: str, where: str) -> RosError:
        remedy = "publish it (static_transform_publisher, URDF)"
        if not camera_frame:
            remedy = "images and camera_info have no frame_id: give the driver one"
        return RosError(
            f"no transform {self._base} -> {name_text(camera_frame)} on {where}, so the pose of {self._base} is "
            f"not known: {remedy}, or set the parameter base_from_cam, or moving_mount for a camera that moves on the "
            "vehicle"
        )

    def _name_move(self, camera_frame: str, base_from_cam: Rigid3d) -> None:
        before = self._used.pop(camera_frame, None)
        self._used[camera_frame] = base_from_cam
        if len(self._used) > _MAX_CAMERAS:
            self._used.popitem(last=False)
        if before is None:
            return
        moved_m, turned_deg = pose_error(before, base_from_cam)
        if moved_m > _MOVED_M or turned_deg > _TURNED_DEG:
            text = (
                f"transform {self._base} -> {camera_frame} on /tf_static has moved by {moved_m:.3f} m, "
                f"{turned_deg:.2f} deg; poses follow it from now on. Do two nodes publish it? "
                "A mount that moves belongs on /tf: set moving_mount"
            )
            self._node.diagnostics.notice(text)
            self._node.get_logger().warning(text)
