"""Datasets that the papers' tables need: their folders below ``--data``, and how they are opened."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Present(NamedTuple):
    """Dataset that is present, or one of its parts that is mapped alone, such as a slice.

    Attributes:
        key: key of its source, such as ``cmu``.
        name: name of its folder, which names the results.
        folder: the folder.
        spec: specification for its reader, ``reader:PATH``.
    """

    key: str
    name: str
    folder: Path
    spec: str


@dataclass(frozen=True)
class Source:
    """Dataset of one or several tables.

    Attributes:
        key: short name in code and reports.
        title: name for the user.
        folders: folders below ``--data`` that may hold it, whatever their case; ``/`` separates levels, ``*`` is any
            text. Of several patterns, the first with a folder counts, with all its folders.
        reader: specification with ``{path}`` for the folder.
        page: page of the documentation that says where to get it.
        submission: begin of the name of a submission to visuallocalization.net; empty where ground truth is public.
    """

    key: str
    title: str
    folders: tuple[str, ...]
    reader: str
    page: str
    submission: str = ""

    def present(self, data: Path) -> list[Present]:
        """Parts below a folder, in the order of the numbers in their names; none if the dataset is missing."""
        for pattern in self.folders:
            if found := _folders(data, pattern.split("/")):
                ordered = sorted(found, key=lambda path: _by_number(path.name))
                return [Present(self.key, path.name, path, self.reader.format(path=path)) for path in ordered]
        return []

    @property
    def expected(self) -> str:
        """Folder below ``--data`` that the user is to make."""
        return self.folders[0]


def _folders(below: Path, levels: list[str]) -> list[Path]:
    if not levels:
        return [below]
    if not below.is_dir():
        return []
    wanted = re.compile(".*".join(map(re.escape, levels[0].split("*"))), re.IGNORECASE)
    children = (child for child in sorted(below.iterdir()) if child.is_dir() and wanted.fullmatch(child.name))
    return [found for child in children for found in _folders(child, levels[1:])]


def _by_number(name: str) -> list[Any]:
    """Key that sorts ``slice9`` before ``slice10``: texts and numbers alternate."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


HPATCHES = Source(
    "hpatches",
    "HPatches, full sequences",
    ("hpatches-sequences-release", "hpatches"),
    "hpatches:{path}",
    "docs/benchmark.md#hpatches",
)
AACHEN = Source(
    "aachen",
    "Aachen Day-Night",
    ("Aachen-Day-Night-v1.1", "Aachen-Day-Night", "aachen*"),
    "aachen:{path}",
    "docs/datasets/aachen.md",
    "Aachen_eval",
)
ROBOTCAR_SEASONS = Source(
    "robotcar-seasons",
    "RobotCar Seasons, rear camera",
    ("RobotCar-Seasons", "RobotCar-Seasons-v2", "robotcar*seasons*"),
    "robotcar-seasons:{path}?camera=rear",
    "docs/datasets/robotcar_seasons.md",
    "RobotCar_eval",
)
CMU = Source(
    "cmu",
    "Extended CMU Seasons",
    ("Extended-CMU-Seasons/slice*", "*cmu*/slice*"),
    "cmu:{path}",
    "docs/datasets/cmu.md",
    "CMU_eval",
)
KITTI00 = Source("kitti00", "kitti00, a posed folder", ("kitti00",), "folder:{path}", "docs/benchmark.md#kitti00")
CAMBRIDGE = Source(
    "cambridge",
    "Cambridge Landmarks",
    ("CambridgeLandmarks/*", "*cambridge*/*"),
    "cambridge:{path}",
    "docs/datasets/cambridge.md",
)
SEVEN_SCENES = Source(
    "7scenes",
    "7-Scenes",
    ("7scenes/*", "*7*scenes*/*"),
    "7scenes:{path}",
    "docs/datasets/seven_scenes.md",
)
