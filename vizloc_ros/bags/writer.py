"""Writer of records as a rosbag2 (sqlite3, version 8) that ``ros2 bag play`` of Humble and later can read.

Images are written as they were recorded, with the distortion of their lens in camera_info, if the dataset has them so.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import merge
from pathlib import Path
from typing import Any, Literal

import apsw
import yaml
from pycolmap import Rigid3d
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError

from vizloc_ros.bags.bag_messages import (
    TYPES,
    camera_info_message,
    compressed_image_message,
    fix_message,
    header,
    image_message,
    pose_message,
    transforms_message,
)
from vizloc_ros.bags.written_topics import FIX, FIX_FRAME, BagTopics, topics_of_cameras
from vizloc_ros.bounded import load_yaml, read_regular_text
from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.datasets.record import GnssFix, Record
from vizloc_ros.errors import BagError
from vizloc_ros.files import others_in, replacing_folder
from vizloc_ros.geometry.rectification import DistortedCamera
from vizloc_ros.parallel import Progress, silent

_METADATA, _WRITTEN_BY = "metadata.yaml", "written_by"
FOREVER = QosTime(9223372036, 854775807)


def write_bag(
    records: Sequence[Record],
    path: Path,
    *,
    degradation: Degradation | None = None,
    seed: int = 0,
    compressed: Literal["png", "jpeg"] | None = None,
    topics: BagTopics | None = None,
    base_from_cam: Rigid3d | None = None,
    fixes: Sequence[GnssFix] = (),
    overwrite: Literal["nothing", "own", "any"] = "nothing",
    progress: Progress = silent,
) -> None:
    """Write a bag, completely or not at all.

    Args:
        records: images in order of time; their times become the stamps of the messages and their times in the bag.
        path: folder of the bag.
        degradation: degradation of each image.
        seed: seed of the degradation.
        compressed: format of compressed images, which are written instead of raw ones.
        topics: topics and frames of the only camera; by default those of ``topics_of_cameras``.
        base_from_cam: pose of the only camera on the vehicle, for ``/tf_static``; by default that of the dataset. If it
            is not known, the frame of the only camera is that of the vehicle, and one of several has no pose.
        fixes: fixes of a GNSS receiver, in order of time.
        overwrite: bag that may be replaced: none, one that ``write_bag`` wrote, or any. Nothing else ever is.
        progress: progress display.

    Raises:
        BagError: there is no record, what is at the path must not be replaced, or the bag cannot be written.
        OutputError: another process writes it, or its folder cannot be written.
        ImageError: an image cannot be read.
    """
    if not records:
        raise BagError(f"{path}: there is no image to write into the bag")
    require = partial(require_replaceable_bag, overwrite=overwrite)
    require(path)
    if degradation is not None:
        records = degrade_records(records, degradation, seed)
    cameras = topics_of_cameras(records)
    if topics is not None:
        cameras = dict.fromkeys(cameras, topics)
    mountings = _mountings(records, base_from_cam)
    try:
        with replacing_folder(path, require) as folder:
            written = folder / path.name  # the files of a bag bear its name
            with Writer(written, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
                writer.set_custom_data(_WRITTEN_BY, "vizloc_ros")
                shown = progress(records, "writing images", len(records))
                bag = _OpenBag(writer, cameras, compressed)
                bag.write_mountings(records[0].timestamp_ns, mountings)
                messages: Iterable[Record | GnssFix] = merge(shown, fixes, key=_stamp_of)
                for message in messages:
                    if isinstance(message, GnssFix):
                        bag.write_fix(message)
                        continue
                    camera, pose = message.mounting.camera, message.mounting.base_from_cam
                    if base_from_cam is None and pose is not None and pose != mountings[camera]:
                        mountings[camera] = pose  # another vehicle, or calibrated again
                        bag.write_mountings(message.timestamp_ns, mountings)
                    bag.write_image(message)
            for file in list(written.iterdir()):
                file.rename(folder / file.name)
            written.rmdir()
    except (OSError, WriterError, apsw.Error) as error:
        raise BagError(f"{path}: the bag cannot be written: {error}") from error


def require_replaceable_bag(path: Path, overwrite: str) -> None:
    """Raise ``BagError`` unless the path is new, or a rosbag2 that may be replaced, without other files."""
    if not os.path.lexists(path):
        return
    if overwrite == "nothing":
        raise BagError(f"{path}: exists already: take another --out, or --overwrite")
    try:
        metadata = Metadata.read(path)
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise BagError(f"{path}: is not the folder of a rosbag2, so it is not replaced: take another --out") from error
    if overwrite == "own" and not metadata.is_own:
        raise BagError(f"{path}: is a bag that vizloc has not written, so it is not replaced: take another --out")
    beside = {f"{name}{suffix}" for name in metadata.files for suffix in ("", "-wal", "-shm")}  # of SQLite
    if others := others_in(path, {_METADATA, *beside}):
        raise BagError(f"{path}: holds {others[0]}, which is not of the bag and would be lost: move it elsewhere")


@dataclass(frozen=True)
class Metadata:
    """Statements of a rosbag2's ``metadata.yaml`` about its files.

    Attributes:
        files: names of the files.
        is_own: whether ``write_bag`` wrote them.
    """

    files: frozenset[str]
    is_own: bool

    @classmethod
    def read(cls, folder: Path) -> "Metadata":
        """Read the file of a folder. Raises ``ValueError``, ``OSError`` or ``yaml.YAMLError`` if it is no rosbag2."""
        content = load_yaml(read_regular_text(folder / _METADATA))
        info = content.get("rosbag2_bagfile_information") if isinstance(content, dict) else None
        files = info.get("relative_file_paths") if isinstance(info, dict) else None
        if not isinstance(info, dict) or not isinstance(files, list):
            raise ValueError("no description of a bag")
        custom = info.get("custom_data")
        return cls(frozenset(map(str, files)), isinstance(custom, dict) and _WRITTEN_BY in custom)


def _stamp_of(message: Record | GnssFix) -> int:
    return message.timestamp_ns


def _mountings(records: Sequence[Record], base_from_cam: Rigid3d | None) -> dict[str, Rigid3d]:
    """First pose of each camera on the vehicle; without any, the only camera is at the vehicle's origin."""
    cameras = {record.mounting.camera for record in records}
    if base_from_cam is not None:
        return dict.fromkeys(cameras, base_from_cam)
    poses: dict[str, Rigid3d] = {}
    for record in records:
        if record.mounting.base_from_cam is not None:
            poses.setdefault(record.mounting.camera, record.mounting.base_from_cam)
    return poses or (dict.fromkeys(cameras, Rigid3d()) if len(cameras) == 1 else {})


class _OpenBag:
    """Bag that is being written; topics begin with their first message."""

    def __init__(self, writer: Writer, cameras: Mapping[str, BagTopics], compressed: str | None) -> None:
        self._writer, self._cameras, self._compressed = writer, cameras, compressed
        self._connections: dict[str, Connection] = {}

    def write_mountings(self, stamp_ns: int, base_from_cam: Mapping[str, Rigid3d]) -> None:
        """Write the poses of cameras on the vehicle."""
        if base_from_cam:
            topics = next(iter(self._cameras.values()))
            poses = {self._cameras[camera].camera_frame: pose for camera, pose in base_from_cam.items()}
            message = transforms_message(poses, header(stamp_ns, topics.base_frame))
            self._write("/tf_static", "tf2_msgs/msg/TFMessage", stamp_ns, message, latched=True)

    def write_image(self, record: Record) -> None:
        """Write an image with its calibration, and its pose."""
        stamp, topics = record.timestamp_ns, self._cameras[record.mounting.camera]
        camera_header = header(stamp, topics.camera_frame)
        lens, read = (DistortedCamera(record.camera), record.read_image)
        if record.raw is not None:
            lens, read = record.raw.lens, record.raw.read
        image = read()
        self._write(topics.camera_info, "sensor_msgs/msg/CameraInfo", stamp, camera_info_message(lens, camera_header))
        if self._compressed:
            message = compressed_image_message(image, camera_header, self._compressed)
            self._write(f"{topics.image}/compressed", "sensor_msgs/msg/CompressedImage", stamp, message)
        else:
            self._write(topics.image, "sensor_msgs/msg/Image", stamp, image_message(image, camera_header))
        if topics.ground_truth and record.world_from_cam is not None:
            pose = pose_message(record.world_from_cam, header(stamp, topics.map_frame))
            self._write(topics.ground_truth, "geometry_msgs/msg/PoseStamped", stamp, pose)

    def write_fix(self, fix: GnssFix) -> None:
        """Write a fix of the GNSS receiver."""
        message = fix_message(fix, header(fix.timestamp_ns, FIX_FRAME))
        self._write(FIX, "sensor_msgs/msg/NavSatFix", fix.timestamp_ns, message)

    def _write(self, topic: str, type_name: str, stamp_ns: int, message: Any, *, latched: bool = False) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, type_name, typestore=TYPES, offered_qos_profiles=[qos(latched)]
            )
        self._writer.write(self._connections[topic], stamp_ns, TYPES.serialize_cdr(message, type_name))


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
