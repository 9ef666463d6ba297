"""Datasets that are lists of image files: with their raw cameras, and poses where they are known."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pycolmap import Rigid3d

from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.datasets.lenses import read_rectified
from vizloc_ros.datasets.record import Mounting, RawImage, Record, unknown_split
from vizloc_ros.datasets.splits import splits_of_cameras
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.rectification import DistortedCamera, rectified_camera


class ListedImage(NamedTuple):
    """Image of a dataset.

    Attributes:
        path: path of the file.
        name: name of the record, the path below the dataset's folder.
        timestamp_ns: time of exposure [ns], or the image's number in seconds where there are no times.
        lens: camera of the raw image.
        world_from_cam: pose of the camera's optical frame; None if there is none.
        where: file, and line if it has some, that lists the image, for error messages.
        mounting: place of the camera on the vehicle.
        submitted_name: as in ``Record``.
    """

    path: Path
    name: str
    timestamp_ns: int
    lens: DistortedCamera
    world_from_cam: Rigid3d | None
    where: str
    mounting: Mounting = Mounting()
    submitted_name: str | None = None


@dataclass(frozen=True)
class ListedDataset:
    """Images of every split, in order of time; images are rectified when they are read.

    Attributes:
        name: specification that the dataset was opened with.
        parts: images of each split.
        advice: action for the user if an image is missing.
    """

    name: str
    parts: Mapping[str, list[ListedImage]]
    advice: str = "unpack the dataset again"

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits in their order."""
        return tuple(self.parts)

    def records(self, split: str) -> list[Record]:
        """Return the records of a split in order of time.

        Raises:
            DatasetError: there is no such split, an image of it is missing, or its camera cannot be rectified.
        """
        if split not in self.parts:
            raise unknown_split(self.name, split, self.parts)
        for image in self.parts[split]:
            if not image.path.is_file():
                raise DatasetError(f"{image.where}: there is no image {image.path}: {self.advice}")
        return [listed_record(image, split) for image in self.parts[split]]


def listed_record(image: ListedImage, split: str) -> Record:
    """Record of an image. Raises ``DatasetError`` if its camera cannot be rectified."""
    try:
        camera = rectified_camera(image.lens)
    except CameraError as error:
        raise DatasetError(f"{image.where}: camera of {image.name}: {error}") from error
    raw = RawImage(image.lens, partial(read_image, image.path, image.lens.pinhole.size))
    return Record(
        name=image.name,
        timestamp_ns=image.timestamp_ns,
        camera=camera,
        split=split,
        world_from_cam=image.world_from_cam,
        read_image=partial(read_rectified, image.path, image.lens),
        file=image.path,
        mounting=image.mounting,
        raw=raw if image.lens.is_distorted else None,
        submitted_name=image.submitted_name,
    )


def in_order(images: Iterable[ListedImage]) -> list[ListedImage]:
    """Images in order of time; those of the same time, of several cameras, by name."""
    return sorted(images, key=lambda image: (image.timestamp_ns, image.name))


def sequence_parts(
    images: Iterable[ListedImage], options: Mapping[str, str], where: str
) -> dict[str, list[ListedImage]]:
    """Splits of a sequence: "all", "posed" if only some images have poses, and a range for each option.

    The ranges are those of ``splits_of_cameras``. The split "map" leaves out images without a pose.

    Raises:
        DatasetError: an option is no range of the images.
    """
    ordered = in_order(images)
    indices = splits_of_cameras(
        options,
        [image.timestamp_ns for image in ordered],
        [image.world_from_cam for image in ordered],
        [image.mounting.camera for image in ordered],
        where,
    )
    parts = {split: [ordered[index] for index in chosen] for split, chosen in indices.items()}
    posed = _posed(ordered)
    if "map" in parts:
        parts["map"] = _posed(parts["map"])
    return {"all": ordered, **({"posed": posed} if 0 < len(posed) < len(ordered) else {}), **parts}


def _posed(images: Iterable[ListedImage]) -> list[ListedImage]:
    return [image for image in images if image.world_from_cam is not None]
