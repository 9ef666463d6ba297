"""Maps and figures of an earlier run that are taken up again, if they are of the same task."""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import DatasetError, VizlocError
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.builder import BuildOptions, build_map
from vizloc_ros.mapping.map_format import INFO_FILE
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, silent

if TYPE_CHECKING:
    from vizloc_ros.features.device import Device


def kept_map(
    folder: Path,
    records: Sequence[Record],
    extractor: FeatureExtractor,
    dataset: str,
    seed: int,
    progress: Progress = silent,
    device: "Device | None" = None,
) -> VisualMap:
    """Open the map in ``folder`` if it is of the same images, features and seed; otherwise build it.

    Args:
        folder: folder of the map.
        records: images to map.
        extractor: extractor of the map; the one of the queries is opened from the map.
        dataset: source of the records as ``reader:PATH``.
        seed: seed of the build.
        progress: progress display.
        device: device of the queries' extractor; None for the CPU.

    Raises:
        DatasetError, ImageError, MapError: as ``build_map``.
    """
    if (folder / INFO_FILE).is_file():
        with suppress(VizlocError):  # damaged, or with features of other weights
            visual_map = VisualMap.open(folder, device)
            if _is_map_of(visual_map, records, extractor, dataset, seed):
                return visual_map
    folder.parent.mkdir(parents=True, exist_ok=True)
    build_map(records, extractor, folder, dataset=dataset, options=BuildOptions(seed=seed), progress=progress)
    return VisualMap.open(folder, device)


def _is_map_of(
    visual_map: VisualMap, records: Sequence[Record], extractor: FeatureExtractor, dataset: str, seed: int
) -> bool:
    """Return true if a map is the one wanted. Raises ``FeatureError`` if the weights of its extractor have changed."""
    info, own = visual_map.info, visual_map.extractor
    return (
        (own.name, own.settings) == (extractor.name, extractor.settings)
        and (info.dataset, info.build.get("seed")) == (dataset, seed)
        and visual_map.keyframe_names == [record.name for record in records]
    )


def localization_origin(
    visual_map: VisualMap, localizer: HierarchicalLocalizer, dataset: str, queries: Sequence[Record], seed: int
) -> dict[str, Any]:
    """Everything that the results of localizing queries depend on; results of another origin are not used."""
    return {
        "feature_id": visual_map.extractor.feature_id,
        "map": map_id(visual_map),
        "dataset": dataset,
        "queries": names_id(query.name for query in queries),
        "retrieval": localizer.finder.options.model_dump(mode="json"),
        "pose": localizer.solver.options.model_dump(mode="json"),
        "seed": seed,
    }


def map_id(visual_map: VisualMap) -> str:
    """Checksum of the build of a map; reference features and an index that are added later do not change it."""
    build = visual_map.info.model_dump_json(exclude={"pixloc", "files"})
    return f"{zlib.crc32(build.encode()):08x}"


def names_id(names: Iterable[str]) -> str:
    """Number and checksum of names."""
    listed = list(names)
    return f"{len(listed)}-{zlib.crc32(chr(10).join(listed).encode()):08x}"


def kept_figures(path: Path, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Figures of an earlier run with the same origin, of a file ``{"origin": ..., "figures": ...}``; empty without.

    Raises:
        DatasetError: the file cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return dict(content["figures"]) if content["origin"] == origin else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}): delete it to measure again") from error
