"""Records, the common output of all datasets: posed or unposed images with their calibrated pinhole cameras."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ConfigError, DatasetError
from vizloc_ros.geometry.camera import PinholeCamera


@dataclass(frozen=True)
class Record:
    """One image of a dataset.

    Attributes:
        name: name, unique within the dataset; for files, the path below the dataset's folder.
        timestamp_ns: time of exposure [ns].
        camera: pinhole camera of the (rectified) image.
        split: name of the part of the dataset, such as "map" or "query".
        world_from_cam: pose of the camera's optical frame (z forward) in the dataset's world; None without a pose.
        read_image: function that decodes or renders the image: (H, W) gray or (H, W, 3) BGR, uint8. Raises
            ``ImageError`` that names the file. It may be called from several threads.
        file: file of the image; None if it comes from elsewhere.
        submitted_name: name in a submission to visuallocalization.net; None for an image that is no query of it.
    """

    name: str
    timestamp_ns: int
    camera: PinholeCamera
    split: str
    world_from_cam: Rigid3d | None
    read_image: Callable[[], UInt8]
    file: Path | None = None
    submitted_name: str | None = None


class Dataset(Protocol):
    """Named source of records."""

    @property
    def name(self) -> str:
        """Specification that the dataset was opened with, e.g. ``folder:/data/route``."""
        ...

    @property
    def splits(self) -> Sequence[str]:
        """Names of the splits."""
        ...

    def records(self, split: str) -> list[Record]:
        """Return the records of a split in order of time. Raises ``DatasetError`` for an unknown split."""
        ...


def every(records: Sequence[Record], n: int) -> list[Record]:
    """Return the first and then every n-th record. Raises ``ConfigError`` if n < 1."""
    if n < 1:
        raise ConfigError(f"every {n}-th record cannot be kept; give a number of at least 1")
    return list(records[::n])


def unknown_split(dataset: str, split: str, splits: Iterable[str]) -> DatasetError:
    """Error for a split that the dataset does not have."""
    return DatasetError(f"{dataset} has no split {split!r}; there are: {', '.join(splits) or 'none'}")
