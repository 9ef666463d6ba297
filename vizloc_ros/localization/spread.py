"""Retrieved keyframes that are not all from one spot: a dense map has ten of them within a few metres."""

import numpy as np

from vizloc_ros.arrays import Float64, Int64

_SAME_DIRECTION = np.cos(np.radians(45))  # cameras of one rig that look elsewhere see other things


def spread(positions: Float64, directions: Float64, spacing: float, count: int) -> Int64:
    """Which of N keyframes, best first, to take: each unless a better one is near, then the best of the others.

    Args:
        positions: (N, 3) [m].
        directions: (N, 3) unit vectors of the viewing directions.
        spacing: what is nearer than this, and looks the same way, is near [m].
        count: how many to take at most.

    Returns:
        Ascending indices, at most ``count``.
    """
    taken: list[int] = []
    free = np.ones(len(positions), bool)
    while len(taken) < count and free.any():
        best = int(free.argmax())
        near = np.linalg.norm(positions - positions[best], axis=1) < spacing
        free &= ~(near & (directions @ directions[best] > _SAME_DIRECTION))
        free[best] = False
        taken.append(best)
    others = np.setdiff1d(np.arange(len(positions)), taken)
    return np.sort(np.concatenate([taken, others[: count - len(taken)]]).astype(np.int64))
