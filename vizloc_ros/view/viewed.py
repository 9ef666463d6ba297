"""Content of a view: a result, a map or a bag, opened with the images and the map that belong to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from vizloc_ros.bags.bag_camera import open_camera
from vizloc_ros.bags.bag_options import DEFAULT_OPTIONS, BagOptions
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import ConfigError, InputError, VizlocError
from vizloc_ros.evaluation.image_results import IMAGES_FILE, ImageResult, ImageResults
from vizloc_ros.evaluation.offline_localization import open_queries
from vizloc_ros.mapping.map_format import INFO_FILE
from vizloc_ros.mapping.visual_map import VisualMap

_BAG_FILES = (".bag", ".mcap", ".db3")
_BAG_INFO = "metadata.yaml"


class Kind(Enum):
    """Kinds of paths that can be viewed."""

    RESULT = "result"
    MAP = "map"
    BAG = "bag"


@dataclass(frozen=True)
class Viewed:
    """Content of a view.

    Attributes:
        name: name for the recording.
        visual_map: the map; None without one.
        images: results in order of time, or the images of a bag without estimates.
        records: images that can be read, by name.
        notes: remarks for the user about what could not be opened.
    """

    name: str
    visual_map: VisualMap | None
    images: Sequence[ImageResult] = ()
    records: Mapping[str, Record] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def kind_of(path: Path) -> Kind:
    """Kind of a path, by the files in it. Raises ``InputError`` that says what is expected."""
    if (path / IMAGES_FILE).is_file():
        return Kind.RESULT
    if (path / INFO_FILE).is_file():
        return Kind.MAP
    is_bag_folder = (path / _BAG_INFO).is_file() or any(child.suffix in _BAG_FILES for child in path.glob("*"))
    if is_bag_folder or (path.is_file() and path.suffix in _BAG_FILES):
        return Kind.BAG
    if (path / "report.json").is_file():
        raise InputError(
            f"{path}: has a report but no {IMAGES_FILE}: view the --out folder of vizloc localize, track, replay or "
            "demo; one that an older version wrote must be made again"
        )
    found = "is neither a result, nor a map, nor a bag" if path.exists() else "does not exist"
    raise InputError(
        f"{path}: {found}. Expected: an --out folder of vizloc localize, track, replay or demo (with {IMAGES_FILE}), "
        f"a map (with {INFO_FILE}), or a bag (a folder with {_BAG_INFO}, or a .bag, .mcap or .db3 file)"
    )


def open_viewed(path: Path, map_path: Path | None = None, options: BagOptions = DEFAULT_OPTIONS) -> Viewed:
    """Open what is to be viewed.

    Args:
        path: a result, a map or a bag.
        map_path: folder of the map; that of the result by default.
        options: choices about a bag.

    Raises:
        InputError: the path is none of these.
        BagError, DatasetError, MapError: it is damaged, or the map of ``map_path`` is.
    """
    kind = kind_of(path)
    if kind is Kind.RESULT:
        return _open_result(path, map_path)
    if kind is Kind.MAP:
        if map_path is not None:
            raise ConfigError(f"--map {map_path}: {path} is a map itself; leave one of them out")
        return Viewed(path.absolute().name, VisualMap.open(path))
    records = open_camera(path, options).records()
    visual_map = None if map_path is None else VisualMap.open(map_path)
    posed = records if visual_map is None else visual_map.info.place.records_in_map(records)
    images = [ImageResult(record.name, record.timestamp_ns, record.world_from_cam, None) for record in posed]
    return Viewed(path.absolute().name, visual_map, images, {record.name: record for record in records})


def _open_result(path: Path, map_path: Path | None) -> Viewed:
    """Open a result; what it was made from may be gone, or beside it on another machine."""
    results = ImageResults.read(path / IMAGES_FILE)
    notes: list[str] = []
    visual_map: VisualMap | None = None
    if map_path is not None:
        visual_map = VisualMap.open(map_path)
    else:
        try:
            visual_map = VisualMap.open(_first_existing(results.map_path, path / "map"))
        except VizlocError as error:
            notes.append(f"without the map: {error}; name it with --map")
    records: list[Record] = []
    try:
        records = _records_of(results.source, path)
    except (VizlocError, OSError) as error:
        notes.append(f"without images: {error}")
    return Viewed(
        path.absolute().name,
        visual_map,
        results.images,
        {record.name: record for record in records},
        tuple(notes),
    )


def _records_of(source: Mapping[str, Any], result: Path) -> list[Record]:
    """Images of a result. Raises ``VizlocError`` if they cannot be opened."""
    if "bag" in source:
        bag = _first_existing(Path(source["bag"]), result / "bag")
        return open_camera(bag, BagOptions.of_texts(source)).records()
    if "dataset" in source:
        return open_queries(**source)
    raise ConfigError(f"{result / IMAGES_FILE} does not name where they are")


def _first_existing(path: Path, otherwise: Path) -> Path:
    return path if path.exists() or not otherwise.exists() else otherwise
