"""What a run of the global head is trained and measured on, kept in a cache that runs can share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vizloc_ros.arrays import UNREADABLE_ARRAY, Float32
from vizloc_ros.errors import ConfigError
from vizloc_ros.parallel import Progress
from vizloc_ros.training.distillation.vlad_targets import global_target, read_vlad
from vizloc_ros.training.fingerprint import fingerprint
from vizloc_ros.training.global_head.global_config import GlobalTraining
from vizloc_ros.training.global_head.network_split import NetworkSplit
from vizloc_ros.training.global_head.photos import Photo, posed_photos, unposed_photos
from vizloc_ros.training.global_head.training_places import Places
from vizloc_ros.training.global_head.view_bank import ViewBank
from vizloc_ros.training.global_head.views import Changes
from vizloc_ros.training.teacher.global_network import GlobalTeacher, GlobalTeacherConfig
from vizloc_ros.training.teacher.target_store import TargetStore
from vizloc_ros.training.teacher.teacher_network import Teacher, TeacherConfig

_QUERY_SEED = 0  # not the configuration's, nor its changes: runs that differ in these are asked the same


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
        cls,
        config: GlobalTraining,
        cache: Path,
        network: NetworkSplit,
        dimension: int,
        threads: int,
        progress: Progress,
    ) -> "GlobalData":
        """Reads, or makes, everything.

        Args:
            config: of the run.
            cache: folder of what is kept.
            network: its frozen layers.
            dimension: of global descriptors.
            threads: of the teacher on the CPU; 0 for all cores.
            progress: shows how far it is.

        Raises:
            VizlocError: something of it is missing or damaged.
        """

        def bank(photos: Sequence[Photo], changes: Changes, seed: int) -> ViewBank:
            facts = (network.encoder_id, config.long_side, config.views, changes.model_dump_json(), seed)
            folder = cache / f"views_{_key(photos, *facts)}"
            return ViewBank.build(folder, photos, config.views, changes, seed, network.encode, progress)

        posed, held_out = posed_photos(config.posed, config.long_side)
        photos = posed + unposed_photos(
            config.images, config.held_out, config.max_images, config.seed, config.long_side
        )
        if len(photos) < config.batch:
            raise ConfigError(
                f"batch: {config.batch} different images are asked for, and there are {len(photos)} to train on"
            )
        targets = None
        teacher = config.global_teacher or config.teacher
        if config.losses.distill and teacher is not None:
            answers, ask = _asked(teacher, config, dimension, threads)
            kept = cache / f"targets_{_key(photos, answers, config.long_side)}.npy"
            targets = torch.from_numpy(_targets(photos, ask, kept, progress))
        places = Places(held_out, bank(held_out, Changes(), _QUERY_SEED))
        return cls(photos, bank(photos, config.changes, config.seed), targets, places)


def _key(photos: Sequence[Photo], *facts: object) -> str:
    """Eight hexadecimal digits that change with the names of photos, and with facts."""
    return fingerprint(*facts, *(photo.name for photo in photos))


def _asked(
    asked: GlobalTeacherConfig | TeacherConfig, config: GlobalTraining, dimension: int, threads: int
) -> tuple[str, Callable[[Photo], Float32]]:
    """A fingerprint of a teacher's answers, and the function that makes a photo's target (G,)."""
    if isinstance(asked, GlobalTeacherConfig):
        whole = GlobalTeacher(asked, dimension, threads)
        return whole.fingerprint, lambda photo: whole.describe(photo.read())
    teacher = Teacher(asked, threads)
    vlad_path = config.vlad or config.checkpoint.parent / "vlad.npz"
    vlad = read_vlad(vlad_path, dimension, {"teacher": teacher.fingerprint})
    store = TargetStore(teacher, config.targets)

    def taught(photo: Photo) -> Float32:
        known = teacher.targets(photo.read()) if photo.path is None else store.load(photo.path)[1]
        return global_target(vlad, known)

    return f"{teacher.fingerprint} {vlad.fingerprint}", taught


def _targets(photos: Sequence[Photo], ask: Callable[[Photo], Float32], kept: Path, progress: Progress) -> Float32:
    """Targets (N, G), kept in a ``.npy`` file. Raises ``ConfigError`` if it is damaged."""
    if kept.exists():
        try:
            return np.load(kept, allow_pickle=False)
        except UNREADABLE_ARRAY as error:
            raise ConfigError(f"{kept}: cannot be read ({error}): delete it, and it is made again") from error

    described = np.array([ask(photo) for photo in progress(photos, "teacher", len(photos))], np.float32)
    kept.parent.mkdir(parents=True, exist_ok=True)
    aside = kept.with_suffix(".part.npy")
    np.save(aside, described)
    aside.replace(kept)
    return described
