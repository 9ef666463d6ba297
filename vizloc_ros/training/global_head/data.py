"""What a run of the global head is trained and measured on, kept in a cache that runs can share."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vizloc_ros.arrays import UNREADABLE_ARRAY, Float32
from vizloc_ros.errors import ConfigError
from vizloc_ros.features.vlad import Vlad
from vizloc_ros.parallel import Progress
from vizloc_ros.training.distillation.vlad import global_target, read_vlad
from vizloc_ros.training.global_head.config import GlobalTraining
from vizloc_ros.training.global_head.network_split import NetworkSplit
from vizloc_ros.training.global_head.photos import Photo, posed_photos, unposed_photos
from vizloc_ros.training.global_head.places import Places
from vizloc_ros.training.global_head.view_bank import ViewBank
from vizloc_ros.training.teacher.network import Teacher
from vizloc_ros.training.teacher.store import TargetStore

_QUERY_SEED = 0  # not the configuration's: runs of different seeds are asked the same


@dataclass(frozen=True)
class GlobalData:
    """Images and what is known about them.

    Attributes:
        photos: N of them to train on.
        bank: their views.
        targets: (N, G) of distillation, zero where there is none; None if nothing is distilled.
        places: held-out ones.
    """

    photos: list[Photo]
    bank: ViewBank
    targets: Tensor | None
    places: Places

    @classmethod
    def prepare(
        cls, config: GlobalTraining, cache: Path, network: NetworkSplit, dimension: int, progress: Progress
    ) -> "GlobalData":
        """Reads, or makes, everything.

        Args:
            config: of the run.
            cache: folder of what is kept.
            network: its frozen layers.
            dimension: of global descriptors.
            progress: shows how far it is.

        Raises:
            VizlocError: something of it is missing or damaged.
        """

        def bank(photos: Sequence[Photo], seed: int) -> ViewBank:
            facts = (network.encoder_id, config.long_side, config.views, config.changes.model_dump_json(), seed)
            folder = cache / f"views_{_key(photos, *facts)}"
            return ViewBank.build(folder, photos, config.views, config.changes, seed, network.encode, progress)

        posed, held_out = posed_photos(config.posed, config.long_side)
        photos = posed + unposed_photos(
            config.images, config.held_out, config.max_images, config.seed, config.long_side
        )
        if len(photos) < config.batch:
            raise ConfigError(
                f"batch: {config.batch} different images are asked for, and there are {len(photos)} to train on"
            )
        places = Places(held_out, bank(held_out, _QUERY_SEED))
        targets = None
        if config.losses.distill and config.teacher is not None:
            vlad = read_vlad(config.vlad or config.checkpoint.parent / "vlad.npz", dimension)
            store = TargetStore(Teacher(config.teacher), config.targets)
            key = _key(photos, vlad.fingerprint, config.teacher.model_dump_json(), config.long_side)
            targets = torch.from_numpy(_targets(photos, store, vlad, cache / f"targets_{key}.npy", progress))
        return cls(photos, bank(photos, config.seed), targets, places)


def _key(photos: Sequence[Photo], *facts: object) -> str:
    """Eight hexadecimal digits that change with the names of photos, and with facts."""
    return f"{zlib.crc32(repr([*facts, *(photo.name for photo in photos)]).encode()):08x}"


def _targets(photos: Sequence[Photo], store: TargetStore, vlad: Vlad, kept: Path, progress: Progress) -> Float32:
    """Targets (N, G), kept in a ``.npy`` file. Raises ``ConfigError`` if it is damaged."""
    if kept.exists():
        try:
            return np.load(kept, allow_pickle=False)
        except UNREADABLE_ARRAY as error:
            raise ConfigError(f"{kept}: cannot be read ({error}): delete it, and it is made again") from error

    def taught(photo: Photo) -> Float32:
        known = store.teacher.targets(photo.read()) if photo.path is None else store.load(photo.path)[1]
        return global_target(vlad, known)

    described = np.array([taught(photo) for photo in progress(photos, "teacher", len(photos))], np.float32)
    kept.parent.mkdir(parents=True, exist_ok=True)
    aside = kept.with_suffix(".part.npy")
    np.save(aside, described)
    aside.replace(kept)
    return described
