"""Clusters of retrieved keyframes that look at the same landmarks (HF-Net paper, sec. 3, "Covisibility clustering")."""

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from vizloc_ros.arrays import Int64
from vizloc_ros.mapping.visual_map import VisualMap


def covisible_clusters(visual_map: VisualMap, keyframes: Int64) -> list[Int64]:
    """Connected components of keyframes over shared landmarks; one shared landmark connects.

    Args:
        visual_map: the map.
        keyframes: (k,) retrieved keyframes, best first.

    Returns:
        Clusters, the largest first and the better retrieved first among equals; keyframes in order of retrieval.
    """
    landmarks = [visual_map.landmarks_of(int(k)) for k in keyframes]
    rows = np.repeat(np.arange(len(keyframes)), [len(seen) for seen in landmarks])
    distinct, columns = np.unique(np.concatenate(landmarks), return_inverse=True)
    # The shape cannot be left to the entries: a keyframe may see nothing.
    sees = csr_matrix((np.ones(len(rows), np.int32), (rows, columns)), shape=(len(keyframes), len(distinct)))
    count, label = connected_components(sees @ sees.T, directed=False)
    clusters = [keyframes[label == c] for c in range(count)]
    first_rank = [int(np.flatnonzero(label == c)[0]) for c in range(count)]
    order = sorted(range(count), key=lambda c: (-len(clusters[c]), first_rank[c]))
    return [clusters[c] for c in order]
