"""Whole images for the global head: training images with and without poses, and the held-out places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from pycolmap import Rigid3d
from pydantic import Field

from vizloc_ros.arrays import Bool, Float64, Int64, UInt8
from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.errors import DatasetError
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.features.hfnet.image_size import shrink_to_cells
from vizloc_ros.options import Options
from vizloc_ros.readers import open_dataset
from vizloc_ros.training.training_images import ImageSource, split_images
from vizloc_ros.training.training_options import MAY_CHANGE


class PosedSource(Options):
    """Drive with poses.

    Attributes:
        dataset: ``reader:PATH`` as for ``vizloc map build``.
        split: split of the dataset.
        held_out: fraction of the frames, the last ones, whose places are held out.
        gap: distance from the held-out frames within which frames are not used [m].
    """

    dataset: Annotated[str, MAY_CHANGE]
    split: str = "train"
    held_out: float = Field(default=0.25, gt=0, lt=1)
    gap: float = Field(default=20.0, ge=0)


@dataclass(frozen=True)
class Photo:
    """Image without or with a pose.

    Attributes:
        name: name of its file.
        read: function that reads the image as the network's input: (H, W) gray, sides multiples of 8.
        world_from_cam: pose of the camera, or None.
        path: path of its file; None for an image of a dataset.
    """

    name: str
    read: Callable[[], UInt8]
    world_from_cam: Rigid3d | None = None
    path: Path | None = None


def posed_photos(source: PosedSource, long_side: int) -> tuple[list[Photo], list[Photo]]:
    """Training frames and held-out frames of a drive, in order of time.

    Raises:
        DatasetError: the dataset cannot be read, a frame has no pose, or no frame is left to train on.
    """
    where = f"{source.dataset}, split '{source.split}'"
    photos = []
    for record in open_dataset(source.dataset).records(source.split):
        if record.world_from_cam is None:
            raise DatasetError(f"{where}: {record.name} has no pose: choose a split in which all frames have one")
        photos.append(Photo(record.name, partial(_fitted, record.read_image, long_side), record.world_from_cam))
    first = round((1 - source.held_out) * len(photos))
    held_out = photos[first:]
    nearest = distances(positions(photos[:first]), positions(held_out)).min(axis=1, initial=np.inf)
    training = [photo for photo, distance in zip(photos, nearest, strict=False) if distance >= source.gap]
    if not training or not held_out:
        raise DatasetError(
            f"{where}: {len(photos)} frames leave {len(training)} to train on and {len(held_out)} to keep out: change "
            f"held_out ({source.held_out:g}) or gap ({source.gap:g} m), or take a longer drive"
        )
    return training, held_out


def unposed_photos(
    sources: Sequence[ImageSource], held_out: float, count: int, seed: int, long_side: int
) -> list[Photo]:
    """Training images, at most ``count``, from the sources by their weights; without those that stage 1 held out."""
    rng = np.random.default_rng(seed)
    training, _ = split_images(sources, held_out)
    total = sum(source.weight for source in sources)
    photos = []
    for source, files in zip(sources, training, strict=True):
        wanted = round(count * source.weight / total)
        for i in sorted(rng.permutation(len(files))[:wanted]):
            read = partial(_fitted, partial(read_image, files[i]), long_side)
            photos.append(Photo(f"{files[i].parent.name}/{files[i].name}", read, path=files[i]))
    return photos


def positions(photos: Sequence[Photo]) -> Float64:
    """(N, 3) camera centers in the world [m], NaN without a pose."""
    poses = [photo.world_from_cam for photo in photos]
    return np.array([np.full(3, np.nan) if p is None else p.translation for p in poses]).reshape(-1, 3)


def directions(photos: Sequence[Photo]) -> Float64:
    """(N, 3) viewing directions in the world, NaN without a pose."""
    poses = [photo.world_from_cam for photo in photos]
    return np.array([np.full(3, np.nan) if p is None else p.rotation.matrix()[:, 2] for p in poses]).reshape(-1, 3)


def distances(a: Float64, b: Float64) -> Float64:
    """(N, M) distances of (N, 3) and (M, 3) points."""
    return np.linalg.norm(a[:, None] - b, axis=2)


def closeness(photos: Sequence[Photo], radius: float, max_angle: float) -> Float64:
    """Closeness of the places in photos: exp(-(d / radius)^2) at d meters, 0 for other viewing directions.

    Args:
        photos: N photos; one without a pose is close only to itself.
        radius: distance with closeness 1/e [m].
        max_angle: maximum angle between viewing directions [deg].

    Returns:
        (N, N) values from 0 to 1, 1 on the diagonal.
    """
    centers = positions(photos)
    near = np.exp(-((distances(centers, centers) / radius) ** 2))
    near[~_same_direction(photos, max_angle)] = 0
    np.fill_diagonal(near, 1)
    return near


def neighbor_pairs(photos: Sequence[Photo], radius: float, max_angle: float) -> Int64:
    """(M, 2) pairs of photos with poses nearer than ``radius`` [m] and directions within ``max_angle`` [deg]."""
    centers = positions(photos)
    return np.argwhere(np.triu((distances(centers, centers) < radius) & _same_direction(photos, max_angle), k=1))


def _same_direction(photos: Sequence[Photo], max_angle: float) -> Bool:
    """(N, N) mask of viewing directions within ``max_angle`` [deg]; false without a pose, where the cosine is NaN."""
    facing = directions(photos)
    return facing @ facing.T >= np.cos(np.radians(max_angle))


def _fitted(read: Callable[[], UInt8], long_side: int) -> UInt8:
    return shrink_to_cells(gray_image(read()), long_side, None).pixels
