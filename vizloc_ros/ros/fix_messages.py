"""Poses in a georeferenced map as NavSatFix, for what knows no map: fleet managers, map tiles, loggers."""

from __future__ import annotations

import numpy as np
from pycolmap import Rigid3d
from sensor_msgs.msg import NavSatFix, NavSatStatus
from std_msgs.msg import Header

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.geodesy import earth_from_enu, geodetic_from_ecef


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
