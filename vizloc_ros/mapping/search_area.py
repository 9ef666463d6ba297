"""Part of a map in which the vehicle is said to be, by a person or by a GNSS receiver."""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Bool, Float64

SIGMAS = 3.0  # standard deviations that are searched


@dataclass(frozen=True)
class SearchArea:
    """Ellipse on the ground, with all that is above and below it.

    Attributes:
        center: (3,) center in the map frame [m].
        axes: (3, 2) directions of its two axes, level unit vectors in the map frame.
        radii: (2,) lengths of its half-axes [m].
    """

    center: Float64
    axes: Float64
    radii: Float64

    def distances(self, positions: Float64, margin: float = 0.0) -> Float64:
        """Distances of (N, 3) positions from the center: 1 on the ellipse, which is widened by a margin [m]."""
        offsets = (positions - self.center) @ self.axes
        return np.asarray(np.linalg.norm(offsets / (self.radii + margin), axis=1))

    def within(self, positions: Float64, margin: float = 0.0) -> Bool:
        """Mask of the (N, 3) positions in the ellipse."""
        return np.asarray(self.distances(positions, margin) <= 1)
