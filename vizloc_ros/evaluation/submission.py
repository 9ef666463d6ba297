"""Submissions to visuallocalization.net: check of a file of poses against the queries of the benchmark.

The READMEs of Aachen Day-Night, RobotCar Seasons and Extended CMU Seasons ask for one line for each localized query,
``name qw qx qy qz tx ty tz``: the rotation cam_from_world as a unit quaternion, and the translation of the camera,
which is not its position. ``name`` is that of the file without folders, or of RobotCar Seasons ``camera/name``.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from vizloc_ros.datasets.parsing import parse_number, parse_unit_quaternion, read_text
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import DatasetError

QUATERNION = ("qw", "qx", "qy", "qz")
TRANSLATION = ("tx", "ty", "tz")
LINE = " ".join(("name", *QUATERNION, *TRANSLATION))
_ENDS = (".jpg", ".png")  # the server takes both for the same (issue 30 of the benchmark)


@dataclass(frozen=True)
class Submission:
    """Valid submission.

    Attributes:
        names: names of its lines.
        missing: names of the queries without a line, which count as not localized.
    """

    names: list[str]
    missing: list[str]

    def as_dict(self) -> dict[str, object]:
        """Numbers of queries, poses and missing poses; the last one also by the folder of the names, if they differ."""
        counts: dict[str, int] = {}
        for name in self.missing:
            camera = name.rpartition("/")[0]
            counts[camera] = counts.get(camera, 0) + 1
        by_camera = {"missing_by_camera": counts} if any(counts) else {}
        queries = len(self.names) + len(self.missing)
        return {"num_queries": queries, "num_poses": len(self.names), "num_missing": len(self.missing), **by_camera}


def query_names(records: Iterable[Record], source: str) -> list[str]:
    """Names of queries in a submission.

    Args:
        records: queries.
        source: datasets and their split, for the error.

    Raises:
        DatasetError: an image is no query of the benchmark, or two have the same name.
    """
    names: dict[str, str] = {}
    for record in records:
        name = record.submitted_name
        if name is None:
            raise DatasetError(
                f"{source}: {record.name} is no query of visuallocalization.net; readers of its benchmarks are aachen, "
                "cmu, cmu-seasons and robotcar-seasons"
            )
        if name in names:
            raise DatasetError(f"{source}: {names[name]} and {record.name} have the same name {name} in a submission")
        names[name] = record.name
    return list(names)


def check_submission(path: Path, queries: Collection[str]) -> Submission:
    """Check a file of poses for visuallocalization.net.

    Args:
        path: the file.
        queries: names of the queries, see ``query_names``.

    Raises:
        DatasetError: the file cannot be read, or a line is none of the format, names no query, or one a second time.
    """
    wanted = {_without_end(name): name for name in queries}
    lines: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        where, fields = f"{path}:{number}", line.split(" ")
        if len(fields) != 8:
            raise DatasetError(f"{where}: {len(fields)} fields between single blanks; expected 8, '{LINE}'")
        parse_unit_quaternion(fields[1:5], QUATERNION, where)
        for field, name in zip(fields[5:], TRANSLATION, strict=True):
            parse_number(field, name, where)
        key = _without_end(fields[0])
        if key not in wanted:
            raise DatasetError(f"{where}: {fields[0]!r} is no query{_hint(key, wanted)}")
        if wanted[key] in lines:
            raise DatasetError(f"{where}: {fields[0]!r} is already in line {lines[wanted[key]]}")
        lines[wanted[key]] = number
    if not lines:
        raise DatasetError(f"{path}: there is no pose in it; expected lines '{LINE}'")
    return Submission(list(lines), [name for name in queries if name not in lines])


def _without_end(name: str) -> str:
    return next((name.removesuffix(end) for end in _ENDS if name.endswith(end)), name)


def _hint(key: str, wanted: dict[str, str]) -> str:
    """Text that says how a name is to be written, for the error."""
    file = key.rsplit("/", 1)[-1]
    meant = [name for known, name in wanted.items() if known.rsplit("/", 1)[-1] == file]
    example = next(iter(wanted.values()), None)
    if meant:
        return f"; write it as {' or '.join(meant)}"
    return f"; names are such as {example}" if example else "; there is none"
