"""Records in a world whose origin is elsewhere."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.record import Record

UTM_ORIGIN = np.array([456_000.0, 5_428_000.0, 0.0])  # easting, northing, altitude [m]


def moved(records: Sequence[Record], offset: Float64) -> list[Record]:
    """Posed records with an offset (3,) [m] added to their positions."""
    shift = Rigid3d(Rotation3d(), offset)
    posed = [(record, record.world_from_cam) for record in records]
    return [replace(record, world_from_cam=shift * pose) for record, pose in posed if pose is not None]
