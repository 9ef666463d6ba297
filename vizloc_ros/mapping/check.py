"""Check of a map: every byte against the checksums, the arrays against each other, and numbers against what can be."""

from pathlib import Path

from vizloc_ros.errors import MapError
from vizloc_ros.mapping.bus_guard import GUARD
from vizloc_ros.mapping.map_arrays import open_array
from vizloc_ros.mapping.map_format import FileInfo, MapInfo, read_info
from vizloc_ros.mapping.map_numbers import number_problems
from vizloc_ros.mapping.reference_arrays import array_files
from vizloc_ros.mapping.visual_map import ARRAYS, VisualMap
from vizloc_ros.parallel import Progress, parallel_map, silent


def map_problems(folder: Path, progress: Progress = silent) -> list[str]:
    """Return the problems of a map, each a line that begins with the file; none for a whole map."""
    try:
        info = read_info(folder)
    except MapError as error:
        return [str(error)]
    found = parallel_map(
        lambda name: _file_problem(folder / name, info.files[name]), list(info.files), "checking files", progress
    )
    problems = [problem for problem in found if problem]
    kinds = {name: (dtype, shape(info)) for name, (dtype, shape) in ARRAYS.items()} | array_files(info)
    for name, kind in kinds.items():
        try:
            open_array(folder, name, info, kind)
        except MapError as error:
            problems.append(str(error))
    if not problems:
        problems += _wrong_numbers(folder)
    return _first_of_each_file(problems)


def check_map(folder: Path) -> None:
    """Raise ``MapError`` with the first problem of a map and the number of others, unless the map is whole."""
    if problems := map_problems(folder):
        more = f" (and {len(problems) - 1} more: run 'vizloc map check')" if len(problems) > 1 else ""
        raise MapError(f"{problems[0]}{more}")


def purpose(info: MapInfo) -> str:
    """Use of a map as text: the tracker needs its reference features."""
    return "localizer only" if info.pixloc is None else "localizer and tracker"


def _file_problem(path: Path, expected: FileInfo) -> str:
    """Fault of the bytes of a file; empty if they are those that were written."""
    try:
        if (size := path.stat().st_size) != expected.bytes:
            return f"{path}: has {size} bytes instead of {expected.bytes}: cut off, or of another map"
        if FileInfo.of(path) != expected:
            return f"{path}: its bytes are not those that were written: corrupt, or of another map"
    except FileNotFoundError:
        return f"{path}: missing"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
    return ""


def _wrong_numbers(folder: Path) -> list[str]:
    """Problems that checksums cannot show, because they were written."""
    try:
        visual_map = VisualMap.open(folder)
        GUARD.protect(visual_map.mapped_arrays)
        problems = list(number_problems(visual_map))
        visual_map.watch.require_unchanged()
        return problems
    except MapError as error:
        return [str(error)]


def _first_of_each_file(problems: list[str]) -> list[str]:
    first: dict[str, str] = {}
    for problem in problems:
        first.setdefault(problem.split(": ", 1)[0], problem)
    return list(first.values())
