"""Positions on the WGS 84 ellipsoid in a local frame: x east, y north, z up [m], exact at any distance."""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float64

_RADIUS, _FLATTENING = 6378137.0, 1 / 298.257223563  # m; of WGS 84
_E2 = _FLATTENING * (2 - _FLATTENING)


def earth_centered(latitude: Float64, longitude: Float64, altitude: Float64) -> Float64:
    """(N, 3) earth-centered, earth-fixed positions [m] of (N,) latitudes, longitudes [deg] and altitudes [m]."""
    phi, lam = np.radians(latitude), np.radians(longitude)
    normal = _RADIUS / np.sqrt(1 - _E2 * np.sin(phi) ** 2)
    x = (normal + altitude) * np.cos(phi) * np.cos(lam)
    y = (normal + altitude) * np.cos(phi) * np.sin(lam)
    z = (normal * (1 - _E2) + altitude) * np.sin(phi)
    return np.stack([x, y, z], axis=-1)


@dataclass(frozen=True)
class EastNorthUp:
    """Local frame at a point of the ellipsoid: latitude, longitude [deg] and altitude above the ellipsoid [m]."""

    latitude: float
    longitude: float
    altitude: float = 0.0

    def positions(self, latitude: Float64, longitude: Float64, altitude: Float64) -> Float64:
        """(N, 3) positions [m] in this frame, of the arguments of ``earth_centered``."""
        origin = earth_centered(*(np.array(value) for value in (self.latitude, self.longitude, self.altitude)))
        phi, lam = np.radians([self.latitude, self.longitude])
        axes = np.array(
            [
                [-np.sin(lam), np.cos(lam), 0.0],
                [-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)],
                [np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)],
            ]
        )
        local: Float64 = (earth_centered(latitude, longitude, altitude) - origin) @ axes.T
        return local
