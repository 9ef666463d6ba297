"""Integrity check of a map: every byte against the checksums, and the arrays against each other."""

from pathlib import Path

import numpy as np

from vizloc_ros.errors import MapError
from vizloc_ros.mapping.map_format import FileInfo, open_array, read_info
from vizloc_ros.mapping.reference_arrays import array_files
from vizloc_ros.mapping.visual_map import ARRAYS, VisualMap
from vizloc_ros.parallel import Progress, silent


def map_problems(folder: Path, progress: Progress = silent) -> list[str]:
    """Return the problems of a map, each a line that begins with the file; none for a whole map."""
    try:
        info = read_info(folder)
    except MapError as error:
        return [str(error)]
    problems = []
    for name, expected in progress(info.files.items(), "checking files", len(info.files)):
        path = folder / name
        if not path.is_file():
            problems.append(f"{path}: missing")
        elif (size := path.stat().st_size) != expected.bytes:
            problems.append(f"{path}: has {size} bytes instead of {expected.bytes}: cut off, or of another map")
        elif FileInfo.of(path) != expected:
            problems.append(f"{path}: its bytes are not those that were written: corrupt, or of another map")
    shapes = {name: (dtype, shape(info)) for name, (dtype, shape) in ARRAYS.items()} | array_files(info)
    for name, (dtype, shape) in shapes.items():
        try:
            open_array(folder / f"{name}.npy", dtype, shape)
        except MapError as error:
            problems.append(str(error))
    if not problems:
        problems += _inconsistencies(VisualMap.open(folder))
    return _first_of_each_file(problems)


def check_map(folder: Path) -> None:
    """Raise ``MapError`` with the first problem of a map and the number of others, unless the map is whole."""
    if problems := map_problems(folder):
        more = f" (and {len(problems) - 1} more: run 'vizloc map check')" if len(problems) > 1 else ""
        raise MapError(f"{problems[0]}{more}")


def _inconsistencies(visual_map: VisualMap) -> list[str]:
    """Problems that checksums cannot show, because they were written: wrong indices and numbers that are not finite."""
    problems = []
    offsets, info = visual_map.observation_offsets, visual_map.info
    if offsets[0] != 0 or offsets[-1] != info.observations or (np.diff(offsets) < 0).any():
        problems.append(f"{visual_map.folder / 'observation_offsets.npy'}: offsets do not ascend from 0 to the end")
    if visual_map.observation_landmarks.min() < 0 or visual_map.observation_landmarks.max() >= info.landmarks:
        problems.append(f"{visual_map.folder / 'observation_landmarks.npy'}: names landmarks that are not in the map")
    for name in ("keyframe_poses", "global_descriptors", "landmark_positions", "observation_pixels"):
        if not np.isfinite(getattr(visual_map, name)).all():
            problems.append(f"{visual_map.folder / name}.npy: holds numbers that are not finite")
        visual_map.release_pages()  # all of the arrays at once may be more than the memory a map server should take
    return problems


def _first_of_each_file(problems: list[str]) -> list[str]:
    first: dict[str, str] = {}
    for problem in problems:
        first.setdefault(problem.split(": ", 1)[0], problem)
    return list(first.values())
