"""Retrieval on held-out places."""

from collections.abc import Sequence

import numpy as np
from torch import nn

from vizloc_ros.arrays import Bool, Float32
from vizloc_ros.errors import DatasetError
from vizloc_ros.training.global_head.photos import Photo, distances, positions
from vizloc_ros.training.global_head.view_bank import ViewBank, describe_views

DATABASE_EVERY = 4
RADIUS = 5.0  # of a place [m]
RANKS = (1, 5)


class Places:
    """Retrieval of changed views among the unchanged frames of a drive.

    Every fourth frame is in the database; changed views of the frames between are the queries.
    """

    def __init__(self, photos: Sequence[Photo], bank: ViewBank) -> None:
        """Choose database and queries. Raises ``DatasetError`` if no query has a database frame within 5 m."""
        self._bank = bank
        database = range(0, len(photos), DATABASE_EVERY)
        queries = [i for i in range(len(photos)) if i % DATABASE_EVERY]
        centers = positions(photos)
        near = distances(centers[queries], centers[database]) <= RADIUS
        self._database = [(i, 0) for i in database]
        self._queries = [(i, view) for i in queries for view in range(1, bank.views)]
        self._near = np.repeat(near, bank.views - 1, axis=0)
        if not self._near.any():
            raise DatasetError(
                f"of {len(photos)} held-out frames, every {DATABASE_EVERY}th is to be found by those between, and none "
                f"is within {RADIUS:g} m of another: raise posed.held_out, or take a slower drive"
            )

    def recall(self, head: nn.Module) -> dict[str, float]:
        """Recalls ``recall_1`` and ``recall_5`` of a head, see ``place_recall``."""
        database = describe_views(head, self._bank, self._database).numpy()
        queries = describe_views(head, self._bank, self._queries).numpy()
        recalls = place_recall(queries @ database.T, self._near, RANKS)
        return {f"recall_{rank}": recall for rank, recall in zip(RANKS, recalls, strict=True)}


def place_recall(similarity: Float32, near: Bool, ranks: Sequence[int]) -> list[float]:
    """Ratio of queries with a database image of their place among the most similar ones.

    Args:
        similarity: (Q, D) similarities of queries and database images.
        near: (Q, D) mask of the database images of the query's place; queries without any do not count.
        ranks: numbers of most similar images, each with a recall of its own.

    Returns:
        Recall by rank.
    """
    similarity, near = similarity[near.any(axis=1)], near[near.any(axis=1)]
    best_first = np.argsort(-similarity, axis=1, kind="stable")
    found = np.take_along_axis(near, best_first, axis=1)
    return [float(found[:, :rank].any(axis=1).mean()) for rank in ranks]
