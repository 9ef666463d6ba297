"""Global retrieval: search for the keyframes most similar to a query (HF-Net, section 3)."""

import numpy as np

from vizloc_ros.arrays import Float32, Float64, Int64, evenly
from vizloc_ros.errors import FeatureError
from vizloc_ros.mapping.visual_map import VisualMap


class GlobalIndex:
    """Exact search among (K, G) global descriptors: one matrix-vector product, and a sort of the best.

    The descriptors are copied into memory once: a search reads all of them, and occasional queries would be slow with
    a memory-mapped file that the system dropped from its cache.
    """

    def __init__(self, global_descriptors: Float32) -> None:
        self._descriptors = np.array(global_descriptors, dtype=np.float32, order="C")

    def search(self, query: Float32, k: int) -> tuple[Int64, Float32]:
        """Return the (k,) most similar keyframes and their cosines to the (G,) query, best first; fewer in a small map.

        Raises:
            FeatureError: the query has another length, or is zero or not finite.
        """
        require_query(query, self._descriptors.shape[1])
        similarity = self._descriptors @ query
        if k < len(similarity):
            kth_best = np.partition(similarity, -k)[-k]  # sorting all would take longer than the product
            candidates = np.flatnonzero(similarity >= kth_best)
        else:
            candidates = np.arange(len(similarity))
        return best_first(candidates, similarity[candidates], k)

    def descriptors_of(self, keyframes: Int64) -> Float32:
        """Global descriptors (k, G) of keyframes, from memory."""
        return self._descriptors[keyframes]


def best_first(keyframes: Int64, similarities: Float32, k: int) -> tuple[Int64, Float32]:
    """Return the k most similar of ascending keyframes and their similarities; of equals, the lower index first."""
    order = np.argsort(-similarities, kind="stable")[:k]
    return keyframes[order], similarities[order]


def require_query(query: Float32, size: int) -> None:
    """Raise ``FeatureError`` unless the query is a descriptor of this size, finite and not zero."""
    if query.shape != (size,):
        raise FeatureError(
            f"the global descriptor has {query.size} elements, the map's have {size}: "
            "start the feature node with the map in use"
        )
    if not np.isfinite(query).all() or not query.any():
        raise FeatureError("the global descriptor is zero or not finite: the image shows nothing")


_NEIGHBOR_POWER = (
    3  # usual in query expansion (Radenovic et al., PAMI 2019): neighbors that are hardly alike have no say
)


def averaged_over_neighbors(similarities: Float32, descriptors: Float32, rows: Int64, neighbors: int) -> Float32:
    """Average the similarity of keyframes to a query with those of the keyframes that are most similar to them.

    A place is in several keyframes, a chance resemblance mostly in one. This is augmentation of the database (Turcot
    and Lowe, ICCV workshops 2009; Arandjelovic and Zisserman, CVPR 2012), applied to the similarities: descriptors of
    the map stay as they are.

    Args:
        similarities: (P,) cosines of P keyframes and the query.
        descriptors: (P, G) their global descriptors.
        rows: (R,) indices of the keyframes to average.
        neighbors: number of the most similar ones of the P to average with; 0 changes nothing.

    Returns:
        (R,) means, weighted by the third power of the cosine of the keyframe and its neighbor.
    """
    count = min(neighbors + 1, len(similarities))
    if count < 2:
        return similarities[rows]
    cosines = descriptors[rows] @ descriptors.T
    least = np.partition(cosines, -count, axis=1)[:, -count, None]
    weights = np.where(cosines >= np.maximum(least, 0), cosines, 0) ** _NEIGHBOR_POWER
    averaged: Float32 = weights @ similarities / weights.sum(axis=1)
    return averaged


SPACING_PER_DEPTH = 1 / 7  # distance of keyframes that see a place from clearly different positions
_SAMPLED_KEYFRAMES = 200


def depth_of(visual_map: VisualMap) -> float:
    """Median distance of a map's landmarks from the keyframes that see them [m]; 0 without landmarks."""
    keyframes = evenly(count := len(visual_map.keyframe_poses), min(count, _SAMPLED_KEYFRAMES))
    depths = [
        np.linalg.norm(
            visual_map.landmark_positions[visual_map.landmarks_of(int(k))] - visual_map.keyframe_poses[k, :3], axis=1
        )
        for k in keyframes
    ]
    distances = np.concatenate(depths)
    return float(np.median(distances)) if len(distances) else 0.0


_SAME_DIRECTION = np.cos(np.radians(45))  # cameras of one rig that face other directions see other landmarks


def suppress_neighbors(positions: Float64, directions: Float64, spacing: float, count: int) -> Int64:
    """Non-maximum suppression of N keyframes, best first, over position and viewing direction.

    A keyframe is suppressed if a better one is near and faces about the same direction. If fewer than ``count`` remain,
    the best of the suppressed ones fill up.

    Args:
        positions: (N, 3) camera positions [m].
        directions: (N, 3) unit vectors of the viewing directions.
        spacing: minimum distance of keyframes that face the same direction [m].
        count: maximum number of keyframes to keep.

    Returns:
        Indices of at most ``count`` kept keyframes, ascending.
    """
    kept: list[int] = []
    remaining = np.ones(len(positions), bool)
    while len(kept) < count and remaining.any():
        best = int(remaining.argmax())
        from_best = positions - positions[best]
        near = np.einsum("nd,nd->n", from_best, from_best) < spacing**2
        remaining &= ~(near & (directions @ directions[best] > _SAME_DIRECTION))
        remaining[best] = False
        kept.append(best)
    chosen = np.zeros(len(positions), bool)
    chosen[kept] = True
    chosen[np.flatnonzero(~chosen)[: count - len(kept)]] = True
    return np.flatnonzero(chosen)
