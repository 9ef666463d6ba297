"""Drive in curves to both sides, with the odometry of it: what is extrapolated there is wrong."""

import numpy as np
from nav_msgs.msg import Odometry
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.ros.messages import header_of, pose_to_msg

MAP_FROM_ODOM = Rigid3d(Rotation3d(np.array([0, 0, 0.7])), np.array([50.0, -30.0, 0.0]))


def odom_from_base(seconds: float) -> Rigid3d:
    """At 5 m/s, with turns of up to 34 deg/s."""
    position = np.array([5.0 * seconds, 2.0 * np.sin(1.5 * seconds), 0.0])
    heading = np.arctan2(3.0 * np.cos(1.5 * seconds), 5.0)
    return Rigid3d(Rotation3d(np.array([0, 0, heading])), position)


def map_from_base(seconds: float) -> Rigid3d:
    return MAP_FROM_ODOM * odom_from_base(seconds)


def odometry_message(stamp_ns: int, pose: Rigid3d) -> Odometry:
    msg = Odometry(header=header_of(stamp_ns, "odom"), child_frame_id="base_link")
    msg.pose.pose = pose_to_msg(pose)
    return msg
