"""Trajectory of a bag: poses of a topic or a file, and the frame that they are of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vizloc_ros.bags.bag_options import NONE, BagOptions, is_ground_truth, own_ground_truth
from vizloc_ros.bags.bag_transforms import BagTransforms
from vizloc_ros.bags.gnss_track import gnss_poses
from vizloc_ros.bags.pose_file import read_pose_file
from vizloc_ros.bags.reader import FIX_TYPE, POSE_TYPES, TF_TYPE, BagInfo, read_messages, read_poses
from vizloc_ros.bags.tf_track import MovingTransforms
from vizloc_ros.errors import BagError
from vizloc_ros.geometry.trajectory import Trajectory
from vizloc_ros.timing import NANOSECONDS
from vizloc_ros.wording import name_text


@dataclass(frozen=True)
class PoseTrack:
    """Trajectory of a topic or a file.

    Attributes:
        trajectory: poses parent_from_child by time.
        topic: topic or file that they come from; empty for none.
        frame: child frame, whose pose it is; empty for the camera.
        notes: remarks about the poses.
    """

    trajectory: Trajectory
    topic: str = ""
    frame: str = ""
    notes: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """Topic and frame of the poses; empty without poses."""
        return f"{self.topic}, those of {self.frame or 'the camera'}" if self.trajectory.poses else ""


def pose_topics(info: BagInfo) -> list[str]:
    """Topics that may have a trajectory: poses, fixes of a GNSS receiver, and transforms that are not static."""
    transforms = [topic for topic in info.topics_of(TF_TYPE) if topic.rpartition("/")[2] != "tf_static"]
    return [*info.topics_of(*POSE_TYPES), *transforms, *info.topics_of(FIX_TYPE)]


def read_track(
    bag: Path,
    info: BagInfo,
    options: BagOptions,
    image: str,
    frame: str,
    transforms: Callable[[], BagTransforms],
) -> PoseTrack:
    """Read the trajectory of a camera; without one, an empty track.

    Args:
        bag: the bag.
        info: summary of the bag.
        options: choices about the bag.
        image: topic of the camera's images.
        frame: frame of the camera; empty if it is not known.
        transforms: function that returns the static transforms of the bag.

    Raises:
        BagError: the topic of the options is not in the bag, or has no poses.
        DatasetError: the file of the options cannot be read.
    """
    max_gap_ns = round(options.max_gap * NANOSECONDS)
    if options.poses is not None:
        track = Trajectory.of(read_pose_file(options.poses), max_gap_ns)
        return PoseTrack(track, str(options.poses), options.truth_frame)
    topics = pose_topics(info)
    if options.truth_topic == NONE:
        return PoseTrack(Trajectory([], []))
    topic = options.truth_topic or own_ground_truth(topics, image)
    if topic not in topics:
        if not options.truth_topic:
            return PoseTrack(Trajectory([], []))
        there_are = ", ".join(topics) or "none"
        raise BagError(f"{bag}: --truth-topic {topic} has no poses; topics of poses: {there_are}")
    kind = info.topics[topic].type_name
    if kind == FIX_TYPE:
        poses, notes = gnss_poses(bag, topic, info, transforms(), options.base_frame, options.imu_topic)
        return PoseTrack(Trajectory.of(poses, max_gap_ns), topic, options.base_frame, tuple(notes))
    if kind == TF_TYPE:
        return tf_track(bag, topic, options, frame, transforms())
    child = options.truth_frame
    if not child and not is_ground_truth(topic):
        first = next((message for _, message in read_messages(bag, topic)), None)
        child = getattr(first, "child_frame_id", "") or options.base_frame
    return PoseTrack(Trajectory.of(read_poses(bag, topic), max_gap_ns), topic, child)


def tf_track(bag: Path, topic: str, options: BagOptions, frame: str, transforms: BagTransforms) -> PoseTrack:
    """Trajectory of transforms that move: that of the camera's frame, or of the vehicle's if the camera's is not there.

    Raises:
        BagError: none of the frames moves, or they are not connected with the world of the options.
    """
    moving = MovingTransforms(bag, topic, transforms)
    frames = [options.truth_frame] if options.truth_frame else [frame, options.base_frame]
    if options.base_from_cam is not None and not options.truth_frame:
        frames = [options.base_frame]
    max_gap_ns = round(options.max_gap * NANOSECONDS)
    for child in filter(None, frames):
        found = moving.trajectory(child, options.map_frame, max_gap_ns)
        if found is not None:
            world, trajectory = found
            return PoseTrack(trajectory, topic, child, (f"the world is the frame {world}",))
    names = " and ".join(name_text(child) for child in frames)
    raise BagError(
        f"{bag}: on {topic}, {names} does not move in any frame: name the frame of the vehicle with --base-frame or "
        "--truth-frame, or take other poses"
    )
