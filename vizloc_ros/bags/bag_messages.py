"""Messages of a written bag, as classes of rosbags, which need no ROS installation."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from pycolmap import Rigid3d
from rosbags.typesys import Stores, get_typestore

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import GnssFix
from vizloc_ros.errors import BagError
from vizloc_ros.geometry.poses import array_of
from vizloc_ros.geometry.rectification import DistortedCamera, rectified_camera
from vizloc_ros.geometry.transform_tree import pose_of_fields
from vizloc_ros.timing import NANOSECONDS

TYPES = get_typestore(Stores.ROS2_HUMBLE)  # the oldest distribution supported; these messages have not changed since


def make(name: str, **fields: Any) -> Any:
    """Message of a type such as ``sensor_msgs/msg/Image``."""
    return TYPES.types[name](**fields)


def header(stamp_ns: int, frame: str) -> Any:
    """Header with a time [ns] and a frame."""
    seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS)
    stamp = make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)


def stamp_ns_of(message_header: Any) -> int:
    """Time of a header [ns]."""
    return int(message_header.stamp.sec) * NANOSECONDS + int(message_header.stamp.nanosec)


def image_message(image: UInt8, message_header: Any) -> Any:
    """Message ``sensor_msgs/Image`` of an (H, W) gray or (H, W, 3) BGR image."""
    height, width = image.shape[:2]
    return make(
        "sensor_msgs/msg/Image",
        header=message_header,
        height=height,
        width=width,
        encoding=_encoding(image),
        is_bigendian=0,
        step=image.size // height,
        data=np.ascontiguousarray(image).reshape(-1),
    )


def compressed_image_message(image: UInt8, message_header: Any, file_format: str) -> Any:
    """Message ``sensor_msgs/CompressedImage`` as "png" or "jpeg". Raises ``BagError`` if it cannot be encoded."""
    done, data = cv2.imencode(f".{file_format}", image)
    if not done:
        raise BagError(f"an image of shape {image.shape} cannot be encoded as {file_format}")
    encoding = _encoding(image)
    text = f"{encoding}; {file_format} compressed {encoding}"  # as image_transport writes it
    return make("sensor_msgs/msg/CompressedImage", header=message_header, format=text, data=data)


def camera_info_message(camera: DistortedCamera, message_header: Any) -> Any:
    """Message ``sensor_msgs/CameraInfo``; its P is the camera of the rectified image. Raises ``CameraError``."""
    pinhole, rectified = camera.pinhole, rectified_camera(camera)
    d = np.zeros(max(5 if camera.model == "plumb_bob" else 0, len(camera.distortion)))
    d[: len(camera.distortion)] = camera.distortion
    region = make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=message_header,
        height=pinhole.height,
        width=pinhole.width,
        distortion_model=camera.model,
        d=d,
        k=pinhole.matrix.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=np.column_stack([rectified.matrix, np.zeros(3)]).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=region,
    )


def pose_message(parent_from_child: Rigid3d, message_header: Any) -> Any:
    """Message ``geometry_msgs/PoseStamped`` of the child in its parent, the header's frame."""
    x, y, z, *quaternion = array_of(parent_from_child).tolist()
    position = make("geometry_msgs/msg/Point", x=x, y=y, z=z)
    pose = make("geometry_msgs/msg/Pose", position=position, orientation=_quaternion(quaternion))
    return make("geometry_msgs/msg/PoseStamped", header=message_header, pose=pose)


def pose_of_message(pose: Any) -> Rigid3d:
    """Pose parent_from_child of a ``geometry_msgs/Pose``. Raises ``RosError`` as ``pose_of_fields``."""
    return pose_of_fields(pose.position, pose.orientation)


def transform_message(parent_from_child: Rigid3d, child: str, message_header: Any) -> Any:
    """Message ``tf2_msgs/TFMessage`` with one transform from the header's frame to the child."""
    return transforms_message({child: parent_from_child}, message_header)


def transforms_message(parent_from: Mapping[str, Rigid3d], message_header: Any) -> Any:
    """Message ``tf2_msgs/TFMessage`` with a transform from the header's frame to each child."""
    transforms = []
    for child, parent_from_child in parent_from.items():
        x, y, z, *quaternion = array_of(parent_from_child).tolist()
        translation, rotation = make("geometry_msgs/msg/Vector3", x=x, y=y, z=z), _quaternion(quaternion)
        transform = make("geometry_msgs/msg/Transform", translation=translation, rotation=rotation)
        name = "geometry_msgs/msg/TransformStamped"
        transforms.append(make(name, header=message_header, child_frame_id=child, transform=transform))
    return make("tf2_msgs/msg/TFMessage", transforms=transforms)


def fix_message(fix: GnssFix, message_header: Any) -> Any:
    """Message ``sensor_msgs/NavSatFix``."""
    status = make("sensor_msgs/msg/NavSatStatus", status=0, service=1)  # STATUS_FIX, SERVICE_GPS
    variances = np.zeros(3) if fix.std_m is None else np.square(fix.std_m)
    return make(
        "sensor_msgs/msg/NavSatFix",
        header=message_header,
        status=status,
        latitude=fix.latitude,
        longitude=fix.longitude,
        altitude=fix.altitude,
        position_covariance=np.diag(variances).reshape(-1),
        position_covariance_type=0 if fix.std_m is None else 2,  # unknown, or the diagonal is known
    )


def _quaternion(xyzw: list[float]) -> Any:
    return make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", xyzw, strict=True)))


def _encoding(image: UInt8) -> str:
    return "mono8" if image.ndim == 2 else "bgr8"
