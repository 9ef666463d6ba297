"""Training images from folders, and those held out for validation."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated
from zlib import crc32

import cv2
import numpy as np
from pydantic import Field

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import DatasetError, ImageError
from vizloc_ros.features.hfnet.hfnet_config import CELL
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.training.training_options import MAY_CHANGE


class ImageSource(Options):
    """Folder of images.

    Attributes:
        folder: path of the folder.
        pattern: glob of the files.
        weight: weight of the source when a crop's source is drawn.
    """

    folder: Annotated[Path, MAY_CHANGE]
    pattern: str = "*"
    weight: float = Field(default=1.0, gt=0)


class TrainingImages:
    """Files of one or more sources.

    Attributes:
        held_out: files for validation.
    """

    def __init__(self, sources: Sequence[ImageSource], held_out: float) -> None:
        """Find the files and split them as ``split_images`` does."""
        self._files, self.held_out = split_images(sources, held_out)
        weights = np.array([source.weight for source in sources])
        self._probabilities = weights / weights.sum()

    def check_sizes(self, side: int, progress: Progress = silent) -> None:
        """Read every image once, so that a run does not fail after hours.

        Raises:
            ImageError: a file is not an image.
            DatasetError: an image is smaller than a crop.
        """
        files = [*(path for found in self._files for path in found), *self.held_out]

        def is_small(path: Path) -> bool:
            return min(read_gray(path).shape) < side

        small = parallel_map(is_small, files, "checking images", progress)
        if names := [str(path) for path, found in zip(files, small, strict=True) if found]:
            others = f" (and {len(names) - 1} more)" if names[1:] else ""
            raise DatasetError(f"{names[0]}{others}: smaller than a crop of {side} px: remove it or lower 'crop'")

    def draw(self, count: int, rng: np.random.Generator) -> list[Path]:
        """Random training images, from sources that are drawn by their weights."""
        sources = rng.choice(len(self._files), count, p=self._probabilities)
        return [self._files[source][rng.integers(len(self._files[source]))] for source in sources]

    def sample(self, count: int, seed: int) -> list[Path]:
        """Training images without repetition, at most ``count``, from sources that are drawn by their weights."""
        return sorted(set(self.draw(count, np.random.default_rng(seed))))


def split_images(sources: Sequence[ImageSource], held_out: float) -> tuple[list[list[Path]], list[Path]]:
    """Split images by the checksums of their names.

    Args:
        sources: folders of images.
        held_out: fraction of the images to hold out; at least one image is.

    Returns:
        Training images of every source, and held-out images.

    Raises:
        DatasetError: a source has no training image.
    """
    found = [sorted(path for path in source.folder.glob(source.pattern) if path.is_file()) for source in sources]
    checksums = [[crc32(path.name.encode()) for path in files] for files in found]
    first = max(held_out * 2**32, 1 + min(chain.from_iterable(checksums), default=0))  # checksum of a training image
    training, validation = [], []
    for source, files, numbers in zip(sources, found, checksums, strict=True):
        training.append([path for path, number in zip(files, numbers, strict=True) if number >= first])
        validation += [path for path, number in zip(files, numbers, strict=True) if number < first]
        if not training[-1]:
            raise DatasetError(
                f"{source.folder}: {len(files)} images match '{source.pattern}', and without those that are held out "
                "none is left to train on: give more"
            )
    return training, validation


def identity(path: Path) -> tuple[str, str, int]:
    """Identity of an image file in any location: names of its folder and of the file, and its size in bytes.

    Raises:
        ImageError: there is no such file.
    """
    try:
        return path.parent.name, path.name, path.stat().st_size
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error


def read_gray(path: Path) -> UInt8:
    """Read an image as gray, cropped at right and bottom to multiples of 8. Raises ``ImageError`` if this fails."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None or min(image.shape) < CELL:
        raise ImageError(f"{path}: is no image that OpenCV can read: remove it from the training images")
    height, width = (side // CELL * CELL for side in image.shape)
    return np.ascontiguousarray(image[:height, :width])
