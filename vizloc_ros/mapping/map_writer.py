"""Writes a map folder: flat arrays, the COLMAP model, what the extractor learned, and map.yaml over all of it."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from vizloc_ros.errors import MapError
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.poses import array_of
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.map_format import (
    FORMAT_VERSION,
    INFO_FILE,
    ExtractorInfo,
    FileInfo,
    MapInfo,
    read_info,
    write_info,
)
from vizloc_ros.mapping.replace import built_aside
from vizloc_ros.mapping.triangulation import Triangulation, write_model
from vizloc_ros.mapping.visual_map import ARRAYS, EXTRACTOR_FOLDER, MODEL_FOLDER, NAMES_FILE


@dataclass(frozen=True)
class MapContent:
    """Everything that goes into a map."""

    keyframes: Sequence[Keyframe]
    triangulation: Triangulation
    extractor: FeatureExtractor
    dataset: str
    frame: str
    version: str
    created: datetime
    corrections: Mapping[PinholeCamera, IntrinsicsCorrection] = field(default_factory=dict)


def require_replaceable(out: Path) -> None:
    """Raises ``MapError`` if there is something at ``out`` that is not a map and would be lost."""
    if out.exists() and not (out / INFO_FILE).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise MapError(f"{out}: exists and is not a map, so it is not replaced: give another --out")


def write_map(content: MapContent, build: dict[str, Any], out: Path) -> int:
    """Writes the map beside ``out`` and swaps it in. Returns its size [bytes]. Raises ``MapError``."""
    require_replaceable(out)
    try:
        with built_aside(out) as folder:
            cameras = list(dict.fromkeys(k.camera for k in content.keyframes))
            for name, array in _arrays(content, cameras).items():
                np.save(folder / f"{name}.npy", array, allow_pickle=False)
            (folder / NAMES_FILE).write_text("".join(f"{k.name}\n" for k in content.keyframes), encoding="utf-8")
            (folder / EXTRACTOR_FOLDER).mkdir()
            content.extractor.save(folder / EXTRACTOR_FOLDER)
            (folder / MODEL_FOLDER).mkdir()
            write_model(content.triangulation.model, folder / MODEL_FOLDER)
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            files = {str(path.relative_to(folder)): FileInfo.of(path) for path in paths}
            write_info(folder, _info(content, cameras, build, files))
    except OSError as error:
        raise MapError(f"{out}: the map cannot be written: {error}") from error
    return sum(file.bytes for file in files.values())


def add_to_map(
    folder: Path, names: Sequence[str], write: Callable[[Path], None], changes: Mapping[str, object] | None = None
) -> int:
    """Adds files to a map, or replaces them: a map with them is put together aside and swapped in.

    Args:
        folder: the map.
        names: of the files in it.
        write: is given the folder to write them to.
        changes: further changes of map.yaml.

    Returns:
        Their size [bytes].

    Raises:
        MapError: there is no map, or it cannot be written.
    """
    info = read_info(folder)
    try:
        with built_aside(folder) as aside:
            shutil.copytree(folder, aside, copy_function=_link, dirs_exist_ok=True)
            for changed in (*names, INFO_FILE):
                (aside / changed).unlink(missing_ok=True)  # a link: writing into it would change the map in use
            write(aside)
            added = {name: FileInfo.of(aside / name) for name in names}
            write_info(aside, info.model_copy(update={**(changes or {}), "files": {**info.files, **added}}))
    except OSError as error:
        raise MapError(f"{folder}: {', '.join(names)} cannot be added: {error}") from error
    return sum(file.bytes for file in added.values())


def _link(source: str, target: str) -> None:
    """A second name for a file; a copy on file systems that know no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _arrays(content: MapContent, cameras: Sequence[Any]) -> dict[str, Any]:
    """The arrays of ``ARRAYS`` with their types."""
    keyframes, seen = content.keyframes, content.triangulation
    first = np.searchsorted(seen.keyframes, np.arange(len(keyframes) + 1))
    keypoints = [seen.keypoints[first[i] : first[i + 1]] for i in range(len(keyframes))]
    arrays = {
        "keyframe_poses": np.array([array_of(k.map_from_cam) for k in keyframes]),
        "keyframe_stamps": np.array([k.timestamp_ns for k in keyframes]),
        "keyframe_cameras": np.array([cameras.index(k.camera) for k in keyframes]),
        "global_descriptors": np.array([k.features.global_descriptor for k in keyframes]),
        "landmark_positions": seen.positions,
        "observation_offsets": first,
        "observation_landmarks": seen.landmarks,
        "observation_pixels": np.concatenate(
            [k.features.keypoints[chosen] for k, chosen in zip(keyframes, keypoints, strict=True)]
        ),
        "observation_descriptors": np.concatenate(
            [k.features.descriptors[chosen] for k, chosen in zip(keyframes, keypoints, strict=True)]
        ),
    }
    return {name: np.ascontiguousarray(arrays[name], dtype=dtype) for name, (dtype, _) in ARRAYS.items()}


def _info(content: MapContent, cameras: Sequence[Any], build: dict[str, Any], files: dict[str, FileInfo]) -> MapInfo:
    extractor, first = content.extractor, content.keyframes[0].features
    return MapInfo(
        format_version=FORMAT_VERSION,
        vizloc_version=content.version,
        created=content.created.isoformat(timespec="seconds"),
        dataset=content.dataset,
        frame=content.frame,
        extractor=ExtractorInfo(
            name=extractor.name, settings=dict(extractor.settings), feature_id=extractor.feature_id
        ),
        cameras=list(cameras),
        camera_corrections=[content.corrections.get(camera, IntrinsicsCorrection()) for camera in cameras],
        keyframes=len(content.keyframes),
        landmarks=len(content.triangulation.positions),
        observations=len(content.triangulation.landmarks),
        descriptor_size=first.descriptors.shape[1],
        global_descriptor_size=len(first.global_descriptor),
        build=build,
        files=files,
    )
