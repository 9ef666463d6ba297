"""List of the topics of a bag, with what each can be used for."""

from dataclasses import dataclass
from pathlib import Path

from vizloc_ros.bags.bag_options import is_ground_truth
from vizloc_ros.bags.bag_transforms import read_transforms
from vizloc_ros.bags.camera_topics import CAMERA_INFO, image_candidates, own_camera_info
from vizloc_ros.bags.gnss_track import has_orientations
from vizloc_ros.bags.reader import FIX_TYPE, IMAGE_TYPES, IMU_TYPE, POSE_TYPES, TF_TYPE, BagInfo, read_info
from vizloc_ros.bags.tf_track import MovingTransforms
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
            _use(bag, name, topic.type_name, info, cameras),
        )
        for name, topic in sorted(info.topics.items())
    ]


def _use(bag: Path, name: str, type_name: str, info: BagInfo, cameras: list[str]) -> str:
    if type_name in IMAGE_TYPES:
        if name not in cameras:
            return "an image, but not the one of its camera that is used, or of no camera"
        own = own_camera_info(info.topics_of(CAMERA_INFO), name)
        return f"camera (--image-topic), calibration on {own}" if own else "camera (--image-topic)"
    if type_name == CAMERA_INFO:
        return "calibration (--camera-info-topic)"
    if type_name in POSE_TYPES:
        return "ground truth" if is_ground_truth(name) else "trajectory (--truth-topic)"
    if type_name == FIX_TYPE:
        return "trajectory (--truth-topic): positions, with the rotations of an Imu or of the motion"
    if type_name == IMU_TYPE and has_orientations(bag, name):
        return "rotations of the positions of a GNSS receiver (--imu-topic)"
    if type_name == TF_TYPE and name.endswith("tf_static"):
        return "pose of the camera on the vehicle"
    if type_name == TF_TYPE:
        moving = MovingTransforms(bag, name, read_transforms(bag, info)).pairs
        return f"trajectory (--truth-topic): {', '.join(moving)}" if moving else "transforms that never change"
    return ""
