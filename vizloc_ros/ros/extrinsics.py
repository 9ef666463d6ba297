"""Camera extrinsics base_from_cam: from a parameter, or through the static transforms of ``/tf_static``; no default."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from geometry_msgs.msg import TransformStamped
from pycolmap import Rigid3d

from vizloc_ros.errors import RosError
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.transform_tree import TransformTree
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.qos import TF_STATIC
from vizloc_ros.ros.subscriptions import subscribe_to_either
from vizloc_ros.wording import name_text

_MOVED_M, _TURNED_DEG = 0.001, 0.05  # more than the rounding of a file


class StaticTransforms:
    """Subscription to ``/tf_static``; ``on_problem`` receives a message for each transform that cannot be used."""

    def __init__(self, node: Any, on_problem: Callable[[str], None]) -> None:
        self._tree = TransformTree()
        self._on_problem = on_problem
        subscribe_to_either(node, tf_message_type(), "/tf_static", self._on_message, TF_STATIC)

    def lookup(self, parent: str, child: str) -> Rigid3d | None:
        """Pose parent_from_child along the chain of static transforms; None if the frames are not connected (yet)."""
        return self._tree.lookup(parent, child)

    def _on_message(self, msg: Any) -> None:
        transforms: Iterable[TransformStamped] = msg.transforms
        for transform in transforms:
            try:
                self._tree.add(transform)
            except RosError as error:
                self._on_problem(str(error))


def tf_message_type() -> Any:
    """Class of ``tf2_msgs/TFMessage``. Raises ``RosError`` if it is not installed: it is not on PyPI."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError as error:
        raise RosError("tf2_msgs is not installed: see the installation notes, or apt's ros-*-tf2-msgs") from error
    return TFMessage


class CameraExtrinsics:
    """Pose of the camera on the vehicle: the fixed one of a parameter, else that of ``/tf_static``.

    One that changes there is followed, as tf2 does, and named.
    """

    def __init__(self, node: Any, base_frame: str, fixed: Rigid3d | None) -> None:
        self._node, self._base, self._fixed = node, base_frame, fixed
        self._used: tuple[str, Rigid3d] | None = None  # the last frame of a camera, and its pose
        self._transforms = StaticTransforms(node, lambda message: node.diagnostics.report(Level.WARN, message))

    def find(self, camera_frame: str) -> Rigid3d | None:
        """Pose of the camera's optical frame in the base frame; None while there is no transform."""
        return self._fixed or self._transforms.lookup(self._base, camera_frame)

    def base_from_cam(self, camera_frame: str) -> Rigid3d:
        """Pose of the camera's optical frame in the base frame. Raises ``RosError`` while there is no transform."""
        base_from_cam = self.find(camera_frame)
        if base_from_cam is None:
            remedy = "publish it (static_transform_publisher, URDF)"
            if not camera_frame:
                remedy = "images and camera_info have no frame_id: give the driver one"
            raise RosError(
                f"no transform {self._base} -> {name_text(camera_frame)} on /tf_static, so the pose of {self._base} is "
                f"not known: {remedy}, or set the parameter base_from_cam"
            )
        self._name_move(camera_frame, base_from_cam)
        return base_from_cam

    def _name_move(self, camera_frame: str, base_from_cam: Rigid3d) -> None:
        before, self._used = self._used, (camera_frame, base_from_cam)
        if before is None or before[0] != camera_frame:
            return
        moved_m, turned_deg = pose_error(before[1], base_from_cam)
        if moved_m > _MOVED_M or turned_deg > _TURNED_DEG:
            text = (
                f"transform {self._base} -> {camera_frame} on /tf_static has moved by {moved_m:.3f} m, "
                f"{turned_deg:.2f} deg; poses follow it from now on. Do two nodes publish it? "
                "A mount that moves is not supported"
            )
            self._node.diagnostics.notice(text)
            self._node.get_logger().warning(text)
