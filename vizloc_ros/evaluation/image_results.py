"""``images.npz``: what an evaluation knows of each image, so that a viewer can show it; see ``vizloc view``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import UNREADABLE_ARRAY, Float32, Float64, Int32
from vizloc_ros.bounded import open_regular
from vizloc_ros.errors import DatasetError
from vizloc_ros.features.types import Features
from vizloc_ros.files import replacing
from vizloc_ros.geometry.poses import array_of, pose_of
from vizloc_ros.localization.outcome import LocalizedPose

IMAGES_FILE = "images.npz"
_OUTLIER = -1
_UNREADABLE = (*UNREADABLE_ARRAY, BadZipFile, KeyError)


@dataclass(frozen=True)
class ImageMatches:
    """Matches of an image to landmarks of the map.

    Attributes:
        pixels: (m, 2) keypoints in the image [px].
        landmarks: (m,) ids of their landmarks; -1 for matches that are outliers.
    """

    pixels: Float32
    landmarks: Int32

    @classmethod
    def of(cls, features: Features, pose: LocalizedPose) -> "ImageMatches":
        """Matches of a localized image, the inliers first."""
        outliers = np.full(len(pose.rejected), _OUTLIER, np.int32)
        return cls(
            np.asarray(features.keypoints[np.concatenate([pose.keypoints, pose.rejected])], np.float32),
            np.concatenate([pose.landmark_ids, outliers]).astype(np.int32),
        )

    @property
    def inliers(self) -> "ImageMatches":
        """Matches that support the pose."""
        found = self.landmarks != _OUTLIER
        return ImageMatches(self.pixels[found], self.landmarks[found])

    @property
    def outliers(self) -> Float32:
        """Keypoints (n, 2) of the other matches [px]."""
        return self.pixels[self.landmarks == _OUTLIER]


NO_MATCHES = ImageMatches(np.zeros((0, 2), np.float32), np.zeros(0, np.int32))


@dataclass(frozen=True)
class ImageDetails:
    """Details of a run beside its poses.

    Attributes:
        source: how the images are opened again: the arguments of ``open_queries``, or ``bag`` and the choices about it.
        states: state of the tracker after each image, by name.
        reasons: reason for having no pose, by name.
        matches: matches by name.
    """

    source: Mapping[str, Any] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    matches: Mapping[str, ImageMatches] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageResult:
    """Result of one image.

    Attributes:
        name: name of the image.
        stamp_ns: time of exposure [ns].
        truth: ground-truth pose map_from_cam; None without one.
        estimate: estimated pose map_from_cam; None without one.
        state: state of the tracker after the image; empty if it did not run.
        reason: reason for having no pose; empty if it is not known.
        matches: matches to the map.
    """

    name: str
    stamp_ns: int
    truth: Rigid3d | None
    estimate: Rigid3d | None
    state: str = ""
    reason: str = ""
    matches: ImageMatches = NO_MATCHES


@dataclass(frozen=True)
class ImageResults:
    """Content of ``images.npz``.

    Attributes:
        map_path: folder of the map.
        source: how the images are opened again, see ``ImageDetails``; empty if it is not known.
        images: results in order of time.
    """

    map_path: Path
    source: Mapping[str, Any]
    images: list[ImageResult]

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        images = self.images
        counts = [len(image.matches.landmarks) for image in images]
        arrays: dict[str, Any] = {
            "map_path": np.array(str(self.map_path)),
            "source": np.array(json.dumps(self.source, default=str)),
            "names": np.array([image.name for image in images], np.str_),
            "stamps_ns": np.array([image.stamp_ns for image in images], np.int64),
            "truth": _poses_array([image.truth for image in images]),
            "estimates": _poses_array([image.estimate for image in images]),
            "states": np.array([image.state for image in images], np.str_),
            "reasons": np.array([image.reason for image in images], np.str_),
            "match_offsets": np.cumsum([0, *counts]),
            "match_pixels": np.concatenate([NO_MATCHES.pixels, *(image.matches.pixels for image in images)]),
            "match_landmarks": np.concatenate([NO_MATCHES.landmarks, *(image.matches.landmarks for image in images)]),
        }
        with replacing(path) as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def read(cls, path: Path) -> "ImageResults":
        """Read the file. Raises ``DatasetError`` if it is missing or damaged."""
        try:
            with open_regular(path) as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            offsets = arrays["match_offsets"]
            images = [
                ImageResult(
                    name=str(arrays["names"][i]),
                    stamp_ns=int(arrays["stamps_ns"][i]),
                    truth=_pose_or_none(arrays["truth"][i]),
                    estimate=_pose_or_none(arrays["estimates"][i]),
                    state=str(arrays["states"][i]),
                    reason=str(arrays["reasons"][i]),
                    matches=ImageMatches(
                        arrays["match_pixels"][offsets[i] : offsets[i + 1]],
                        arrays["match_landmarks"][offsets[i] : offsets[i + 1]],
                    ),
                )
                for i in range(len(arrays["names"]))
            ]
            return cls(Path(str(arrays["map_path"])), json.loads(str(arrays["source"])), images)
        except _UNREADABLE as error:
            raise DatasetError(f"{path}: cannot be read ({error}): run the command that wrote it again") from error


def _poses_array(poses: list[Rigid3d | None]) -> Float64:
    """Array (N, 7) of poses, see ``array_of``; rows of NaN for None."""
    return np.array([np.full(7, np.nan) if pose is None else array_of(pose) for pose in poses]).reshape(-1, 7)


def _pose_or_none(row: Float64) -> Rigid3d | None:
    return pose_of(row) if np.isfinite(row).all() else None
