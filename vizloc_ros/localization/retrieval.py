"""The keyframes that look most like a query (HF-Net paper, sec. 3, "Prior retrieval")."""

import numpy as np

from vizloc_ros.arrays import Float32, Int64
from vizloc_ros.errors import FeatureError


class GlobalIndex:
    """Exact search among (K, G) global descriptors: one matrix-vector product and a sort.

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
        if query.shape != self._descriptors.shape[1:]:
            raise FeatureError(
                f"the global descriptor has {query.size} elements, the map's have {self._descriptors.shape[1]}: "
                "start the feature node with the map in use"
            )
        if not np.isfinite(query).all() or not query.any():
            raise FeatureError("the global descriptor is zero or not finite: the image shows nothing")
        similarity = self._descriptors @ query
        best = np.argsort(-similarity, kind="stable")[:k]  # stable: the lower index among equals
        return best, similarity[best]
