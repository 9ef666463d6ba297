"""List of the topics of a bag, with what each can be used for."""

from dataclasses import dataclass
from pathlib import Path

from vizloc_ros.bags.bag_options import GROUND_TRUTH, is_ground_truth
from vizloc_ros.bags.camera_topics import CAMERA_INFO, image_candidates, own_camera_info
from vizloc_ros.bags.reader import IMAGE_TYPES, POSE_TYPES, BagInfo, read_info
from vizloc_ros.timing import NANOSECONDS


@dataclass(frozen=True)
class TopicUse:
    """Topic of a bag: number of messages, messages a second (None for less than two), and use; empty for none."""

    topic: str
    type_name: str
    count: int
    rate: float | None
    use: str


def topic_uses(bag: Path) -> list[TopicUse]:
    """List the topics of a bag in order of the alphabet. Raises ``BagError`` if it cannot be read."""
    info = read_info(bag)
    cameras = image_candidates(bag, info)
    length_s = (info.end_ns - info.start_ns) / NANOSECONDS
    return [
        TopicUse(
            name,
            topic.type_name,
            topic.count,
            (topic.count - 1) / length_s if topic.count > 1 and length_s > 0 else None,
            _use(name, topic.type_name, info, cameras),
        )
        for name, topic in sorted(info.topics.items())
    ]


def no_poses_text(bag: Path) -> str:
    """Advice for a bag whose trajectory was not found."""
    topics = read_info(bag).topics_of(*POSE_TYPES)
    if topics:
        return f"{GROUND_TRUTH} is not in the bag; choose a topic with --truth-topic: {', '.join(topics)}"
    return f"the bag has no topic of poses ({', '.join(name.rpartition('/')[2] for name in POSE_TYPES)})"


def _use(name: str, type_name: str, info: BagInfo, cameras: list[str]) -> str:
    if type_name in IMAGE_TYPES:
        if name not in cameras:
            return "an image, but not the one of its camera that is used, or of no camera"
        own = own_camera_info(info.topics_of(CAMERA_INFO), name)
        return f"camera (--image-topic), calibration on {own}" if own else "camera (--image-topic)"
    if type_name == CAMERA_INFO:
        return "calibration (--camera-info-topic)"
    if type_name in POSE_TYPES:
        return "ground truth" if is_ground_truth(name) else "trajectory (--truth-topic)"
    if type_name == "tf2_msgs/msg/TFMessage":
        return "pose of the camera on the vehicle" if name.endswith("tf_static") else "transforms that never change"
    return ""
