"""Coordinates on the earth: WGS 84, earth-centered (ECEF), local east-north-up (ENU), and UTM to WGS 84.

Angles of this module are degrees, heights are above the ellipsoid [m]. The frame ``earth`` is that of REP 105: ECEF,
with x through latitude 0, longitude 0, and z through the north pole.

UTM is inverted by Krueger's series in the third flattening n up to n^4, see Karney, "Transverse Mercator with an
accuracy of a few nanometers" (2011), equations 35 and 36; its error is below a micrometer within a zone.
"""

from math import asin, atan2, atanh, cos, cosh, degrees, hypot, radians, sin, sinh, sqrt, tanh

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64

EQUATORIAL_RADIUS = 6_378_137.0  # m
FLATTENING = 1 / 298.257223563
_ECCENTRICITY_2 = FLATTENING * (2 - FLATTENING)
_N = FLATTENING / (2 - FLATTENING)  # third flattening
_UTM_SCALE = 0.9996
_UTM_FALSE_EASTING = 500_000.0  # m
_UTM_FALSE_NORTHING = 10_000_000.0  # m; south of the equator
_ITERATIONS = 6  # of a fixed point that gains three digits each time


def ecef_from_geodetic(positions: Float64) -> Float64:
    """ECEF positions (N, 3) [m] of (N, 3) latitudes [deg], longitudes [deg] and altitudes [m]."""
    latitude, longitude = np.radians(positions[:, 0]), np.radians(positions[:, 1])
    altitude, normal = positions[:, 2], EQUATORIAL_RADIUS / np.sqrt(1 - _ECCENTRICITY_2 * np.sin(latitude) ** 2)
    distance = (normal + altitude) * np.cos(latitude)  # from the axis of the earth
    z = ((1 - _ECCENTRICITY_2) * normal + altitude) * np.sin(latitude)
    return np.stack([distance * np.cos(longitude), distance * np.sin(longitude), z], axis=1)


def geodetic_from_ecef(position: Float64) -> tuple[float, float, float]:
    """Latitude [deg], longitude [deg] and altitude [m] of an ECEF position (3,) [m] near the surface of the earth."""
    x, y, z = (float(value) for value in position)
    distance = hypot(x, y)
    latitude = atan2(z, distance * (1 - _ECCENTRICITY_2))
    for _ in range(_ITERATIONS):
        normal = EQUATORIAL_RADIUS / sqrt(1 - _ECCENTRICITY_2 * sin(latitude) ** 2)
        latitude = atan2(z + _ECCENTRICITY_2 * normal * sin(latitude), distance)
    normal = EQUATORIAL_RADIUS / sqrt(1 - _ECCENTRICITY_2 * sin(latitude) ** 2)
    along = distance * cos(latitude) + z * sin(latitude)  # stable at the poles, too
    altitude = along - normal * (1 - _ECCENTRICITY_2 * sin(latitude) ** 2)
    return degrees(latitude), degrees(atan2(y, x)), altitude


def earth_from_enu(latitude: float, longitude: float, altitude: float) -> Rigid3d:
    """Pose of the local frame (x east, y north, z up) at a point, in ECEF."""
    phi, lam = radians(latitude), radians(longitude)
    east = [-sin(lam), cos(lam), 0.0]
    north = [-sin(phi) * cos(lam), -sin(phi) * sin(lam), cos(phi)]
    up = [cos(phi) * cos(lam), cos(phi) * sin(lam), sin(phi)]
    position = ecef_from_geodetic(np.array([[latitude, longitude, altitude]]))[0]
    return Rigid3d(Rotation3d(np.array([east, north, up]).T.copy()), position)


def geodetic_from_utm(zone: int, is_north: bool, easting: float, northing: float) -> tuple[float, float, float]:
    """Latitude and longitude of a UTM position, and the meridian convergence there, all in degrees.

    The convergence is the angle from true north to the grid's north, clockwise.

    Args:
        zone: zone, 1 to 60.
        is_north: whether the zone is that of the northern hemisphere.
        easting: easting [m].
        northing: northing [m].
    """
    radius = EQUATORIAL_RADIUS / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
    xi = (northing - (0.0 if is_north else _UTM_FALSE_NORTHING)) / (_UTM_SCALE * radius)
    eta = (easting - _UTM_FALSE_EASTING) / (_UTM_SCALE * radius)
    beta = (
        _N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96 - _N**4 / 360,
        _N**2 / 48 + _N**3 / 15 - 437 * _N**4 / 1440,
        17 * _N**3 / 480 - 37 * _N**4 / 840,
        4397 * _N**4 / 161280,
    )
    on_sphere = complex(xi, eta)
    slope = 1 + 0j
    for j, b in enumerate(beta, start=1):
        angle = 2 * j * complex(xi, eta)
        on_sphere -= b * complex(sin(angle.real) * cosh(angle.imag), cos(angle.real) * sinh(angle.imag))
        slope -= 2 * j * b * complex(cos(angle.real) * cosh(angle.imag), -sin(angle.real) * sinh(angle.imag))
    x, y = on_sphere.real, on_sphere.imag
    sine, eccentricity = sin(x) / cosh(y), sqrt(_ECCENTRICITY_2)
    conformal, isometric = asin(sine), atanh(sine)
    latitude = conformal
    for _ in range(_ITERATIONS):
        latitude = asin(tanh(isometric + eccentricity * atanh(eccentricity * sin(latitude))))
    longitude = 6.0 * zone - 183.0 + degrees(atan2(sinh(y), cos(x)))
    convergence = degrees(atan2(sin(x) * sinh(y), cos(x) * cosh(y)) + atan2(slope.imag, slope.real))
    return degrees(latitude), longitude, convergence
