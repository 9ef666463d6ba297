"""Writes records as a rosbag2 (sqlite3, version 8) that ``ros2 bag play`` of Humble and later takes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
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
from vizloc_ros.parallel import Progress, silent

FOREVER = QosTime(9223372036, 854775807)


@dataclass(frozen=True)
class BagTopics:
    """Topics and frames of a written bag.

    Attributes:
        image: ``sensor_msgs/Image`` mono8 or bgr8; compressed images go to this name + "/compressed".
        camera_info: ``sensor_msgs/CameraInfo`` with each image.
        ground_truth: ``geometry_msgs/PoseStamped``, the pose of the camera's optical frame (not the base's) in
            ``map_frame``, with each image that has one; None leaves it out.
        map_frame: the dataset's world.
        base_frame: the vehicle; ``/tf_static`` says where on it the camera sits.
        camera_frame: the camera's optical frame, z forward.
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
    """Writes a bag: whole or not at all.

    Args:
        records: the images in order of time; a message's stamp and its time in the bag are the record's.
        path: the folder to make.
        degradation: makes each image worse.
        seed: of the degradation.
        compressed: writes compressed images instead of raw ones.
        topics: topics and frames.
        base_from_cam: where the camera sits on the vehicle, for ``/tf_static``; the identity by default.
        overwrite: replaces what is at the path.
        progress: shows how far it is.

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
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as aside:
            written = Path(aside) / path.name  # the files of a bag bear its name
            with Writer(written, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
                _write_messages(
                    writer,
                    progress(records, "writing images", len(records)),
                    compressed,
                    topics,
                    base_from_cam or Rigid3d(),
                )
            if path.exists():
                path.rename(Path(aside) / "replaced")
            written.rename(path)
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
    """What ``ros2 bag play`` offers the topic with; reliable, so that subscribers of either kind match."""
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
