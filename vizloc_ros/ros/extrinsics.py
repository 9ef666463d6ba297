"""Camera extrinsics base_from_cam: from a parameter, or through the static transforms of ``/tf_static``; no default."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from geometry_msgs.msg import TransformStamped
from pycolmap import Rigid3d

from vizloc_ros.errors import RosError
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.messages import transform_from_msg
from vizloc_ros.ros.qos import TF_STATIC
from vizloc_ros.ros.subscriptions import subscribe_to_either
from vizloc_ros.wording import name_text


class TransformTree:
    """Tree of static transforms: every frame has at most one parent. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parents: dict[str, tuple[str, Rigid3d]] = {}

    def add(self, transform: TransformStamped) -> None:
        """Add a transform, or replace the one of the same child. Raises ``RosError`` if it cannot be used."""
        parent, child = _frame(transform.header.frame_id), _frame(transform.child_frame_id)
        if not parent or not child or parent == child:
            raise RosError(
                f"transform '{name_text(parent)}' -> '{name_text(child)}' ignored: it needs two different frames"
            )
        try:
            parent_from_child = transform_from_msg(transform.transform)
        except RosError as error:
            raise RosError(f"transform '{parent}' -> '{child}' ignored: {error}") from error
        with self._lock:
            self._parents[child] = (parent, parent_from_child)

    def lookup(self, parent: str, child: str) -> Rigid3d | None:
        """Pose parent_from_child along the chain of transforms, up and down; None if the frames are not connected."""
        with self._lock:
            from_parent, from_child = self._ancestors(_frame(parent)), self._ancestors(_frame(child))
        for ancestor, ancestor_from_child in from_child.items():
            if ancestor in from_parent:
                return from_parent[ancestor].inverse() * ancestor_from_child
        return None

    def _ancestors(self, frame: str) -> dict[str, Rigid3d]:
        """Poses ancestor_from_frame of the frame itself and of all frames above it, nearest first."""
        ancestors: dict[str, Rigid3d] = {}
        ancestor_from_frame = Rigid3d()
        while frame not in ancestors:  # also ends a loop, which tf forbids
            ancestors[frame] = ancestor_from_frame
            if frame not in self._parents:
                break
            frame, parent_from_child = self._parents[frame]
            ancestor_from_frame = parent_from_child * ancestor_from_frame
        return ancestors


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


def _frame(name: str) -> str:
    return name.lstrip("/")  # tf1 wrote '/base_link'


class CameraExtrinsics:
    """Pose of the camera on the vehicle: the fixed one of a parameter, else that of ``/tf_static``."""

    def __init__(self, node: Any, base_frame: str, fixed: Rigid3d | None) -> None:
        self._base, self._fixed = base_frame, fixed
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
        return base_from_cam
