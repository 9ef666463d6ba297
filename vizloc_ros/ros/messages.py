"""Conversions between the core's types and messages of geometry_msgs, sensor_msgs and builtin_interfaces."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseArray,
    PoseWithCovarianceStamped,
    Quaternion,
    Transform,
    TwistWithCovariance,
    Vector3,
)
from pycolmap import Rigid3d
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from vizloc_ros.arrays import Float64
from vizloc_ros.errors import CameraError, RosError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.camera_info import camera_of_message
from vizloc_ros.geometry.poses import array_of
from vizloc_ros.geometry.rectification import DistortedCamera
from vizloc_ros.geometry.transform_tree import pose_of_fields
from vizloc_ros.geometry.velocity import Velocity
from vizloc_ros.timing import NANOSECONDS


def stamp_to_ns(stamp: Time) -> int:
    """Time of a stamp [ns]."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def stamp_from_ns(stamp_ns: int) -> Time:
    """Stamp of a time [ns], which may lie before 1970."""
    sec, nanosec = divmod(stamp_ns, NANOSECONDS)
    return Time(sec=sec, nanosec=nanosec)


def header_of(stamp_ns: int, frame_id: str) -> Header:
    """Header with a time [ns] and a frame."""
    return Header(stamp=stamp_from_ns(stamp_ns), frame_id=frame_id)


def pose_to_msg(parent_from_child: Rigid3d) -> Pose:
    """Pose message of the child in its parent."""
    x, y, z, qx, qy, qz, qw = array_of(parent_from_child).tolist()
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def pose_from_msg(msg: Pose) -> Rigid3d:
    """Pose parent_from_child of a message. Raises ``RosError`` if it is not finite or its quaternion not of norm 1."""
    return pose_of_fields(msg.position, msg.orientation)


def transform_to_msg(parent_from_child: Rigid3d) -> Transform:
    """Transform message that tf calls parent -> child."""
    x, y, z, qx, qy, qz, qw = array_of(parent_from_child).tolist()
    return Transform(translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def transform_from_msg(msg: Transform) -> Rigid3d:
    """Pose parent_from_child of a message. Raises ``RosError`` if it is not finite or its quaternion not of norm 1."""
    return pose_of_fields(msg.translation, msg.rotation)


def pose_with_covariance_to_msg(
    parent_from_child: Rigid3d, covariance: Float64, header: Header
) -> PoseWithCovarianceStamped:
    """Message of a pose with its (6, 6) covariance, ordered [x y z rx ry rz] along the header's frame [m, rad]."""
    msg = PoseWithCovarianceStamped(header=header)
    msg.pose.pose = pose_to_msg(parent_from_child)
    msg.pose.covariance = np.ascontiguousarray(covariance, dtype=np.float64).reshape(36)
    return msg


def twist_to_msg(velocity: Velocity) -> TwistWithCovariance:
    """Message of a velocity with its covariance, in the frame of the vehicle."""
    x, y, z, rx, ry, rz = velocity.twist.tolist()
    msg = TwistWithCovariance(covariance=np.ascontiguousarray(velocity.covariance).reshape(36))
    msg.twist.linear, msg.twist.angular = Vector3(x=x, y=y, z=z), Vector3(x=rx, y=ry, z=rz)
    return msg


def covariance_from_msg(msg: PoseWithCovarianceStamped) -> Float64:
    """Covariance (6, 6) of a pose message. Raises ``RosError`` if it is not finite."""
    covariance = np.reshape(np.asarray(msg.pose.covariance, np.float64), (6, 6))
    if not np.isfinite(covariance).all():
        raise RosError("its covariance is not finite")
    return covariance


def poses_to_msg(parent_from_children: Iterable[Rigid3d], header: Header) -> PoseArray:
    """Message of the poses of many children, for RViz."""
    return PoseArray(header=header, poses=[pose_to_msg(pose) for pose in parent_from_children])


def camera_to_msg(camera: DistortedCamera, header: Header) -> CameraInfo:
    """Message camera_info of the raw images of a camera."""
    k = camera.pinhole.matrix
    return CameraInfo(
        header=header,
        width=camera.pinhole.width,
        height=camera.pinhole.height,
        distortion_model=camera.model,
        d=list(camera.distortion),
        k=k.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([k, np.zeros((3, 1))]).ravel(),
    )


def rectified_camera_to_msg(camera: PinholeCamera, header: Header) -> CameraInfo:
    """Message camera_info of images without distortion."""
    k = camera.matrix
    return CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=k.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([k, np.zeros((3, 1))]).ravel(),
    )


def rectified_camera_from_msg(msg: CameraInfo) -> PinholeCamera:
    """Camera of images without distortion. Raises ``CameraError`` if the message has any, or is no calibration."""
    camera = camera_of_message(msg)
    if camera.is_distorted:
        raise CameraError(
            "camera_info describes a lens with distortion where a rectified camera is needed: "
            "features/camera_info of the hfnet node is meant, not the driver's camera_info"
        )
    return camera.pinhole
