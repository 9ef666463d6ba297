"""Splits of a sequence by the numbers of its images, by time, or by the distance driven.

``map=90-230`` are images in order of time, ``map=0s-60s`` seconds from the first image, and ``map=0m-250m`` meters
along the trajectory. Both ends are included.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.errors import DatasetError
from vizloc_ros.timing import NANOSECONDS

_SECONDS, _METERS = "s", "m"
_RANGE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([sm]?)-(\d+(?:\.\d*)?|\.\d+)([sm]?)", re.ASCII)


def splits_of_cameras(
    options: Mapping[str, str],
    stamps_ns: Sequence[int],
    poses: Sequence[Rigid3d | None],
    cameras: Sequence[str],
    where: str,
) -> dict[str, list[int]]:
    """Indices of images as ``sequence_splits``, of one or several cameras.

    The ranges count the images of the first camera. An image of another one belongs with that which is nearest in time.

    Args:
        options: range of each split by its name.
        stamps_ns: time of each image, in ascending order [ns].
        poses: pose of each image; None where it is not known.
        cameras: name of the camera of each image.
        where: specification of the dataset, for the error.

    Raises:
        DatasetError: as ``sequence_splits``.
    """
    counted = [index for index, camera in enumerate(cameras) if camera == cameras[0]]
    if len(counted) == len(cameras):
        return sequence_splits(options, stamps_ns, poses, where)
    times = [stamps_ns[index] for index in counted]
    chosen = sequence_splits(options, times, [poses[index] for index in counted], where)
    frame_of = _nearest(stamps_ns, times)
    return {
        split: [index for index, frame in enumerate(frame_of) if frame in frames]
        for split, frames in ((split, set(frames)) for split, frames in chosen.items())
    }


def _nearest(stamps_ns: Sequence[int], counted_ns: Sequence[int]) -> list[int]:
    """Index of the counted image nearest in time to each image; both in order of time."""
    frames, frame = [], 0
    for stamp in stamps_ns:
        while frame + 1 < len(counted_ns) and abs(counted_ns[frame + 1] - stamp) <= abs(counted_ns[frame] - stamp):
            frame += 1
        frames.append(frame)
    return frames


def sequence_splits(
    options: Mapping[str, str], stamps_ns: Sequence[int], poses: Sequence[Rigid3d | None], where: str
) -> dict[str, list[int]]:
    """Indices of the images of "all", and of each option ``NAME=FIRST-LAST``, ``NAME=1.5s-60s`` or ``NAME=0m-250m``.

    Args:
        options: range of each split by its name.
        stamps_ns: time of each image, in ascending order [ns].
        poses: pose of each image in the same world; None where it is not known.
        where: specification of the dataset, for the error.

    Raises:
        DatasetError: a range is malformed, or not one of images that there are.
    """
    splits = {"all": list(range(len(stamps_ns)))}
    for name, text in options.items():
        match = _RANGE.fullmatch(text)
        if match is None or match[2] != match[4] or (not match[2] and "." in text):
            raise DatasetError(
                f"{where}: {name}={text}; write the frames as FIRST-LAST, for example {name}=90-230, or 12.5s-60s, or "
                "0m-250m"
            )
        first, last, unit = float(match[1]), float(match[3]), match[2]
        if unit == _SECONDS:
            values = np.array([stamp - stamps_ns[0] for stamp in stamps_ns]) / NANOSECONDS
        elif unit == _METERS:
            values = _driven(stamps_ns, poses)
        else:
            values = np.arange(len(stamps_ns), dtype=np.float64)
        if not len(values):
            needed = "pose" if unit == _METERS else "image"
            raise DatasetError(f"{where}: {name}={text}; the sequence has no {needed}")
        chosen = np.flatnonzero((values >= first) & (values <= last))
        if not len(chosen) or (not unit and last > values[-1]):
            end = f"{values[-1]:.0f}" if not unit else f"{values[-1]:.2f}{unit}"
            raise DatasetError(f"{where}: {name}={text}; the sequence has the frames 0{unit}-{end}")
        splits[name] = [int(index) for index in chosen]
    return splits


def _driven(stamps_ns: Sequence[int], poses: Sequence[Rigid3d | None]) -> Float64:
    """(N,) distance along the trajectory [m]; of images without a pose by their time. Empty without any pose."""
    posed = {stamp: pose.translation for stamp, pose in zip(stamps_ns, poses, strict=True) if pose is not None}
    if not posed:
        return np.zeros(0)
    steps = [float(np.linalg.norm(after - before)) for before, after in pairwise(posed.values())]
    start = stamps_ns[0]
    times = np.array([stamp - start for stamp in posed], dtype=np.float64)
    driven: Float64 = np.interp([stamp - start for stamp in stamps_ns], times, np.cumsum([0.0, *steps]))
    return driven
