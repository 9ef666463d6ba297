"""Transforms that change with time, such as those of a pan-tilt unit, and chains of them with static ones."""

import threading
from bisect import bisect_left
from collections import deque
from typing import Any

from pycolmap import Rigid3d

from vizloc_ros.errors import RosError
from vizloc_ros.geometry.transform_tree import TransformTree, frame_name, pose_of_fields
from vizloc_ros.wording import name_text

_KEPT = 200  # transforms of each frame
_MAX_FRAMES = 300
_JUMP_NS = 1_000_000_000  # back, of the clock


class TransformHistory:
    """Last transforms of each frame on ``/tf``, below a tree of static ones. Thread-safe."""

    def __init__(self, static: TransformTree) -> None:
        self._static = static
        self._lock = threading.Lock()
        self._links: dict[str, tuple[str, deque[tuple[int, Rigid3d]]]] = {}  # parent, and poses by time, by the child

    def add(self, transform: Any, stamp_ns: int) -> None:
        """Add a ``geometry_msgs/TransformStamped``. One out of order is ignored; one a second older begins anew.

        Raises:
            RosError: it cannot be used.
        """
        parent, child = frame_name(transform.header.frame_id), frame_name(transform.child_frame_id)
        try:
            pose = pose_of_fields(transform.transform.translation, transform.transform.rotation)
        except RosError as error:
            raise RosError(f"transform '{name_text(parent)}' -> '{name_text(child)}' ignored: {error}") from error
        with self._lock:
            if child not in self._links and len(self._links) >= _MAX_FRAMES:
                raise RosError(f"transform to '{name_text(child)}' ignored: {_MAX_FRAMES} frames move already")
            known, poses = self._links.get(child, (parent, deque(maxlen=_KEPT)))
            if known != parent or (poses and poses[-1][0] - stamp_ns >= _JUMP_NS):
                poses = deque(maxlen=_KEPT)
            elif poses and stamp_ns <= poses[-1][0]:
                return
            poses.append((stamp_ns, pose))
            self._links[child] = parent, poses

    def lookup(self, parent: str, child: str, stamp_ns: int) -> Rigid3d | None:
        """Pose parent_from_child at a time, up from the child; None if there is no such chain (yet).

        As in tf2, a moving transform is interpolated between two messages and never extrapolated.
        """
        frame, frame_from_child, seen = frame_name(child), Rigid3d(), set[str]()
        while frame not in seen:
            parent_from_frame = self._static.lookup(parent, frame)
            if parent_from_frame is not None:
                return parent_from_frame * frame_from_child
            seen.add(frame)
            link = self._static.parent(frame) or self._link_at(frame, stamp_ns)
            if link is None:
                return None
            frame, frame_from_child = link[0], link[1] * frame_from_child
        return None

    def _link_at(self, child: str, stamp_ns: int) -> tuple[str, Rigid3d] | None:
        """Parent of a frame and pose parent_from_child at a time; None outside of its messages."""
        with self._lock:
            parent, poses = self._links.get(child, ("", deque[tuple[int, Rigid3d]]()))
            known = list(poses)
        after = bisect_left(known, stamp_ns, key=lambda entry: entry[0])
        if after < len(known) and known[after][0] == stamp_ns:
            return parent, known[after][1]
        if not 0 < after < len(known):
            return None
        (start, first), (end, second) = known[after - 1], known[after]
        return parent, Rigid3d.interpolate(first, second, (stamp_ns - start) / (end - start))
