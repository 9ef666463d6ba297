"""What every dataset yields: posed (or unposed) images of one calibrated pinhole camera, in order of time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ConfigError, DatasetError
from vizloc_ros.geometry.camera import PinholeCamera


@dataclass(frozen=True)
class Record:
    """One image of a dataset.

    Attributes:
        name: unique within the dataset; for files, the path below the dataset's folder.
        timestamp_ns: time of exposure [ns].
        camera: the pinhole camera of the (rectified) image.
        split: "map", "query" or whatever the dataset calls its parts.
        world_from_cam: pose of the camera's optical frame (z forward) in the dataset's world, or None.
        read_image: decodes or renders the image: (H, W) gray or (H, W, 3) BGR, uint8. Raises ``ImageError``
            naming the file. Calls are independent of each other and may come from several threads.
    """

    name: str
    timestamp_ns: int
    camera: PinholeCamera
    split: str
    world_from_cam: Rigid3d | None
    read_image: Callable[[], UInt8]


class Dataset(Protocol):
    """A named source of records."""

    @property
    def name(self) -> str:
        """How the dataset was asked for, e.g. ``folder:/data/route``."""
        ...

    @property
    def splits(self) -> Sequence[str]:
        """The splits there are."""
        ...

    def records(self, split: str) -> list[Record]:
        """The records of a split in order of time. Raises ``DatasetError`` naming the splits there are."""
        ...


def every(records: Sequence[Record], n: int) -> list[Record]:
    """Keeps the first and then every n-th record. Raises ``ConfigError`` when n < 1."""
    if n < 1:
        raise ConfigError(f"every {n}-th record cannot be kept; give a number of at least 1")
    return list(records[::n])


def unknown_split(dataset: str, split: str, splits: Iterable[str]) -> DatasetError:
    """The error for a split that the dataset does not have."""
    return DatasetError(f"{dataset} has no split {split!r}; there are: {', '.join(splits) or 'none'}")
