"""Buffer of transforms with the rules of tf2's BufferCore and TimeCache, which are not on PyPI.

As there: a frame's transforms are sorted by their stamps. Between two of them is interpolated, linearly and by slerp;
before the first and after the last is an ExtrapolationException. A chain of frames is looked up at one time. A second
transform of one stamp, which some versions refuse (TF_REPEATED_DATA), fails here.
"""

from bisect import bisect_left, insort
from typing import Any

from pycolmap import Rigid3d

from vizloc_ros.ros.messages import stamp_to_ns, transform_from_msg


class ExtrapolationError(Exception):
    """Lookup before the first or after the last transform of a frame, or of a frame that nobody has published."""


class Tf2Buffer:
    """Transforms by their child, with their stamps [ns]."""

    def __init__(self) -> None:
        self.links: dict[str, tuple[str, list[tuple[int, Rigid3d]]]] = {}

    def add(self, msg: Any) -> None:
        """Add the transforms of a ``TFMessage``."""
        for transform in msg.transforms:
            stamp = stamp_to_ns(transform.header.stamp)
            self.insert(
                transform.header.frame_id, transform.child_frame_id, stamp, transform_from_msg(transform.transform)
            )

    def insert(self, parent: str, child: str, stamp_ns: int, pose: Rigid3d) -> None:
        """Add one transform parent_from_child."""
        known, entries = self.links.setdefault(child, (parent, []))
        assert known == parent, f"{child} has two parents: {known} and {parent}"
        assert stamp_ns not in [stamp for stamp, _ in entries], "TF_REPEATED_DATA"
        insort(entries, (stamp_ns, pose), key=lambda entry: entry[0])

    def lookup(self, top: str, frame: str, stamp_ns: int) -> Rigid3d:
        """Pose top_from_frame at a time. Raises ``ExtrapolationError``."""
        top_from_frame = Rigid3d()
        while frame != top:
            if frame not in self.links:
                raise ExtrapolationError(f"{frame} is not connected with {top}")
            frame, entries = self.links[frame]
            top_from_frame = _at(entries, stamp_ns) * top_from_frame
        return top_from_frame


def _at(entries: list[tuple[int, Rigid3d]], stamp_ns: int) -> Rigid3d:
    index = bisect_left(entries, stamp_ns, key=lambda entry: entry[0])
    if index < len(entries) and entries[index][0] == stamp_ns:
        return entries[index][1]
    if not 0 < index < len(entries):
        raise ExtrapolationError(f"{stamp_ns} is outside of {entries[0][0]} to {entries[-1][0]}")
    (start, first), (end, second) = entries[index - 1], entries[index]
    return Rigid3d.interpolate(first, second, (stamp_ns - start) / (end - start))
