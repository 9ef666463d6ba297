"""Trajectory of a bag: poses of a topic, at any time between them."""

from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

from pycolmap import Rigid3d

from vizloc_ros.bags.bag_options import GROUND_TRUTH, BagOptions
from vizloc_ros.bags.reader import POSE_TYPES, BagInfo, read_messages, read_poses
from vizloc_ros.errors import BagError
from vizloc_ros.geometry.se3 import interpolated
from vizloc_ros.timing import NANOSECONDS


class PoseTrack:
    """Poses parent_from_child by time; those between two of them are interpolated.

    Attributes:
        topic: topic that they come from; empty for none.
        frame: child frame, whose pose it is; empty for the camera.
    """

    def __init__(self, poses: Mapping[int, Rigid3d], max_gap: float = 0.5, topic: str = "", frame: str = "") -> None:
        """Take poses by stamp [ns], in any order; ``max_gap`` is the largest time between two to interpolate [s]."""
        self._poses = sorted(poses.items())
        self._stamps = [stamp for stamp, _ in self._poses]
        self._max_gap_ns = round(max_gap * NANOSECONDS)
        self.topic, self.frame = topic, frame

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def description(self) -> str:
        """Topic and frame of the poses; empty without poses."""
        return f"{self.topic}, those of {self.frame or 'the camera'}" if self._poses else ""

    def at(self, stamp_ns: int) -> Rigid3d | None:
        """Pose at a time [ns]; None before the first one, after the last one, and in a gap."""
        index = bisect_left(self._stamps, stamp_ns)
        if index < len(self._poses) and self._stamps[index] == stamp_ns:
            return self._poses[index][1]
        if not 0 < index < len(self._poses):
            return None
        (before_ns, before), (after_ns, after) = self._poses[index - 1], self._poses[index]
        if after_ns - before_ns > self._max_gap_ns:
            return None
        return interpolated(before, after, (stamp_ns - before_ns) / (after_ns - before_ns))


def read_track(bag: Path, info: BagInfo, options: BagOptions) -> PoseTrack:
    """Read the ground truth of a bag; without one, an empty track.

    Raises:
        BagError: the topic of the options is not in the bag, or has no poses.
    """
    pose_topics = info.topics_of(*POSE_TYPES)
    topic = options.truth_topic or GROUND_TRUTH
    if topic not in pose_topics:
        if not options.truth_topic:
            return PoseTrack({})
        there_are = ", ".join(pose_topics) or "none"
        raise BagError(f"{bag}: --truth-topic {topic} has no poses; topics of poses: {there_are}")
    frame = options.truth_frame
    if not frame and topic != GROUND_TRUTH:
        first = next((message for _, message in read_messages(bag, topic)), None)
        frame = getattr(first, "child_frame_id", "") or options.base_frame
    return PoseTrack(read_poses(bag, topic), options.max_gap, topic, frame)
