"""The images that are trained on."""

from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import DatasetError, ImageError
from vizloc_ros.features.hfnet.config import CELL


class ImageSource(BaseModel):
    """A folder of images.

    Attributes:
        folder: where they are.
        pattern: glob of the files.
        share: of the crops that come from this source, relative to the other sources' shares.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    pattern: str = "*"
    share: float = Field(default=1.0, gt=0)


class TrainingImages:
    """The files of one or more sources.

    Attributes:
        held_out: those kept for validation.
    """

    def __init__(self, sources: Sequence[ImageSource], held_out: float) -> None:
        """As ``split_images``."""
        self._files, self.held_out = split_images(sources, held_out)
        shares = np.array([source.share for source in sources])
        self._shares = shares / shares.sum()

    def draw(self, count: int, rng: np.random.Generator) -> list[Path]:
        """Random training images, from the sources by their shares."""
        sources = rng.choice(len(self._files), count, p=self._shares)
        return [self._files[source][rng.integers(len(self._files[source]))] for source in sources]


def split_images(sources: Sequence[ImageSource], held_out: float) -> tuple[list[list[Path]], list[Path]]:
    """Training images of every source, and those held out, chosen by a checksum of their names.

    Raises:
        DatasetError: a source has no training image.
    """
    training, validation = [], []
    for source in sources:
        files = sorted(path for path in source.folder.glob(source.pattern) if path.is_file())
        chosen = [crc32(path.name.encode()) / 2**32 >= held_out for path in files]
        kept = [path for path, train in zip(files, chosen, strict=True) if train]
        if not kept:
            raise DatasetError(f"{source.folder}: no images match '{source.pattern}'")
        training.append(kept)
        validation += [path for path, train in zip(files, chosen, strict=True) if not train]
    return training, validation


def read_gray(path: Path) -> UInt8:
    """A gray image cropped at the right and bottom to multiples of 8. Raises ``ImageError`` if there is none."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None or min(image.shape) < CELL:
        raise ImageError(f"{path}: is no image that OpenCV can read: remove it from the training images")
    height, width = (side // CELL * CELL for side in image.shape)
    return np.ascontiguousarray(image[:height, :width])
