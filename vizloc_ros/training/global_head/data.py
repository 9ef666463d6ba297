"""Training and validation data of the global head, in a cache that runs can share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vizloc_ros.arrays import UNREADABLE_ARRAY, Float32
from vizloc_ros.errors import InputError
from vizloc_ros.files import replacing
from vizloc_ros.parallel import Progress
from vizloc_ros.training.distillation.vlad_targets import global_target, read_vlad
from vizloc_ros.training.fingerprint import fingerprint
from vizloc_ros.training.global_head.global_head_options import GlobalTraining
from vizloc_ros.training.global_head.network_split import NetworkSplit
from vizloc_ros.training.global_head.photos import Photo, posed_photos, unposed_photos
from vizloc_ros.training.global_head.training_places import Places
from vizloc_ros.training.global_head.view_bank import ViewBank
from vizloc_ros.training.global_head.views import Changes
from vizloc_ros.training.teacher.global_network import GlobalTeacher, GlobalTeacherOptions
from vizloc_ros.training.teacher.target_store import TargetStore
from vizloc_ros.training.teacher.teacher_network import Teacher, TeacherOptions

_QUERY_SEED = 0  # not the run's, as with the changes: all runs are validated with the same queries


@dataclass(frozen=True)
class GlobalData:
    """Training images with their views and targets, and the held-out places.

    Attributes:
        photos: N training images.
        bank: views of the training images.
        targets: (N, G) targets of distillation, zero for images without a target; None without distillation.
        places: held-out places.
    """

    photos: list[Photo]
    bank: ViewBank
    targets: Tensor | None
    places: Places

    @classmethod
    def prepare(
        cls,
        options: GlobalTraining,
        cache: Path,
        network: NetworkSplit,
        dimension: int,
        threads: int,
        progress: Progress,
    ) -> "GlobalData":
        """Read the data, or compute and write what is missing.

        Args:
            options: options of the run.
            cache: folder of the files.
            network: network, for its frozen layers.
            dimension: length of the global descriptors.
            threads: threads of the teacher on the CPU; 0 for all cores.
            progress: progress display.

        Raises:
            VizlocError: images, teacher or files are missing or damaged.
        """

        def bank(photos: Sequence[Photo], changes: Changes, seed: int) -> ViewBank:
            facts = (network.encoder_id, options.long_side, options.views, changes.model_dump_json(), seed)
            folder = cache / f"views_{_key(photos, *facts)}"
            return ViewBank.build(folder, photos, options.views, changes, seed, network.encode, progress)

        posed, held_out = posed_photos(options.posed, options.long_side)
        photos = posed + unposed_photos(
            options.images, options.held_out, options.max_images, options.seed, options.long_side
        )
        if len(photos) < options.batch:
            raise InputError(
                f"batch: {options.batch} different images are needed, and there are {len(photos)} to train on"
            )
        targets = None
        teacher = options.global_teacher or options.teacher
        if options.losses.distill and teacher is not None:
            teacher_id, target = _target_function(teacher, options, dimension, threads)
            kept = cache / f"targets_{_key(photos, teacher_id, options.long_side)}.npy"
            targets = torch.from_numpy(_targets(photos, target, kept, progress))
        places = Places(held_out, bank(held_out, Changes(), _QUERY_SEED))
        return cls(photos, bank(photos, options.changes, options.seed), targets, places)


def _key(photos: Sequence[Photo], *facts: object) -> str:
    """Eight hexadecimal digits that depend on the names of photos, and on facts."""
    return fingerprint(*facts, *(photo.name for photo in photos))


def _target_function(
    of_teacher: GlobalTeacherOptions | TeacherOptions, options: GlobalTraining, dimension: int, threads: int
) -> tuple[str, Callable[[Photo], Float32]]:
    """Fingerprint of a teacher's targets, and the function that computes the target (G,) of a photo."""
    if isinstance(of_teacher, GlobalTeacherOptions):
        global_teacher = GlobalTeacher(of_teacher, dimension, threads)
        return global_teacher.fingerprint, lambda photo: global_teacher.describe(photo.read())
    teacher = Teacher(of_teacher, threads)
    vlad_path = options.vlad or options.checkpoint.parent / "vlad.npz"
    vlad = read_vlad(vlad_path, dimension, {"teacher": teacher.fingerprint})
    store = TargetStore(teacher, options.targets)

    def target(photo: Photo) -> Float32:
        targets = teacher.targets(photo.read()) if photo.path is None else store.load(photo.path)[1]
        return global_target(vlad, targets)

    return f"{teacher.fingerprint} {vlad.fingerprint}", target


def _targets(photos: Sequence[Photo], target: Callable[[Photo], Float32], kept: Path, progress: Progress) -> Float32:
    """Targets (N, G) of photos, from a ``.npy`` file or computed. Raises ``InputError`` if the file is damaged."""
    if kept.exists():
        try:
            return np.load(kept, allow_pickle=False)
        except UNREADABLE_ARRAY as error:
            raise InputError(f"{kept}: cannot be read ({error}): delete it, and it is made again") from error

    targets = np.array([target(photo) for photo in progress(photos, "teacher", len(photos))], np.float32)
    with replacing(kept) as file:
        np.save(file, targets)
    return targets
