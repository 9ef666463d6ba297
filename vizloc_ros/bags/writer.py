"""Writer of records as a rosbag2 (sqlite3, version 8) that ``ros2 bag play`` of Humble and later can read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import apsw
from pycolmap import Rigid3d
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError

from vizloc_ros.bags.bag_messages import (
    TYPES,
    camera_info_message,
    compressed_image_message,
    header,
    image_message,
    pose_message,
    transform_message,
)
from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import BagError
from vizloc_ros.files import replacing_folder
from vizloc_ros.parallel import Progress, silent

FOREVER = QosTime(9223372036, 854775807)


@dataclass(frozen=True)
class BagTopics:
    """Topics and frames of a written bag.

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
    ground_truth: str | None = "/ground_truth/pose"
    map_frame: str = "map"
    base_frame: str = "base_link"
    camera_frame: str = "camera_optical_frame"


DEFAULT_TOPICS = BagTopics()


def write_bag(
    records: Sequence[Record],
    path: Path,
    *,
    degradation: Degradation | None = None,
    seed: int = 0,
    compressed: Literal["png", "jpeg"] | None = None,
    topics: BagTopics = DEFAULT_TOPICS,
    base_from_cam: Rigid3d | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> None:
    """Write a bag, completely or not at all.

    Args:
        records: images in order of time; their times become the stamps of the messages and their times in the bag.
        path: folder of the bag.
        degradation: degradation of each image.
        seed: seed of the degradation.
        compressed: format of compressed images, which are written instead of raw ones.
        topics: topics and frames.
        base_from_cam: pose of the camera on the vehicle, for ``/tf_static``; the identity by default.
        overwrite: whether to replace an existing file or folder at the path.
        progress: progress display.

    Raises:
        BagError: there is no record, the path exists already, or the bag cannot be written.
        ImageError: an image cannot be read.
    """
    if not records:
        raise BagError(f"{path}: there is no image to write into the bag")
    if path.exists() and not overwrite:
        raise BagError(f"{path}: exists already: take another path or ask to overwrite it")
    if degradation is not None:
        records = degrade_records(records, degradation, seed)
    try:
        with replacing_folder(path) as folder:
            written = folder / path.name  # the files of a bag bear its name
            with Writer(written, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
                _write_messages(
                    writer,
                    progress(records, "writing images", len(records)),
                    compressed,
                    topics,
                    base_from_cam or Rigid3d(),
                )
            for file in list(written.iterdir()):
                file.rename(folder / file.name)
            written.rmdir()
    except (OSError, WriterError, apsw.Error) as error:
        raise BagError(f"{path}: the bag cannot be written: {error}") from error


def _write_messages(
    writer: Writer, records: Iterable[Record], compressed: str | None, topics: BagTopics, base_from_cam: Rigid3d
) -> None:
    def connect(topic: str, type_name: str, *, latched: bool = False) -> Connection:
        return writer.add_connection(topic, type_name, typestore=TYPES, offered_qos_profiles=[qos(latched)])

    def write(connection: Connection, stamp_ns: int, message: Any) -> None:
        writer.write(connection, stamp_ns, TYPES.serialize_cdr(message, connection.msgtype))

    tf_static = connect("/tf_static", "tf2_msgs/msg/TFMessage", latched=True)
    camera_info = connect(topics.camera_info, "sensor_msgs/msg/CameraInfo")
    if compressed:
        image_connection = connect(f"{topics.image}/compressed", "sensor_msgs/msg/CompressedImage")
    else:
        image_connection = connect(topics.image, "sensor_msgs/msg/Image")
    truth = connect(topics.ground_truth, "geometry_msgs/msg/PoseStamped") if topics.ground_truth else None

    for index, record in enumerate(records):
        stamp = record.timestamp_ns
        if index == 0:
            base_header = header(stamp, topics.base_frame)
            write(tf_static, stamp, transform_message(base_from_cam, topics.camera_frame, base_header))
        camera_header = header(stamp, topics.camera_frame)
        image = record.read_image()
        write(camera_info, stamp, camera_info_message(record.camera, camera_header))
        if compressed:
            write(image_connection, stamp, compressed_image_message(image, camera_header, compressed))
        else:
            write(image_connection, stamp, image_message(image, camera_header))
        if truth and record.world_from_cam is not None:
            write(truth, stamp, pose_message(record.world_from_cam, header(stamp, topics.map_frame)))


def qos(latched: bool) -> Qos:
    """Quality of service that ``ros2 bag play`` offers the topic with; reliable, so that all subscribers match."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=FOREVER,
        lifespan=FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=FOREVER,
        avoid_ros_namespace_conventions=False,
    )
