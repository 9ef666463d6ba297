"""Global retrieval: the keyframes of a map most similar to a query (HF-Net, section 3)."""

import numpy as np

from vizloc_ros.arrays import Float32, Float64, Int64
from vizloc_ros.errors import FeatureError


class GlobalIndex:
    """Exact search among (K, G) global descriptors: one matrix-vector product, and a sort of the best.

    The descriptors are copied into memory once: a search reads all of them, and a memory-mapped file that the system
    dropped from its cache would make one query in many slow.
    """

    def __init__(self, global_descriptors: Float32) -> None:
        self._descriptors = np.array(global_descriptors, dtype=np.float32, order="C")

    def search(self, query: Float32, k: int) -> tuple[Int64, Float32]:
        """The (k,) best keyframes, best first, and their similarities; fewer when the map has fewer.

        Raises:
            FeatureError: the (G,) query has another length, or is zero or not finite.
        """
        require_query(query, self._descriptors.shape[1])
        similarity = self._descriptors @ query
        if k < len(similarity):
            kth_best = np.partition(similarity, -k)[-k]  # sorting all would take longer than the product
            candidates = np.flatnonzero(similarity >= kth_best)
        else:
            candidates = np.arange(len(similarity))
        return best_first(candidates, similarity[candidates], k)


def best_first(keyframes: Int64, similarities: Float32, k: int) -> tuple[Int64, Float32]:
    """The k most similar of ascending keyframes, the lower index first among equals, and their similarities."""
    order = np.argsort(-similarities, kind="stable")[:k]
    return keyframes[order], similarities[order]


def require_query(query: Float32, size: int) -> None:
    """Raises ``FeatureError`` unless the query is a (size,) descriptor of something."""
    if query.shape != (size,):
        raise FeatureError(
            f"the global descriptor has {query.size} elements, the map's have {size}: "
            "start the feature node with the map in use"
        )
    if not np.isfinite(query).all() or not query.any():
        raise FeatureError("the global descriptor is zero or not finite: the image shows nothing")


_SAME_DIRECTION = np.cos(np.radians(45))  # cameras of one rig that look elsewhere see other things


def suppress_neighbours(positions: Float64, directions: Float64, spacing: float, count: int) -> Int64:
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
