"""Area of a GNSS fix: the part of a georeferenced map in which places are retrieved.

A fix is a hint: it is used where it helps, and nothing waits for one. It is given up in two ways, because receivers
among houses are wrong and sure of themselves:

- A verified pose of the last seconds that is outside of its area is believed instead.
- After ten queries in its area without such a pose in it, two queries are answered from the whole map, two from the
  area, and so on.

Both end when a verified pose is in the area of a fix.
"""

from math import hypot

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.record import GnssFix
from vizloc_ros.geometry.geodesy import earth_from_enu, geodetic_from_ecef
from vizloc_ros.mapping.search_area import SIGMAS, SearchArea
from vizloc_ros.timing import NANOSECONDS

USED, NONE = "used", "none"  # values of ``GnssArea.state``; others say why the fix is not used
_MAX_AGE = 3.0  # s; receivers send at least one fix a second
_MAX_ERROR = 100.0  # m; the area of such a fix is mostly the whole map
_MAX_ALTITUDE = 100_000.0  # m; beyond, and if it is none, the altitude is that of the map
_RECENT = 5.0  # s; while the tracker tracks, the localizer has an image every three seconds
_PATIENCE = 10  # queries
_TURN = 2  # queries; hfnet may try another roll on every second image, which must not always meet the same


class GnssArea:
    """Search area of the newest fix, as long as nothing speaks against it.

    One thread may add fixes and poses, and another ask.

    Attributes:
        state: what became of the fix at the last query: "used", "none", or why it was not used.
    """

    def __init__(self, earth_from_map: Rigid3d | None, min_error: float, max_speed: float) -> None:
        """Know no fix.

        Args:
            earth_from_map: pose of the map in ECEF; None for a map without a datum, which no fix can help.
            min_error: minimum error of a fix, as the root mean square of its distance (DRMS) [m].
            max_speed: maximum speed of the vehicle, by which the area grows with the age of the fix [m/s].
        """
        self.state = NONE
        self._earth_from_map, self._min_error, self._max_speed = earth_from_map, min_error, max_speed
        self._fix: GnssFix | None = None
        self._heard = False
        self._pose: tuple[Float64, int] | None = None
        self._in_vain = 0  # queries in the area since the last verified pose in it

    def add_fix(self, fix: GnssFix | None) -> None:
        """Take the newest fix; None if the receiver says that it has no position."""
        self._fix, self._heard = fix, True

    def add_pose(self, position: Float64, stamp_ns: int) -> None:
        """Take the position (3,) of a verified pose in the map [m], and its time [ns]."""
        self._pose = position, stamp_ns

    def at(self, stamp_ns: int) -> SearchArea | None:
        """Area in which a query of a time [ns] is searched; None for the whole map."""
        self.state, area = self._judge(stamp_ns)
        return area

    def _judge(self, stamp_ns: int) -> tuple[str, SearchArea | None]:
        if not self._heard:
            return NONE, None
        if self._earth_from_map is None:
            return "not used: the map has no datum", None
        if (fix := self._fix) is None:
            return "not used: the receiver has no position", None
        if fix.std_m is None:
            return "not used: its position_covariance is unknown", None
        if (error := hypot(*fix.std_m[:2])) > _MAX_ERROR:
            return f"not used: its error is {error:.3g} m", None
        age = (stamp_ns - fix.timestamp_ns) / NANOSECONDS
        if abs(age) > _MAX_AGE:
            return f"not used: it is {abs(age):.1f} s {'older' if age > 0 else 'newer'} than the image", None
        error = max(error, self._min_error)
        if (pose := self._pose) is not None and abs(stamp_ns - pose[1]) <= _RECENT * NANOSECONDS:
            apart = abs(pose[1] - fix.timestamp_ns) / NANOSECONDS
            area = area_of_fix(fix, self._earth_from_map, error, self._max_speed * apart)
            if not area.within(pose[0][None])[0]:
                return f"not used: it is {np.linalg.norm((pose[0] - area.center) @ area.axes):.0f} m off", None
            self._in_vain = 0
        self._in_vain += 1
        if (late := self._in_vain - _PATIENCE - 1) >= 0 and late // _TURN % 2 == 0:
            return f"used in turn with the whole map: {_PATIENCE} images had no pose near it", None
        return USED, area_of_fix(fix, self._earth_from_map, error, self._max_speed * abs(age))


def area_of_fix(fix: GnssFix, earth_from_map: Rigid3d, error: float, driven: float) -> SearchArea:
    """Area around a fix: a circle, which holds the ellipse of the errors however it is turned.

    Args:
        fix: the fix, with errors to the east and to the north.
        earth_from_map: pose of the map in ECEF.
        error: root mean square of its distance (DRMS) [m].
        driven: distance that the vehicle may have driven meanwhile [m].
    """
    altitude = fix.altitude
    if not abs(altitude) <= _MAX_ALTITUDE:
        altitude = geodetic_from_ecef(earth_from_map.translation)[2]
    map_from_enu = earth_from_map.inverse() * earth_from_enu(fix.latitude, fix.longitude, altitude)
    axes = map_from_enu.rotation.matrix()[:, :2]
    return SearchArea(map_from_enu.translation, axes, np.full(2, SIGMAS * error + driven))
