"""Writer of map folders: flat arrays, the COLMAP model, the extractor's learned files, and map.yaml."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vizloc_ros.errors import MapError, VizlocError
from vizloc_ros.features.extractor import FeatureKind
from vizloc_ros.files import LEAST_SPACE, others_in, remove, replacing_folder
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.poses import array_of
from vizloc_ros.mapping.colmap_model import open_model
from vizloc_ros.mapping.georeference import Georeference
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.map_format import (
    FORMAT_VERSION,
    INFO_FILE,
    ExtractorInfo,
    FileInfo,
    MapInfo,
    PixLocInfo,
    read_info,
    write_info,
    written_files,
)
from vizloc_ros.mapping.reference_arrays import ReferenceArrays, array_files
from vizloc_ros.mapping.sfm_report import Scale
from vizloc_ros.mapping.triangulation import Triangulation
from vizloc_ros.mapping.visual_map import ARRAYS, EXTRACTOR_FOLDER, MODEL_FOLDER, NAMES_FILE

LEAST_PER_IMAGE = 50_000  # bytes of a map


@dataclass(frozen=True)
class MapContent:
    """Content of a new map.

    Attributes:
        keyframes: keyframes of the map, with corrected keypoints.
        triangulation: landmarks and their observations.
        extractor: kind of the features, with the vocabulary of its extractor.
        dataset: dataset of the keyframes.
        frame: name of the map frame.
        version: version of the package.
        created: time of the build.
        corrections: intrinsics corrections of the cameras that have one.
        georeference: pose of the map in the dataset's world and on the earth.
        scale: "metric", or "unknown" if one unit of the map is not a meter.
        changes: further keys of map.yaml, for a map made from another one.
    """

    keyframes: Sequence[Keyframe]
    triangulation: Triangulation
    extractor: FeatureKind
    dataset: str
    frame: str
    version: str
    created: datetime
    corrections: Mapping[PinholeCamera, IntrinsicsCorrection] = field(default_factory=dict)
    georeference: Georeference | None = None
    scale: Scale = "metric"
    changes: Mapping[str, object] = field(default_factory=dict)


def require_replaceable(out: Path) -> None:
    """Raise ``MapError`` if ``out`` is neither new, nor empty, nor a map that this program wrote and nothing else.

    Its files may be damaged: what is looked at is map.yaml, with its checksum, and whether it lists what lies there.
    """
    if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / INFO_FILE).is_file():
        raise MapError(f"{out}: exists and is not a map, so it is not replaced: give another --out")
    try:
        written = written_files(out)
    except MapError as error:
        raise MapError(
            f"{out}: is not a map that this program wrote, so it is not replaced: give another --out ({error})"
        ) from error
    if others := others_in(out, written):
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise MapError(f"{out}: holds {others[0]}{more}, which is not of the map and would be lost: move it elsewhere")


@contextmanager
def replacing_map(out: Path, needed: int = 0) -> Iterator[Path]:
    """Give a folder for a new map, with all that belongs to it, that becomes ``out`` if the block succeeds.

    Until then ``out`` is as it was, and no other process can write it. Errors name ``out``. Blocks can be nested: the
    functions that write a map, or change one, have this block themselves, which a command puts around all of them.

    Args:
        out: folder of the map; an old map is replaced.
        needed: size that the map will have at least [bytes].

    Raises:
        MapError: ``out`` is not replaceable, or the map cannot be written.
        OutputError: another process writes it, or the folder cannot be written.
    """
    new = out
    try:
        with replacing_folder(out, require_replaceable, max(needed, LEAST_SPACE)) as new:
            yield new
    except VizlocError as error:
        if str(new) not in str(error) or new == out:
            raise
        raise type(error)(str(error).replace(str(new), str(out))) from error
    except OSError as error:
        raise MapError(f"{out}: the map cannot be written: {error}") from error


@contextmanager
def changing_map(folder: Path) -> Iterator[Path]:
    """Give a copy of a map, of hard links, that takes its place if the block succeeds; see ``replacing_map``.

    A file of the copy must be removed before it is written: its bytes are also those of the map in use.
    """
    read_info(folder)
    with replacing_map(folder) as copy:
        shutil.copytree(folder, copy, copy_function=_link, dirs_exist_ok=True)
        yield copy


def write_map(content: MapContent, build: dict[str, Any], out: Path) -> int:
    """Write a map whole or not at all, in place of an old map.

    Args:
        content: content of the map.
        build: report of the build, for map.yaml.
        out: folder of the map.

    Returns:
        Size of its files [bytes].

    Raises:
        MapError, OutputError: as ``replacing_map``.
    """
    with replacing_map(out) as folder:
        (folder / MODEL_FOLDER).mkdir()
        cameras = _write_arrays(content, folder)
        (folder / EXTRACTOR_FOLDER).mkdir()
        content.extractor.save(folder / EXTRACTOR_FOLDER)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files = {str(path.relative_to(folder)): FileInfo.of(path) for path in paths}
        write_info(folder, _info(content, cameras, build, files).model_copy(update=dict(content.changes)))
    return sum(file.bytes for file in files.values())


def add_to_map(
    folder: Path,
    names: Sequence[str],
    write: Callable[[Path], None],
    changes: Mapping[str, object] | None = None,
    outdated: Set[str] = frozenset(),
) -> int:
    """Add files to a map, or replace them, in a copy of the map that then takes its place.

    Args:
        folder: folder of the map.
        names: names of the files in the map.
        write: function that writes the files to a given folder.
        changes: further changes of map.yaml.
        outdated: names of files of the map that are removed.

    Returns:
        Size of the files [bytes].

    Raises:
        MapError, OutputError: there is no map, or as ``replacing_map``.
    """
    with changing_map(folder) as copy:
        info = read_info(copy)
        for changed in (*names, *outdated, INFO_FILE):
            remove(copy / changed)
        write(copy)
        added = {name: FileInfo.of(copy / name) for name in names}
        kept = {name: file for name, file in info.files.items() if name not in outdated}
        write_info(copy, info.model_copy(update={**(changes or {}), "files": {**kept, **added}}))
    return sum(file.bytes for file in added.values())


def write_references(folder: Path, references: ReferenceArrays, model_id: str) -> int:
    """Put reference features of the tracker into a map, in place of others; as ``add_to_map``.

    Args:
        folder: folder of the map, whose observations they are of.
        references: the reference features.
        model_id: identity of the network that computed them.

    Returns:
        Size of their files [bytes].
    """
    info = read_info(folder)
    pixloc = PixLocInfo(
        model_id=model_id,
        dimensions=references.dimensions,
        patch=0 if references.patches is None else references.patches.values.shape[1],
        bits=references.bits,
        rows=0 if references.rows is None else len(references.rows),
        observations=info.observations_digest,
    )
    names = [f"{name}.npy" for name in array_files(info.model_copy(update={"pixloc": pixloc}))]
    outdated = {f"{name}.npy" for name in array_files(info)} - set(names)
    return add_to_map(folder, names, references.save, {"pixloc": pixloc}, outdated)


def _link(source: str, target: str) -> None:
    """Make a hard link to a file; a copy on file systems without hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _write_arrays(content: MapContent, folder: Path) -> list[PinholeCamera]:
    """Write the arrays of ``ARRAYS``, the names and the model, and return the cameras, in the order of their keyframes.

    Keyframes are taken one by one and their features written at once: in a large map these are most of the bytes.
    """
    triangulation, cameras = content.triangulation, dict[PinholeCamera, int]()
    rows = triangulation.rows_of_keyframes(len(content.keyframes))
    of_keyframes: dict[str, list[Any]] = {name: [] for name in ARRAYS if name.startswith("keyframe_")}
    names, global_descriptors = [], []
    with (
        _appending(folder, "observation_pixels", len(triangulation.landmarks)) as append_pixels,
        _appending(folder, "observation_descriptors", len(triangulation.landmarks)) as append_descriptors,
        open_model(folder / MODEL_FOLDER, triangulation, len(rows)) as append_to_model,
    ):
        for keyframe, r in zip(content.keyframes, rows, strict=True):
            features, chosen = keyframe.features, triangulation.keypoints[r]
            append_pixels(features.keypoints[chosen])
            append_descriptors(features.descriptors[chosen])
            append_to_model(keyframe, r)
            names.append(f"{keyframe.name}\n")
            global_descriptors.append(features.global_descriptor)
            of_keyframes["keyframe_poses"].append(array_of(keyframe.map_from_cam))
            of_keyframes["keyframe_stamps"].append(keyframe.timestamp_ns)
            of_keyframes["keyframe_cameras"].append(cameras.setdefault(keyframe.camera, len(cameras)))
    arrays = {
        **{name: np.array(values) for name, values in of_keyframes.items()},
        "global_descriptors": np.array(global_descriptors),
        "landmark_positions": triangulation.positions,
        "observation_offsets": np.array([0, *(r.stop for r in rows)]),
        "observation_landmarks": triangulation.landmarks,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array, ARRAYS[name][0]), allow_pickle=False)
    (folder / NAMES_FILE).write_text("".join(names), encoding="utf-8")
    return list(cameras)


@contextmanager
def _appending(folder: Path, name: str, rows: int) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Give a function that appends to the file of an array with that number of rows in the end."""
    dtype = np.dtype(ARRAYS[name][0])
    with (folder / f"{name}.npy").open("wb") as file:

        def append(part: NDArray[Any]) -> None:
            if not file.tell():
                shape = (rows, *part.shape[1:])
                header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(part, dtype).data)

        yield append


def _info(content: MapContent, cameras: Sequence[Any], build: dict[str, Any], files: dict[str, FileInfo]) -> MapInfo:
    extractor, first = content.extractor, content.keyframes[0].features
    return MapInfo(
        format_version=FORMAT_VERSION,
        vizloc_version=content.version,
        created=content.created.isoformat(timespec="seconds"),
        dataset=content.dataset,
        frame=content.frame,
        georeference=content.georeference,
        scale=content.scale,
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
