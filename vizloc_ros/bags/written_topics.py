"""Topics and frames of a written bag: one camera has common names, several have their own."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vizloc_ros.bags.bag_options import GROUND_TRUTH
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import BagError
from vizloc_ros.timing import NANOSECONDS

FIX = "/fix"
FIX_FRAME = "gps"
_LONG_GAP_S = 60.0


@dataclass(frozen=True)
class BagTopics:
    """Topics and frames of a camera.

    Attributes:
        image: topic of ``sensor_msgs/Image``, mono8 or bgr8; compressed images go to this name + "/compressed".
        camera_info: topic of ``sensor_msgs/CameraInfo``, one message with each image.
        ground_truth: topic of ``geometry_msgs/PoseStamped``, the pose of the camera's optical frame (not the base's) in
            ``map_frame``, one message with each image that has a pose; None writes none.
        map_frame: frame of the dataset's poses.
        base_frame: frame of the vehicle; ``/tf_static`` has the pose of the camera in it.
        camera_frame: optical frame of the camera, z forward.
    """

    image: str = "/camera/image"
    camera_info: str = "/camera/camera_info"
    ground_truth: str | None = GROUND_TRUTH
    map_frame: str = "map"
    base_frame: str = "base_link"
    camera_frame: str = "camera_optical_frame"


DEFAULT_TOPICS = BagTopics()


def topics_of_cameras(records: Iterable[Record]) -> dict[str, BagTopics]:
    """Topics of each camera by its name: ``/camera/image`` of the only one, else ``/cam0/image`` and so on.

    Raises:
        BagError: two cameras would have the same topics.
    """
    cameras = list(dict.fromkeys(record.mounting.camera for record in records))
    if len(cameras) <= 1:
        return dict.fromkeys(cameras, DEFAULT_TOPICS)
    names = {camera: _ros_name(camera) for camera in cameras}
    for camera, name in names.items():
        if twice := [other for other in cameras if other != camera and names[other] == name]:
            raise BagError(f"the cameras {camera!r} and {twice[0]!r} would both be /{name}: write one with ?camera=")
    return {
        camera: BagTopics(
            f"/{name}/image",
            f"/{name}/camera_info",
            f"/{name}{GROUND_TRUTH}",
            camera_frame=f"{name}_optical_frame",
        )
        for camera, name in names.items()
    }


def notes_on(records: Sequence[Record]) -> list[str]:
    """Notes for the user on a bag of these records: what it lacks, and what hinders its replay."""
    notes: list[str] = []
    cameras = {record.mounting.camera for record in records}
    placed = {record.mounting.camera for record in records if record.mounting.base_from_cam is not None}
    if len(cameras) > 1 and (unplaced := sorted(cameras - placed)):
        notes.append(
            f"the dataset does not tell where {', '.join(unplaced)} are on the vehicle, so /tf_static lacks them: "
            "replay with --base-from-cam, or write one camera only"
        )
    gap_ns = max((after.timestamp_ns - before.timestamp_ns for before, after in pairwise(records)), default=0)
    if gap_ns > _LONG_GAP_S * NANOSECONDS:
        notes.append(
            f"the bag has a gap of {gap_ns / NANOSECONDS:.0f} s without images, which a replay waits for: write one "
            "drive only, with a split or a range of the dataset"
        )
    return notes


def _ros_name(camera: str) -> str:
    """Name that a topic may have: lower case letters, digits and underscores, not a digit first."""
    name = re.sub(r"\W", "_", camera.lower(), flags=re.ASCII)
    return name if name[:1].isalpha() else f"camera_{name}"
