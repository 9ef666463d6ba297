"""Tree of static transforms, and poses of messages; nodes and bags read ``/tf_static`` here.

Messages are those of rclpy or of any other library: only their fields are used.
"""

import threading
from typing import Any

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.errors import RosError
from vizloc_ros.geometry.poses import pose_from_quaternion
from vizloc_ros.wording import name_text, numbers_text

_MAX_TRANSLATION = 1e9  # m; squares of larger ones are no numbers any more
_MAX_FRAMES = 10_000
_NORM_TOLERANCE = 0.01  # as in tf2: room for rounded decimals in a file, none for four numbers of another meaning


def pose_of_fields(translation: Any, rotation: Any) -> Rigid3d:
    """Pose of a ``Point`` or ``Vector3`` and a ``Quaternion`` of geometry_msgs.

    Raises:
        RosError: it is not finite or farther than 1e9 m, or the quaternion's norm is not 1.
    """
    t = np.array([translation.x, translation.y, translation.z])
    q = np.array([rotation.x, rotation.y, rotation.z, rotation.w])
    if not (np.abs(t) <= _MAX_TRANSLATION).all() or not abs(np.linalg.norm(q) - 1.0) <= _NORM_TOLERANCE:
        raise RosError(
            f"translation {numbers_text(t)} and quaternion (xyzw) {numbers_text(q)} are no pose: "
            "it must be finite and the quaternion's norm 1"
        )
    return pose_from_quaternion(t, q)


class TransformTree:
    """Tree of static transforms: every frame has at most one parent. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parents: dict[str, tuple[str, Rigid3d]] = {}

    def add(self, transform: Any) -> None:
        """Add a ``geometry_msgs/TransformStamped``, or replace the one of the same child.

        Raises:
            RosError: it cannot be used.
        """
        parent, child = frame_name(transform.header.frame_id), frame_name(transform.child_frame_id)
        if not parent or not child or parent == child:
            raise RosError(
                f"transform '{name_text(parent)}' -> '{name_text(child)}' ignored: it needs two different frames"
            )
        try:
            parent_from_child = pose_of_fields(transform.transform.translation, transform.transform.rotation)
        except RosError as error:
            raise RosError(f"transform '{name_text(parent)}' -> '{name_text(child)}' ignored: {error}") from error
        with self._lock:
            if len(self._parents) >= _MAX_FRAMES and child not in self._parents:
                raise RosError(f"transform to '{name_text(child)}' ignored: there are {_MAX_FRAMES} frames already")
            self._parents[child] = (parent, parent_from_child)

    def lookup(self, parent: str, child: str) -> Rigid3d | None:
        """Pose parent_from_child along the chain of transforms, up and down; None if the frames are not connected."""
        with self._lock:
            from_parent, from_child = self._ancestors(frame_name(parent)), self._ancestors(frame_name(child))
        for ancestor, ancestor_from_child in from_child.items():
            if ancestor in from_parent:
                return from_parent[ancestor].inverse() * ancestor_from_child
        return None

    def parent(self, child: str) -> tuple[str, Rigid3d] | None:
        """Parent of a frame and pose parent_from_child; None if it has none."""
        with self._lock:
            return self._parents.get(frame_name(child))

    def connected(self, frame: str) -> list[str]:
        """Other frames that are connected with a frame, in order of the alphabet."""
        with self._lock:
            frames = {*self._parents, *(parent for parent, _ in self._parents.values())}
        return sorted(other for other in frames - {frame_name(frame)} if self.lookup(other, frame) is not None)

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


def frame_name(name: str) -> str:
    """Name of a frame without the slash before it: tf1 wrote ``/base_link``."""
    return name.lstrip("/")
