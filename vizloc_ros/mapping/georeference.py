"""Georeference of a map: its pose in the world of its dataset and, where it is known, on the earth.

Landmarks are stored in float32, which is fine near zero only. So a map whose positions are far from zero, such as UTM
coordinates, has an origin of its own. Its pose in the world is ``world_from_map``.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pycolmap import Rigid3d, Rotation3d
from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import ConfigError
from vizloc_ros.geometry.geodesy import earth_from_enu, geodetic_from_ecef, geodetic_from_utm
from vizloc_ros.geometry.poses import array_of, pose_of

FAR_FROM_ZERO = 10_000.0  # m; up to there, float32 is finer than a millimeter
_ROUNDING = 1_000.0  # m; splits of one dataset then mostly have the same origin
_UTM = re.compile(r"(?:utm:)?(\d{1,2})([NS])", re.IGNORECASE)
_DATUM_HELP = "expected LATITUDE,LONGITUDE,ALTITUDE in degrees and meters, or a UTM zone with hemisphere such as 32N"

Quaternion = tuple[float, float, float, float]
_UNTURNED: Quaternion = (0.0, 0.0, 0.0, 1.0)
_UNMOVED = (0.0, 0.0, 0.0, *_UNTURNED)


class Wgs84(BaseModel):
    """Place of a frame on the earth by its origin in WGS 84.

    Attributes:
        latitude: latitude of the origin [deg].
        longitude: longitude of the origin [deg].
        altitude: height of the origin above the ellipsoid [m].
        enu_from_frame: rotation qx qy qz qw to the axes x east, y north, z up at the origin.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: Literal["WGS84"] = "WGS84"
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    altitude: float = Field(allow_inf_nan=False)
    enu_from_frame: Quaternion = _UNTURNED

    @property
    def earth_from_frame(self) -> Rigid3d:
        """Pose of the frame in ECEF."""
        turned = Rigid3d(_rotation(self.enu_from_frame), np.zeros(3))
        return earth_from_enu(self.latitude, self.longitude, self.altitude) * turned

    @property
    def text(self) -> str:
        """Position of the origin for a table."""
        return f"{self.latitude:.7f}, {self.longitude:.7f} deg, {self.altitude:.2f} m (WGS 84)"

    def moved(self, frame_from_other: Rigid3d) -> "Wgs84":
        """Place of another frame, by its pose in this one."""
        return Wgs84.of(self.earth_from_frame * frame_from_other)

    @classmethod
    def of(cls, earth_from_frame: Rigid3d) -> "Wgs84":
        """Place of a frame by its pose in ECEF."""
        latitude, longitude, altitude = geodetic_from_ecef(earth_from_frame.translation)
        turned = earth_from_enu(latitude, longitude, altitude).inverse().rotation * earth_from_frame.rotation
        return cls(latitude=latitude, longitude=longitude, altitude=altitude, enu_from_frame=_quaternion_of(turned))


class Utm(BaseModel):
    """Place of a frame on the earth by its origin in UTM.

    The grid is taken for a frame with the axes x east, y north, z up. It is longer or shorter than the ground by up to
    0.1 %, which no rigid transform can express: right at the origin, and off by up to 1 m in a distance of 1 km.

    Attributes:
        zone: zone, 1 to 60.
        hemisphere: N or S.
        easting: easting of the origin [m].
        northing: northing of the origin [m].
        altitude: height of the origin above the ellipsoid [m].
        grid_from_frame: rotation qx qy qz qw to the axes of the grid.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: Literal["UTM"] = "UTM"
    zone: int = Field(ge=1, le=60)
    hemisphere: Literal["N", "S"]
    easting: float = Field(0.0, allow_inf_nan=False)
    northing: float = Field(0.0, allow_inf_nan=False)
    altitude: float = Field(0.0, allow_inf_nan=False)
    grid_from_frame: Quaternion = _UNTURNED

    @property
    def earth_from_frame(self) -> Rigid3d:
        """Pose of the frame in ECEF."""
        latitude, longitude, convergence = geodetic_from_utm(
            self.zone, self.hemisphere == "N", self.easting, self.northing
        )
        # The grid's north is turned clockwise, about the axis that points down.
        enu_from_grid = Rotation3d(np.array([0.0, 0.0, -math.radians(convergence)]))
        turned = Rigid3d(enu_from_grid * _rotation(self.grid_from_frame), np.zeros(3))
        return earth_from_enu(latitude, longitude, self.altitude) * turned

    @property
    def text(self) -> str:
        """Position of the origin for a table."""
        return f"{self.zone}{self.hemisphere} {self.easting:.2f} {self.northing:.2f}, {self.altitude:.2f} m (UTM)"

    def moved(self, frame_from_other: Rigid3d) -> "Utm":
        """Place of another frame, by its pose in this one."""
        grid_from_frame = Rigid3d(_rotation(self.grid_from_frame), [self.easting, self.northing, self.altitude])
        moved = grid_from_frame * frame_from_other
        easting, northing, altitude = moved.translation.tolist()
        place = {"easting": easting, "northing": northing, "altitude": altitude}
        return self.model_copy(update={**place, "grid_from_frame": _quaternion_of(moved.rotation)})


Datum = Annotated[Wgs84 | Utm, Field(discriminator="system")]


class Georeference(BaseModel):
    """Georeference of a map.

    Attributes:
        world_from_map: pose of the map in the world of its dataset: tx ty tz [m] qx qy qz qw.
        datum: place of the map's frame on the earth; None if it is not known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    world_from_map: tuple[float, float, float, float, float, float, float] = _UNMOVED
    datum: Datum | None = None

    @classmethod
    def of(cls, world_from_map: Rigid3d, datum: Wgs84 | Utm | None = None) -> "Georeference":
        """Georeference by the pose of the map in the world."""
        tx, ty, tz, qx, qy, qz, qw = (array_of(world_from_map) + 0.0).tolist()
        return cls(world_from_map=(tx, ty, tz, qx, qy, qz, qw), datum=datum)

    @classmethod
    def around(
        cls, positions: Float64, datum: Wgs84 | Utm | None = None, world_from_map: Rotation3d | None = None
    ) -> "Georeference | None":
        """Georeference of a new map; None if there is nothing to say.

        The map's origin is that of the world, unless a coordinate is beyond ``FAR_FROM_ZERO``. Then it is the mean
        position, rounded to kilometers.

        Args:
            positions: (K, 3) positions of the keyframes in the world [m].
            datum: place of the world on the earth.
            world_from_map: axes of the map in the world; those of the world by default.
        """
        axes, origin = world_from_map or Rotation3d(), np.zeros(3)
        if np.abs(positions).max() > FAR_FROM_ZERO:
            origin = np.round(positions.mean(axis=0) / _ROUNDING) * _ROUNDING + 0.0
        if not origin.any() and not axes.angle() and datum is None:
            return None
        pose = Rigid3d(axes, origin)
        return cls.of(pose, datum.moved(pose) if datum is not None else None)

    @property
    def is_moved(self) -> bool:
        """True if the map's coordinates are not those of the world."""
        return self.world_from_map != _UNMOVED

    @property
    def world_from_map_pose(self) -> Rigid3d:
        """Pose of the map in the world of its dataset."""
        return pose_of(np.array(self.world_from_map))

    def poses_in_world(self, map_from_cam: Mapping[str, Rigid3d]) -> Mapping[str, Rigid3d]:
        """Poses world_from_cam of poses map_from_cam by name; the same ones if the map is not moved."""
        if not self.is_moved:
            return map_from_cam
        world_from_map = self.world_from_map_pose
        return {name: world_from_map * pose for name, pose in map_from_cam.items()}

    def points_in_world(self, points: Float64) -> Float64:
        """Points (N, 3) [m] of the map in the world; the same ones if the map is not moved."""
        if not self.is_moved:
            return points
        world_from_map = self.world_from_map_pose
        return points @ world_from_map.rotation.matrix().T + world_from_map.translation

    def records_in_map(self, records: Sequence[Record]) -> Sequence[Record]:
        """Records whose poses are those in the map, so that they can be compared with its keyframes and estimates.

        Of two rigidly moved poses, the errors are the same in the map and in the world.
        """
        if not self.is_moved:
            return records
        map_from_world = pose_of(np.array(self.world_from_map)).inverse()
        return [
            record
            if record.world_from_cam is None
            else replace(record, world_from_cam=map_from_world * record.world_from_cam)
            for record in records
        ]


def parse_datum(text: str) -> Wgs84 | Utm | None:
    """Place of a world's origin on the earth, of the text of ``--datum``; None for an empty text.

    Raises:
        ConfigError: it is neither a position nor a UTM zone.
    """
    if not text:
        return None
    if zone := _UTM.fullmatch(text.strip()):
        number, hemisphere = int(zone[1]), zone[2].upper()
        if not 1 <= number <= 60:
            raise ConfigError(f"--datum {text}: UTM zones are 1 to 60")
        return Utm(zone=number, hemisphere="N" if hemisphere == "N" else "S")
    try:
        latitude, longitude, altitude = (float(field) for field in text.split(","))
    except ValueError:
        raise ConfigError(f"--datum {text}: {_DATUM_HELP}") from None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180 and math.isfinite(altitude)):
        raise ConfigError(f"--datum {text}: {_DATUM_HELP}")
    return Wgs84(latitude=latitude, longitude=longitude, altitude=altitude)


def _rotation(quaternion: Quaternion) -> Rotation3d:
    return pose_of(np.array([0.0, 0.0, 0.0, *quaternion])).rotation


def _quaternion_of(rotation: Rotation3d) -> Quaternion:
    x, y, z, w = (array_of(Rigid3d(rotation, np.zeros(3)))[3:] + 0.0).tolist()
    return x, y, z, w
