"""Records, the common output of all datasets: posed or unposed images with their calibrated pinhole cameras.

Bags get more of it, where a dataset has it: images before their rectification, poses on the vehicle, and GNSS fixes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol, runtime_checkable

from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ConfigError, DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import DistortedCamera


class Calibration(Enum):
    """Origin of the intrinsics of an image."""

    KNOWN = "known"
    EXIF = "of EXIF"
    GUESSED = "guessed"


@dataclass(frozen=True)
class Mounting:
    """Place of a camera on its vehicle.

    Attributes:
        camera: name of the camera; empty for the only one.
        base_from_cam: pose of its optical frame in the frame of the vehicle; None if it is not known.
    """

    camera: str = ""
    base_from_cam: Rigid3d | None = None


@dataclass(frozen=True)
class RawImage:
    """Image as it was recorded, before its rectification.

    Attributes:
        lens: camera with its distortion.
        read: function that decodes the image, as ``Record.read_image``.
    """

    lens: DistortedCamera
    read: Callable[[], UInt8]


@dataclass(frozen=True)
class GnssFix:
    """Position of a GNSS receiver.

    Attributes:
        timestamp_ns: time [ns].
        latitude: latitude, WGS 84 [deg].
        longitude: longitude, WGS 84 [deg].
        altitude: altitude [m].
        std_m: standard deviations to the east, the north and up [m]; None if they are not known.
    """

    timestamp_ns: int
    latitude: float
    longitude: float
    altitude: float
    std_m: tuple[float, float, float] | None = None


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
        mounting: place of the camera on the vehicle.
        raw: image before its rectification; None if ``read_image`` gives it as it was recorded.
        submitted_name: name in a submission to visuallocalization.net; None for an image that is no query of it.
        calibration: origin of the intrinsics of ``camera``.
    """

    name: str
    timestamp_ns: int
    camera: PinholeCamera
    split: str
    world_from_cam: Rigid3d | None
    read_image: Callable[[], UInt8]
    file: Path | None = None
    mounting: Mounting = Mounting()
    raw: RawImage | None = None
    submitted_name: str | None = None
    calibration: Calibration = Calibration.KNOWN


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


@runtime_checkable
class FixedDataset(Dataset, Protocol):
    """Dataset with the fixes of a GNSS receiver."""

    def fixes(self, split: str) -> list[GnssFix]:
        """Return the fixes while a split was recorded, in order of time. Raises ``DatasetError`` as ``records``."""
        ...


def fixes_of(dataset: Dataset, split: str) -> list[GnssFix]:
    """Return the fixes while a split was recorded; none if the dataset has no GNSS receiver."""
    return dataset.fixes(split) if isinstance(dataset, FixedDataset) else []


@runtime_checkable
class UncalibratedDataset(Dataset, Protocol):
    """Dataset whose images may have no calibration; ``records`` refuses those, because poses need one."""

    def pictures(self, split: str) -> list[Record]:
        """Return the records of a split, with or without a calibration. Raises ``DatasetError`` as ``records``."""
        ...


def pictures_of(dataset: Dataset, split: str) -> list[Record]:
    """Return the records of a split, also those without a calibration."""
    return dataset.pictures(split) if isinstance(dataset, UncalibratedDataset) else dataset.records(split)


def every(records: Sequence[Record], n: int) -> list[Record]:
    """Return the first and then every n-th record, of each camera. Raises ``ConfigError`` if n < 1."""
    if n < 1:
        raise ConfigError(f"every {n}-th record cannot be kept; give a number of at least 1")
    counts: Counter[str] = Counter()
    kept: list[Record] = []
    for record in records:
        if counts[record.mounting.camera] % n == 0:
            kept.append(record)
        counts[record.mounting.camera] += 1
    return kept


def of_first_camera(records: Sequence[Record]) -> list[Record]:
    """Return the records of the camera of the first one: the tracker follows one camera of a vehicle."""
    return [record for record in records if record.mounting.camera == records[0].mounting.camera]


def unknown_split(dataset: str, split: str, splits: Iterable[str]) -> DatasetError:
    """Error for a split that the dataset does not have."""
    return DatasetError(f"{dataset} has no split {split!r}; there are: {', '.join(splits) or 'none'}")
