"""Maps of two sessions against one of all images (kitti00): halves of the drive, and every second image."""

from collections.abc import Sequence
from pathlib import Path

from kitti00 import DATA, records
from measure import Cell, Table

from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.kept_results import kept_map
from vizloc_ros.evaluation.map_comparison import recall_of_maps
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.localization.session_alignment import align_by_matches
from vizloc_ros.mapping.map_merge import known_transform, merge_maps
from vizloc_ros.mapping.visual_map import VisualMap


def benchmark(out: Path) -> list[Table]:
    """Merge halves of the map, and localize the queries in the whole and in each result."""
    images = records("map")
    middle = len(images) // 2
    whole = _built(out / "sessions_whole", images)
    first, second = _built(out / "sessions_first", images[:middle]), _built(out / "sessions_second", images[middle:])
    even, odd = _built(out / "sessions_even", images[::2]), _built(out / "sessions_odd", images[1::2])
    maps = {
        "all images": whole,
        "first and second half": _merged(first, second, out / "sessions_halves", align=False),
        "the same, aligned": _merged(first, second, out / "sessions_halves_aligned", align=True),
        "every second image and the others": _merged(even, odd, out / "sessions_interleaved", align=False),
        "the same, aligned ": _merged(even, odd, out / "sessions_interleaved_aligned", align=True),
    }
    reports = recall_of_maps(list(maps.values()), records("query"))
    rows: list[list[Cell]] = [
        [
            name.strip(),
            visual_map.info.keyframes,
            visual_map.info.landmarks,
            visual_map.info.build.get("joined_landmarks", 0),
            *report.recall.values(),
            1e3 * (report.median_translation_m or float("nan")),
        ]
        for (name, visual_map), report in zip(maps.items(), reports, strict=True)
    ]
    tolerances = list(reports[0].recall)
    columns = ("map", "keyframes", "landmarks", "joined", *tolerances, "median error [mm]")
    return [Table("kitti00: maps of two sessions", columns, rows, [f"{reports[0].num_images} queries."])]


def _built(folder: Path, images: Sequence[Record]) -> VisualMap:
    return kept_map(folder, images, open_extractor("hfnet", device=Device(threads=1)), f"folder:{DATA}", 0)


def _merged(first: VisualMap, second: VisualMap, out: Path, align: bool) -> VisualMap:
    known = None if align else known_transform(first.info, second.info)
    merge_maps(first, second, align_by_matches(first, second, known).first_from_second, out)
    return VisualMap.open(out)
