"""The keyframes that look most like a query (HF-Net paper, sec. 3, "Prior retrieval")."""

import numpy as np

from vizloc_ros.arrays import Float32, Int64
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
