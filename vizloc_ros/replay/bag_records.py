"""Records of the images in a bag, to compare the published poses with the ground truth in the bag."""

from __future__ import annotations

from pathlib import Path

from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.bags.bag_messages import stamp_ns_of
from vizloc_ros.bags.reader import read_info, read_messages, read_poses
from vizloc_ros.datasets.parsing import format_timestamp
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import BagError, CameraError
from vizloc_ros.geometry.rectification import Rectifier, camera_from_info
from vizloc_ros.ros.extrinsics import TransformTree
from vizloc_ros.ros.image_messages import ImageDecoder

GROUND_TRUTH = "/ground_truth/pose"
_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def image_topics(bag: Path) -> tuple[str, str]:
    """Image topic of a bag and its camera_info topic. Raises ``BagError`` unless there is exactly one."""
    topics = {name: topic.type_name for name, topic in read_info(bag).topics.items()}
    images = [name for name, kind in topics.items() if kind in (_IMAGE, _COMPRESSED)]
    if len(images) != 1:
        raise BagError(f"{bag}: one image topic is needed, it has {len(images)}; topics: {', '.join(topics)}")
    camera_info = f"{images[0].removesuffix('/compressed').rpartition('/')[0]}/camera_info"
    if topics.get(camera_info) != "sensor_msgs/msg/CameraInfo":
        raise BagError(f"{bag}: {images[0]} needs its calibration on {camera_info}; topics: {', '.join(topics)}")
    return images[0], camera_info


def records_of_bag(bag: Path, base_frame: str = "base_link") -> tuple[list[Record], Rigid3d]:
    """Records of the images in a bag, named by their stamp, and base_from_cam of its /tf_static.

    Images are rectified; poses are those of the camera on /ground_truth/pose, if the bag has that topic.

    Raises:
        BagError: the bag has not exactly one camera, or no transform from it to ``base_frame``.
    """
    image_topic, info_topic = image_topics(bag)
    info = next((message for _, message in read_messages(bag, info_topic)), None)
    if info is None:
        raise BagError(f"{bag}: {info_topic} has no message: record it with the images")
    try:
        camera = camera_from_info(info.width, info.height, list(info.k), list(info.d), info.distortion_model)
        rectifier = Rectifier(camera)
    except CameraError as error:
        raise BagError(f"{bag}: {info_topic}: {error}") from error
    topics = read_info(bag).topics
    truth = read_poses(bag, GROUND_TRUTH) if GROUND_TRUTH in topics else {}
    decoder = ImageDecoder(image_topic)
    stamps: list[int] = []
    bag_times: dict[int, int] = {}  # times of the messages in the bag by stamp [ns], the first of equal stamps
    for bag_time, message in read_messages(bag, image_topic):
        stamps.append(stamp := stamp_ns_of(message.header))
        bag_times.setdefault(stamp, bag_time)
    records = [
        Record(
            name=format_timestamp(stamp),
            timestamp_ns=stamp,
            camera=rectifier.rectified,
            split="bag",
            world_from_cam=truth.get(stamp),
            read_image=_ImageReader(bag, image_topic, stamp, bag_times[stamp], decoder, rectifier),
        )
        for stamp in sorted(stamps)
    ]
    tree = TransformTree()
    if "/tf_static" in topics:
        for _, message in read_messages(bag, "/tf_static"):
            for transform in message.transforms:
                tree.add(transform)
    base_from_cam = tree.lookup(base_frame, info.header.frame_id)
    if base_from_cam is None:
        raise BagError(f"{bag}: /tf_static has no transform {base_frame} -> {info.header.frame_id}")
    return records, base_from_cam


class _ImageReader:
    """Reader of one image, each time it is called: the images of a bag together may not fit into memory."""

    def __init__(
        self, bag: Path, topic: str, stamp_ns: int, bag_time_ns: int, decoder: ImageDecoder, rectifier: Rectifier
    ) -> None:
        self._bag, self._topic, self._decoder, self._rectifier = bag, topic, decoder, rectifier
        self._stamp_ns, self._bag_time_ns = stamp_ns, bag_time_ns

    def __call__(self) -> UInt8:
        for _, message in read_messages(self._bag, self._topic, self._bag_time_ns, self._bag_time_ns + 1):
            if stamp_ns_of(message.header) == self._stamp_ns:
                return self._rectifier.rectify(self._decoder.gray(message))
        raise BagError(f"{self._bag}: the image of {format_timestamp(self._stamp_ns)} is gone")
