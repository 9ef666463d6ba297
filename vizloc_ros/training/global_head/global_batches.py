"""Images and views of each training step of the global head; they depend only on the seed and the step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Bool, Float64, Int64
from vizloc_ros.training.global_head.global_head_options import GlobalTraining
from vizloc_ros.training.global_head.photos import Photo, distances, positions


@dataclass(frozen=True)
class Draw:
    """Batch of N different photos.

    Attributes:
        photos: (N,) indices of the photos.
        views: (2, N) indices of two different views of each.
        random: (N,) mask of the photos drawn from all; the others are from stretches of the drive.
    """

    photos: Int64
    views: Int64
    random: Bool


class GlobalBatches:
    """Batches by step. With ``posed``, half a batch is from stretches of the drive: hard negatives and positives."""

    def __init__(self, options: GlobalTraining, photos: Sequence[Photo]) -> None:
        self._options, self._count = options, len(photos)
        self._positions: Float64 = positions(photos)
        self._posed = np.flatnonzero(np.isfinite(self._positions).all(axis=1))

    def draw(self, step: int) -> Draw:
        """Draw the batch of a step."""
        options = self._options
        rng = np.random.default_rng([options.seed, step])
        chosen = np.zeros(self._count, bool)
        stretches = options.stretches if options.losses.posed else 0
        for _ in range(stretches):
            self._add_stretch(chosen, options.batch // 2 // stretches, rng)
        along = np.flatnonzero(chosen)
        others = rng.choice(np.flatnonzero(~chosen), options.batch - len(along), replace=False)
        views = np.array([rng.permutation(options.views)[:2] for _ in range(options.batch)])
        return Draw(np.concatenate([along, others]), views.T, np.arange(options.batch) >= len(along))

    def _add_stretch(self, chosen: Bool, count: int, rng: np.random.Generator) -> None:
        middle = self._positions[rng.choice(self._posed)]
        near = self._posed[distances(self._positions[self._posed], middle[None])[:, 0] <= self._options.stretch_radius]
        free = near[~chosen[near]]
        chosen[rng.choice(free, min(count, len(free)), replace=False)] = True
