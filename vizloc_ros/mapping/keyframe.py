"""A posed image on its way into a map."""

from dataclasses import dataclass

from pycolmap import Rigid3d

from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera


@dataclass(frozen=True)
class Keyframe:
    """One image of the map: name, time [ns], camera, known pose, features."""

    name: str
    timestamp_ns: int
    camera: PinholeCamera
    world_from_cam: Rigid3d
    features: Features
