"""Further starts around a prior, for when one is not enough."""

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.geometry.se3 import se3_exp

_ALONG, _ASIDE, _TURN = 1.0, 0.5, np.radians(4.0)
_PATTERN = (  # in the camera's frame: x right, z forward, turned about y
    (0.0, _ALONG, 0.0),
    (0.0, -_ALONG, 0.0),
    (_ASIDE, 0.0, -_TURN),
    (-_ASIDE, 0.0, _TURN),
    (0.0, 0.0, _TURN),
    (0.0, 0.0, -_TURN),
)


def starts_around(map_from_cam: Rigid3d, spread: float) -> list[Rigid3d]:
    """map_from_cam of starts ``spread`` times 1 m ahead and behind, 0.5 m aside, and turned by 4 degrees."""
    return [
        map_from_cam * se3_exp(spread * np.array([aside, 0.0, along, 0.0, turn, 0.0]))
        for aside, along, turn in _PATTERN
    ]
