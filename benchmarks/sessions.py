"""Maps of two sessions against one of all images (kitti00): halves of a drive, and every second image."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from kitti00 import DATA, records
from measure import Cell, Table

from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.kept_results import kept_map
from vizloc_ros.evaluation.map_comparison import recall_of_maps
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.session_alignment import align_by_matches
from vizloc_ros.mapping.map_merge import known_transform, merge_maps
from vizloc_ros.mapping.visual_map import VisualMap

_SEEDS = 5


def benchmark(out: Path) -> list[Table]:
    """Merge sessions of the map's drive, and of the training drive, whose halves have no place in common."""
    train = records("train")
    return [
        _table("kitti00", records("map"), records("query"), out / "sessions", align=True),
        _table("kitti00, training drive", train[::2], train[1::2], out / "sessions_train", align=False),
    ]


def _table(name: str, images: Sequence[Record], queries: Sequence[Record], out: Path, *, align: bool) -> Table:
    """Recall and errors of the queries in the map of all images and in merged ones; ``out`` begins their folders."""
    parts = {"first": images[: len(images) // 2], "second": images[len(images) // 2 :]}
    parts |= {"even": images[::2], "odd": images[1::2]}
    whole = _built(Path(f"{out}_whole"), images)
    built = {part: _built(Path(f"{out}_{part}"), of_part) for part, of_part in parts.items()}
    maps = {"all images": whole}
    for of_map, (first, second) in {
        "first and second half": ("first", "second"),
        "every second image and the others": ("even", "odd"),
    }.items():
        maps[of_map] = _merged(built[first], built[second], Path(f"{out}_{first}_{second}"), align=False)
        if align:
            folder = Path(f"{out}_{first}_{second}_aligned")
            maps[f"{of_map}, aligned"] = _merged(built[first], built[second], folder, align=True)
    by_seed = [recall_of_maps(list(maps.values()), queries, pose=PoseOptions(seed=seed)) for seed in range(_SEEDS)]
    tolerances = list(by_seed[0][0].recall)
    rows: list[list[Cell]] = [
        [
            of_map,
            visual_map.info.keyframes,
            visual_map.info.landmarks,
            visual_map.info.build.get("joined_landmarks", 0),
            *(mean(report.recall[tolerance] for report in reports) for tolerance in tolerances),
            1e3 * mean(report.median_translation_m or float("nan") for report in reports),
        ]
        for (of_map, visual_map), *reports in zip(maps.items(), *by_seed, strict=True)
    ]
    columns = ("map", "keyframes", "landmarks", "joined", *tolerances, "median error [mm]")
    notes = [f"{len(queries)} queries, means over {_SEEDS} seeds of RANSAC: one query is {1 / len(queries):.1%}."]
    return Table(f"{name}: maps of two sessions", columns, rows, notes)


def _built(folder: Path, images: Sequence[Record]) -> VisualMap:
    return kept_map(folder, images, open_extractor("hfnet", device=Device(threads=1)), f"folder:{DATA}", 0)


def _merged(first: VisualMap, second: VisualMap, out: Path, align: bool) -> VisualMap:
    known = None if align else known_transform(first.info, second.info)
    merge_maps(first, second, align_by_matches(first, second, known).first_from_second, out)
    return VisualMap.open(out)
