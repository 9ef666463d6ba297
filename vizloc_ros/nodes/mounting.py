"""Where the camera sits on the vehicle; never a guess."""

from __future__ import annotations

from typing import Any

from pycolmap import Rigid3d

from vizloc_ros.errors import RosError
from vizloc_ros.nodes.diagnostics import Level
from vizloc_ros.nodes.static_transforms import StaticTransforms


class Mounting:
    """The camera's place, from a parameter or from ``/tf_static``."""

    def __init__(self, node: Any, base_frame: str, fixed: Rigid3d | None) -> None:
        self._base, self._fixed = base_frame, fixed
        self._transforms = StaticTransforms(node, lambda message: node.diagnostics.report(Level.WARN, message))

    def base_from_cam(self, camera_frame: str) -> Rigid3d:
        """The camera's optical frame in the base frame. Raises ``RosError`` while it is not known."""
        base_from_cam = self._fixed or self._transforms.lookup(self._base, camera_frame)
        if base_from_cam is None:
            raise RosError(
                f"no transform {self._base} -> {camera_frame} on /tf_static, so the pose of {self._base} is not known: "
                "publish it (static_transform_publisher, URDF), or set the parameter base_from_cam"
            )
        return base_from_cam
