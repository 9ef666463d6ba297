"""Bags as drivers and recorders leave them: a good small bag, rewritten message by message."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pycolmap import Rotation3d
from rosbags.convert.converter import default_message, migrate_message
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vizloc_ros.bags.bag_messages import TYPES, make
from vizloc_ros.bags.writer import qos
from vizloc_ros.datasets.record import GnssFix

TRANSFORMS = "geometry_msgs/TransformStamped[] transforms"
TF2, TF1 = "tf2_msgs/msg/TFMessage", "tf/msg/tfMessage"
OWN = "own_msgs/msg/Thing"
ROS1_TYPES = get_typestore(Stores.ROS1_NOETIC)
for kind, definition in {TF2: TRANSFORMS, TF1: TRANSFORMS, OWN: "int32 x"}.items():
    ROS1_TYPES.register(get_types_from_msg(definition, kind))
IMAGE, CAMERA_INFO, TF_STATIC, TRUTH = "/camera/image", "/camera/camera_info", "/tf_static", "/ground_truth/pose"
Change = Callable[[str, Any, int], Iterable[tuple[str, Any]]]


def keep(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
    """The bag as it is."""
    return [(topic, message)]


def without(*left_out: str) -> Change:
    """The bag without topics."""
    return lambda topic, message, index: [] if topic in left_out else [(topic, message)]


def renamed(**names: str) -> Change:
    """The bag with other names for topics; the keys are image, camera_info, tf_static and truth."""
    old = {"image": IMAGE, "camera_info": CAMERA_INFO, "tf_static": TF_STATIC, "truth": TRUTH}
    new = {old[key]: name for key, name in names.items()}
    return lambda topic, message, index: [(new.get(topic, topic), message)]


def changed(name: str, change: Callable[[Any, int], Any]) -> Change:
    """The bag with the messages of a topic changed in place, given each one and its number."""

    def apply(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
        if topic == name:
            change(message, index)
        return [(topic, message)]

    return apply


def rewrite(
    source: Path,
    target: Path,
    *changes: Change,
    storage: StoragePlugin = StoragePlugin.SQLITE3,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write a bag again, changed; all of its topics are volatile, as recorders leave them that matched too late."""
    writer = Writer(target, version=8, storage_plugin=storage)
    if compression is not CompressionMode.NONE:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with Reader(source) as reader, writer:
        connections: dict[str, Any] = {}
        for topic, message, stamp_ns in _changed_messages(reader, changes):
            name = message.__msgtype__
            if topic not in connections:
                profiles = [qos(latched=False)]
                connections[topic] = writer.add_connection(topic, name, typestore=TYPES, offered_qos_profiles=profiles)
            writer.write(connections[topic], stamp_ns, TYPES.serialize_cdr(message, name))
    return target


def rewrite_as_ros1(source: Path, target: Path, *changes: Change, tf_type: str = TF2, own_topic: str = "") -> Path:
    """Write a bag again as a .bag file of ROS 1; with ``own_topic``, also messages of a type that is not a standard."""
    cache: dict[str, object] = {}
    with Reader(source) as reader, Writer1(target) as writer:
        connections: dict[str, Any] = {}
        if own_topic:
            own = writer.add_connection(own_topic, OWN, typestore=ROS1_TYPES)
        for topic, message, stamp_ns in _changed_messages(reader, changes):
            name = message.__msgtype__
            data = ROS1_TYPES.serialize_ros1(migrate_message(TYPES, ROS1_TYPES, name, name, cache, message), name)
            if topic not in connections:
                written = tf_type if topic == TF_STATIC else name
                connections[topic] = writer.add_connection(topic, written, typestore=ROS1_TYPES)
            writer.write(connections[topic], stamp_ns, data)
            if own_topic:
                writer.write(own, stamp_ns, bytes(4))
    return target


def _changed_messages(reader: Reader, changes: tuple[Change, ...]) -> Iterable[tuple[str, Any, int]]:
    count: dict[str, int] = {}
    for connection, stamp_ns, data in reader.messages():
        index = count[connection.topic] = count.get(connection.topic, -1) + 1
        messages = [(connection.topic, TYPES.deserialize_cdr(data, connection.msgtype))]
        for change in changes:
            messages = [made for topic, message in messages for made in change(topic, message, index)]
        for topic, message in messages:
            yield topic, message, stamp_ns


def copied(message: Any, **fields: Any) -> Any:
    """A copy of a message with other fields."""
    names = message.__dataclass_fields__.keys() - {"__msgtype__"}
    return make(message.__msgtype__, **{**{name: getattr(message, name) for name in names}, **fields})


def empty(name: str) -> Any:
    """A message of a type with zeros in all fields."""
    return default_message(TYPES, name)


def fix_of(position: Any, stamp_ns: int) -> GnssFix:
    """Fix near the equator, where WGS 84 is simple: to a millimeter within 50 m."""
    radius = 6378137.0
    north_radius = radius * (1 - 0.00669437999014)
    return GnssFix(
        stamp_ns,
        float(np.degrees(position[1] / north_radius)),
        float(10 + np.degrees(position[0] / radius)),
        float(100 + position[2]),
        (0.02, 0.02, 0.04),
    )


def imu_message(rotation: Rotation3d, message_header: Any) -> Any:
    """A sensor_msgs/Imu with an orientation."""
    x, y, z, w = rotation.quat
    zero, unknown = make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0), np.zeros(9)
    return make(
        "sensor_msgs/msg/Imu",
        header=message_header,
        orientation=make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
        orientation_covariance=unknown,
        angular_velocity=zero,
        angular_velocity_covariance=unknown,
        linear_acceleration=zero,
        linear_acceleration_covariance=unknown,
    )
