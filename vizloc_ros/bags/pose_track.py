"""Trajectory of a bag: poses of a topic, and the frame that they are of."""

from dataclasses import dataclass
from pathlib import Path

from vizloc_ros.bags.bag_options import BagOptions, is_ground_truth, own_ground_truth
from vizloc_ros.bags.reader import POSE_TYPES, BagInfo, read_messages, read_poses
from vizloc_ros.errors import BagError
from vizloc_ros.geometry.trajectory import Trajectory
from vizloc_ros.timing import NANOSECONDS


@dataclass(frozen=True)
class PoseTrack:
    """Trajectory of a topic.

    Attributes:
        trajectory: poses parent_from_child by time.
        topic: topic that they come from; empty for none.
        frame: child frame, whose pose it is; empty for the camera.
    """

    trajectory: Trajectory
    topic: str = ""
    frame: str = ""

    @property
    def description(self) -> str:
        """Topic and frame of the poses; empty without poses."""
        return f"{self.topic}, those of {self.frame or 'the camera'}" if self.trajectory.poses else ""


def read_track(bag: Path, info: BagInfo, options: BagOptions, image: str = "") -> PoseTrack:
    """Read the ground truth of a camera with this image topic; without one, an empty track.

    Raises:
        BagError: the topic of the options is not in the bag, or has no poses.
    """
    pose_topics = info.topics_of(*POSE_TYPES)
    topic = options.truth_topic or own_ground_truth(pose_topics, image)
    if topic not in pose_topics:
        if not options.truth_topic:
            return PoseTrack(Trajectory([], []))
        there_are = ", ".join(pose_topics) or "none"
        raise BagError(f"{bag}: --truth-topic {topic} has no poses; topics of poses: {there_are}")
    frame = options.truth_frame
    if not frame and not is_ground_truth(topic):
        first = next((message for _, message in read_messages(bag, topic)), None)
        frame = getattr(first, "child_frame_id", "") or options.base_frame
    max_gap_ns = round(options.max_gap * NANOSECONDS)
    return PoseTrack(Trajectory.of(read_poses(bag, topic), max_gap_ns), topic, frame)
