"""Choice of keyframes among the images of a drive: by motion, without blurred and covered images.

A drive has many images of each place, and none where the camera stands. More keyframes than a map needs make it larger
and slower to build, and a blurred one has landmarks in wrong positions.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress, parallel_map, silent

NEAR, BLURRED, COVERED = "near the keyframe before", "blurred", "covered or without texture"
_NEIGHBORS = 10  # images to either side that an image is compared with
_SHORT_SIDE = 240  # px, of the images that are judged
_BLOCK = 16  # px
_FLAT = 2.0  # gray levels; blocks of a smaller deviation show nothing
_LARGEST_GAP = 2.0  # of the distance and the turn: then a bad image is better than none


class KeyframeOptions(Options):
    """Choice of keyframes among the images."""

    min_distance: float = Field(0.0, ge=0, description="distance between keyframes; 0: all images are keyframes [m]")
    min_turn: float = Field(10.0, gt=0, le=180, description="rotation that makes a keyframe nearer than that [deg]")
    min_sharpness: float = Field(
        0.4, ge=0, le=1, description="sharpness of a keyframe, as a ratio of its neighbors' median; 0: any"
    )
    max_covered: float = Field(
        0.3, ge=0, le=1, description="ratio of the image without texture, beyond its neighbors' median; 1: any"
    )


@dataclass(frozen=True)
class ChosenKeyframes:
    """Chosen images.

    Attributes:
        records: the images that are keyframes, in their order.
        left_out: number of the others by reason.
    """

    records: list[Record]
    left_out: Counter[str]


class Quality(NamedTuple):
    """Quality of an image.

    Attributes:
        sharpness: standard deviation of the second derivative of the gray values.
        flat: ratio of the image without texture.
    """

    sharpness: float
    flat: float


def choose_keyframes(
    records: Sequence[Record], options: KeyframeOptions, progress: Progress = silent
) -> ChosenKeyframes:
    """Choose keyframes among posed images, those of each camera for themselves.

    An image is a keyframe if its camera has moved or turned enough since the last one. If it is blurred or covered, the
    next image takes its place; after twice the distance or turn, the image is taken all the same.

    Args:
        records: images in order of time; those without a pose are kept.
        options: options; with ``min_distance`` 0 all images are keyframes.
        progress: progress display.

    Raises:
        ImageError: an image cannot be read.
    """
    if options.min_distance == 0:
        return ChosenKeyframes(list(records), Counter())
    qualities = parallel_map(image_quality, records, "judging images", progress)
    chosen: list[int] = []
    left_out: Counter[str] = Counter()
    for camera in dict.fromkeys(record.mounting.camera for record in records):
        indices = [index for index, record in enumerate(records) if record.mounting.camera == camera]
        problems = _problems([qualities[index] for index in indices], options)
        reasons = _reasons([records[index] for index in indices], problems, options)
        chosen += [index for index, reason in zip(indices, reasons, strict=True) if not reason]
        left_out.update(reason for reason in reasons if reason)
    return ChosenKeyframes([records[index] for index in sorted(chosen)], left_out)


def image_quality(record: Record) -> Quality:
    """Quality of an image, which is judged at the same size whatever it has. Raises ``ImageError``."""
    gray = gray_image(record.read_image())
    scale = min(1.0, _SHORT_SIDE / min(gray.shape))
    small = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else gray
    sharpness = float(cv2.Laplacian(small, cv2.CV_64F).std())
    return Quality(sharpness, float((_block_deviations(np.asarray(small, np.uint8)) < _FLAT).mean()))


def _block_deviations(gray: UInt8) -> Float64:
    """Standard deviations of the gray values of all whole blocks."""
    rows, columns = (side // _BLOCK for side in gray.shape)
    blocks = gray[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return blocks.astype(np.float64).std(axis=(1, 3)).ravel()


def _problems(qualities: Sequence[Quality], options: KeyframeOptions) -> list[str]:
    """Reason for which each image of a camera makes a bad keyframe; empty for a good one."""
    sharpness, flat = np.array(qualities).reshape(-1, 2).T
    problems = []
    for index, quality in enumerate(qualities):
        near = slice(max(0, index - _NEIGHBORS), index + _NEIGHBORS + 1)
        if quality.flat > np.median(flat[near]) + options.max_covered:
            problems.append(COVERED)
        elif quality.sharpness < options.min_sharpness * np.median(sharpness[near]):
            problems.append(BLURRED)
        else:
            problems.append("")
    return problems


def _reasons(records: Iterable[Record], problems: Iterable[str], options: KeyframeOptions) -> list[str]:
    """Reason for which each image of a camera is no keyframe; empty for a keyframe."""
    last: Record | None = None
    reasons = []
    for record, problem in zip(records, problems, strict=True):
        if record.world_from_cam is None:
            reasons.append("")
            continue
        moved = 1.0 if last is None else _motion(last, record, options)
        reasons.append(NEAR if moved < 1 else problem if moved < _LARGEST_GAP else "")
        if not reasons[-1]:
            last = record
    return reasons


def _motion(last: Record, record: Record, options: KeyframeOptions) -> float:
    """Motion since the last keyframe, as a ratio of what makes a keyframe."""
    if last.world_from_cam is None or record.world_from_cam is None:
        return _LARGEST_GAP
    distance, degrees = pose_error(record.world_from_cam, last.world_from_cam)
    return max(distance / options.min_distance, degrees / options.min_turn)
