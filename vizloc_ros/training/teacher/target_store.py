"""Store of the teacher's targets: computed once and kept in files, or computed every time."""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np

from vizloc_ros.arrays import UNREADABLE_ARRAY, UInt8
from vizloc_ros.errors import ImageError
from vizloc_ros.files import replacing
from vizloc_ros.training.fingerprint import fingerprint
from vizloc_ros.training.teacher.targets import Targets
from vizloc_ros.training.teacher.teacher_network import Source, Teacher
from vizloc_ros.training.teacher.warps import Warps
from vizloc_ros.training.training_images import identity, read_gray

_ARRAYS = ("labels", "descriptors", "keypoints", "keypoint_descriptors")


@dataclass(frozen=True)
class TargetStore:
    """Targets of unaugmented images.

    Attributes:
        teacher: teacher that computes missing targets.
        folder: folder of the files, one ``.npz`` per image; None to keep none.
        warps: warped views of an image.
    """

    teacher: Teacher
    folder: Path | None
    warps: Warps = field(default_factory=Warps)

    def load(self, path: Path, variant: int | None = None) -> tuple[UInt8, Targets]:
        """Load an image and its targets.

        Args:
            path: file of the image.
            variant: number of a warped view; None for the image itself.

        Returns:
            Gray image, cropped to multiples of 8, or the view; and its targets.

        Raises:
            ImageError: the image or the file of its targets cannot be read.
        """
        kept = None if self.folder is None else self.folder / self._name(path, variant)
        if kept is not None and kept.exists():
            try:
                with np.load(kept, allow_pickle=False) as arrays:
                    return arrays["image"], Targets(*(arrays[name] for name in _ARRAYS))
            except (*UNREADABLE_ARRAY, KeyError, zipfile.BadZipFile) as error:
                raise ImageError(f"{kept}: cannot be read ({error}): delete it, and it is made again") from error
        image, source = read_gray(path), None
        if variant is not None:
            original = image
            image, image_from_view = self.warps.apply(
                image, np.random.default_rng([crc32(path.name.encode()), variant])
            )
            if self.warps.descriptors == "image":
                source = Source(original, image_from_view)
        targets = self.teacher.targets(image, source)
        if kept is not None:
            with replacing(kept) as file:
                np.savez(file, image=image, **{name: getattr(targets, name) for name in _ARRAYS})
        return image, targets

    def _name(self, path: Path, variant: int | None) -> str:
        """Name of the file of targets, which depends on all their inputs, so that outdated files are not used."""
        facts: tuple[object, ...] = (self.teacher.fingerprint, identity(path))
        if variant is not None:
            facts += (self.warps.model_dump_json(exclude={"ratio", "variants"}), variant)
        return f"{path.parent.name}_{path.stem}_{fingerprint(*facts)}.npz"
