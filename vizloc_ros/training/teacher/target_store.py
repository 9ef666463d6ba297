"""The teacher's answers, asked for once and kept in files, or asked for every time."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np

from vizloc_ros.arrays import UNREADABLE_ARRAY, UInt8
from vizloc_ros.errors import ImageError
from vizloc_ros.training.fingerprint import fingerprint
from vizloc_ros.training.teacher.targets import Targets
from vizloc_ros.training.teacher.teacher_network import Teacher
from vizloc_ros.training.teacher.warps import Warps
from vizloc_ros.training.training_images import identity, read_gray

_ARRAYS = ("labels", "descriptors", "keypoints", "keypoint_descriptors")


@dataclass(frozen=True)
class TargetStore:
    """Targets of clean images.

    Attributes:
        teacher: answers what is not there yet.
        folder: of the answers, one ``.npz`` an image; none: nothing is kept.
        warps: which views ``load`` makes of an image.
    """

    teacher: Teacher
    folder: Path | None
    warps: Warps = field(default_factory=Warps)

    def load(self, path: Path, variant: int | None = None) -> tuple[UInt8, Targets]:
        """A gray image, cropped to multiples of 8, or a warped view of it, and its targets."""
        kept = None if self.folder is None else self.folder / self._name(path, variant)
        if kept is not None and kept.exists():
            try:
                with np.load(kept, allow_pickle=False) as arrays:
                    return arrays["image"], Targets(*(arrays[name] for name in _ARRAYS))
            except (*UNREADABLE_ARRAY, KeyError, zipfile.BadZipFile) as error:
                raise ImageError(f"{kept}: cannot be read ({error}): delete it, and it is made again") from error
        image = read_gray(path)
        if variant is not None:
            image = self.warps.apply(image, np.random.default_rng([crc32(path.name.encode()), variant]))
        targets = self.teacher.targets(image)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            aside = kept.with_suffix(".part.npz")
            np.savez(aside, image=image, **{name: getattr(targets, name) for name in _ARRAYS})
            aside.replace(kept)
        return image, targets

    def _name(self, path: Path, variant: int | None) -> str:
        """Of the file of a kept answer; it changes with what the answer depends on, or stale ones would be used."""
        facts: tuple[object, ...] = (self.teacher.fingerprint, identity(path))
        if variant is not None:
            facts += (self.warps.model_dump_json(exclude={"share", "variants"}), variant)
        return f"{path.parent.name}_{path.stem}_{fingerprint(*facts)}.npz"
