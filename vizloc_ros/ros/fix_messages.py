"""Poses in a georeferenced map as NavSatFix and GeoPoseStamped, for what knows no map: fleets, map tiles, loggers."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Quaternion
from pycolmap import Rigid3d, Rotation3d
from sensor_msgs.msg import NavSatFix, NavSatStatus
from std_msgs.msg import Header

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.geodesy import earth_from_enu, geodetic_from_ecef
from vizloc_ros.ros.qos import POSE


class GeographicPublisher:
    """Publishers of a pose as ``pose/fix`` and, where geographic_msgs is installed, as ``pose/geo``."""

    def __init__(self, node: Any) -> None:
        """Create them, for a node with diagnostics."""
        self._node = node
        self._fix, self._geo = node.create_publisher(NavSatFix, "pose/fix", POSE), None
        try:
            from geographic_msgs.msg import GeoPoseStamped
        except ImportError:  # it has no wheel
            return
        self._geo = node.create_publisher(GeoPoseStamped, "pose/geo", POSE)

    def publish(self, earth_from_map: Rigid3d, map_from_base: Rigid3d, covariance: Float64, header: Header) -> None:
        """Publish a pose of the vehicle.

        Args:
            earth_from_map: pose of the map in ECEF.
            map_from_base: the pose.
            covariance: covariance of its position along the map's axes, (3, 3) [m^2].
            header: stamp, and frame of the vehicle.
        """
        fix = fix_to_msg(earth_from_map, map_from_base.translation, covariance, header)
        self._node.diagnostics.send(self._fix, fix)
        if self._geo is not None:
            self._node.diagnostics.send(self._geo, geo_pose_to_msg(earth_from_map, map_from_base, header))


def rotation_in_enu(earth_from_map: Rigid3d, map_from_base: Rigid3d) -> Rotation3d:
    """Rotation of a vehicle in the frame east, north, up at its position."""
    earth_from_base = earth_from_map * map_from_base
    local = earth_from_enu(*geodetic_from_ecef(earth_from_base.translation))
    return local.rotation.inverse() * earth_from_base.rotation


def geo_pose_to_msg(earth_from_map: Rigid3d, map_from_base: Rigid3d, header: Header) -> Any:
    """``geographic_msgs/GeoPoseStamped`` of a pose: WGS 84, and the rotation of the vehicle in east, north, up."""
    from geographic_msgs.msg import GeoPoint, GeoPose, GeoPoseStamped

    latitude, longitude, altitude = geodetic_from_ecef((earth_from_map * map_from_base).translation)
    x, y, z, w = rotation_in_enu(earth_from_map, map_from_base).quat.tolist()
    position = GeoPoint(latitude=latitude, longitude=longitude, altitude=altitude)
    pose = GeoPose(position=position, orientation=Quaternion(x=x, y=y, z=z, w=w))
    return GeoPoseStamped(header=header, pose=pose)


def fix_to_msg(earth_from_map: Rigid3d, position: Float64, covariance: Float64, header: Header) -> NavSatFix:
    """Message of a position (3,) in a map [m], with its (3, 3) covariance along the map's axes [m^2].

    The message's covariance is along east, north and up at the position. Its frame is that of the vehicle, whose
    position it is, and its service 0: no satellites are involved.

    Args:
        earth_from_map: pose of the map in ECEF.
        position: the position.
        covariance: its covariance.
        header: stamp, and frame of the vehicle.
    """
    in_earth = earth_from_map.rotation.matrix() @ position + earth_from_map.translation
    latitude, longitude, altitude = geodetic_from_ecef(in_earth)
    turn = (earth_from_enu(latitude, longitude, altitude).inverse().rotation * earth_from_map.rotation).matrix()
    return NavSatFix(
        header=header,
        status=NavSatStatus(status=NavSatStatus.STATUS_FIX, service=0),
        latitude=latitude,
        longitude=longitude,
        altitude=altitude,
        position_covariance=np.ascontiguousarray(turn @ covariance @ turn.T).reshape(9),
        position_covariance_type=NavSatFix.COVARIANCE_TYPE_KNOWN,
    )
