"""Which images and views a step trains the global head on; it depends on the seed and the step only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Bool, Float64, Int64
from vizloc_ros.training.global_head.global_config import GlobalTraining
from vizloc_ros.training.global_head.photos import Photo, distances, positions


@dataclass(frozen=True)
class Draw:
    """N different photos.

    Attributes:
        photos: (N,) indices.
        views: (2, N) two different views of each.
        random: (N,) which were drawn from all; the others come from stretches of the drive.
    """

    photos: Int64
    views: Int64
    random: Bool


class GlobalBatches:
    """Draws the batch of any step. With ``posed``, half of it are stretches: hard negatives and positives."""

    def __init__(self, config: GlobalTraining, photos: Sequence[Photo]) -> None:
        self._config, self._count = config, len(photos)
        self._where: Float64 = positions(photos)
        self._posed = np.flatnonzero(np.isfinite(self._where).all(axis=1))

    def draw(self, step: int) -> Draw:
        """The batch of a step."""
        config = self._config
        rng = np.random.default_rng([config.seed, step])
        chosen = np.zeros(self._count, bool)
        stretches = config.stretches if config.losses.posed else 0
        for _ in range(stretches):
            self._add_stretch(chosen, config.batch // 2 // stretches, rng)
        along = np.flatnonzero(chosen)
        others = rng.choice(np.flatnonzero(~chosen), config.batch - len(along), replace=False)
        views = np.array([rng.permutation(config.views)[:2] for _ in range(config.batch)])
        return Draw(np.concatenate([along, others]), views.T, np.arange(config.batch) >= len(along))

    def _add_stretch(self, chosen: Bool, count: int, rng: np.random.Generator) -> None:
        middle = self._where[rng.choice(self._posed)]
        near = self._posed[distances(self._where[self._posed], middle[None])[:, 0] <= self._config.reach]
        free = near[~chosen[near]]
        chosen[rng.choice(free, min(count, len(free)), replace=False)] = True
