"""``report.json``, the poses and figures beside it, and the table of a report."""

import json
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from pycolmap import Rigid3d
from rich.table import Table
from rich.text import Text

from vizloc_ros.bounded import read_regular_text
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import InputError
from vizloc_ros.evaluation.image_results import IMAGES_FILE, NO_MATCHES, ImageDetails, ImageResult, ImageResults
from vizloc_ros.evaluation.plots import plot_errors, plot_trajectory
from vizloc_ros.evaluation.recall import evaluate_poses, ground_truth, readable
from vizloc_ros.evaluation.trajectories import write_tum, write_visuallocalization
from vizloc_ros.files import replacing, require_folder
from vizloc_ros.geometry.poses import pose_of
from vizloc_ros.mapping.map_format import INFO_FILE
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import NANOSECONDS
from vizloc_ros.wording import number_text

PERCENTILES = {"p50", "p99"}
_REPORT = "report.json"
_FIGURES = ("trajectory.png", "errors.png", "overlay.png")
_RESULT_FILES = (_REPORT, *_FIGURES, IMAGES_FILE, "poses_tum.txt", "poses_visuallocalization.txt")
RATIOS = ("recall", "recall_of_processed", "retrieval", "converged")


def write_report(path: Path, report: Mapping[str, object]) -> None:
    """Write a report as JSON, whole or not at all; NumPy values become plain ones, non-finite numbers null."""
    text = json.dumps(_plain(report), indent=2, allow_nan=False)
    with replacing(path) as file:
        file.write(f"{text}\n".encode())


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def report_table(report: Mapping[str, object]) -> Table:
    """Table of a report's values: ratios in percent, times as median and 99th percentile, sizes in kB."""
    table = Table(title="Report", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for label, value in _rows(report):
        table.add_row(Text(label), Text(value))  # plain: rich would take "[m]" for markup
    return table


def _rows(report: Mapping[str, object], group: str = "", ratios: bool = False) -> Iterator[tuple[str, str]]:
    for key, value in report.items():
        label = f"{group}{_label(key)}"
        if isinstance(value, Mapping) and value.keys() != PERCENTILES:
            yield from _rows(value, f"{label}: ", key in RATIOS)
        elif isinstance(value, float) and (ratios or "bytes" in key):
            yield label, f"{100 * value:.1f} %" if ratios else _size(value)
        else:
            yield label, _cell(value)


def _label(key: str) -> str:
    """Text of a key: ``median_translation_m`` as "median translation [m]", ``r10_5m`` as "R@10, 5 m"."""
    if (text := re.sub(r"^r(\d+)_([\d.]+)m$", r"R@\1, \2 m", readable(key))) != key:
        return text
    for suffix, unit in _UNITS.items():
        key = f"{key.removesuffix(suffix)} [{unit}]" if key.endswith(suffix) else key
    return key.replace("_bytes", " size").replace("_", " ").removeprefix("num ")


_UNITS = {"_m": "m", "_deg": "deg", "_ms": "ms", "_hz": "Hz"}


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    if isinstance(value, float):
        return number_text(value)
    return str(value)


def _size(size: float) -> str:
    """Text of a size in bytes: 436 kB, 1.3 MB."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.3g} kB"


_MAX_POINTS_DRAWN = 20_000


def require_result_folder(out: Path) -> None:
    """Make the folder of results, and check that they can be written into it: now, and not after the work.

    Raises:
        InputError: it is the folder of a map or a bag, or has files with the names of results that are not ours.
        OutputError: it cannot be made or written, or the disk is full.
    """
    for file, kind in ((INFO_FILE, "map"), ("metadata.yaml", "bag")):
        if (out / file).is_file():
            raise InputError(f"--out {out}: is the folder of a {kind}: give results another one")
    taken = [name for name in _RESULT_FILES if os.path.lexists(out / name)]
    if taken and not _is_report(out / _REPORT):
        raise InputError(f"--out {out}: has a file {taken[0]} that is not of vizloc: give results another folder")
    require_folder(out)


def _is_report(path: Path) -> bool:
    """Return true if a file is a report of this program."""
    try:
        content = json.loads(read_regular_text(path))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(content, dict):
        return False
    return str(content.get("command", "")).startswith("vizloc ") or {"num_images", "num_poses"} <= content.keys()


def write_results(
    out: Path,
    records: Sequence[Record],
    estimates: Mapping[str, Rigid3d],
    visual_map: VisualMap,
    details: Mapping[str, Any],
    skipped: Collection[str] = (),
    images: ImageDetails | None = None,
) -> dict[str, Any]:
    """Evaluate poses by image name and write the report, the poses and the figures.

    Args:
        out: folder of the files, created if it does not exist.
        records: all images of the evaluation, in order of time, with poses in the map (``records_in_map``).
        estimates: estimated poses map_from_cam; images without one count as wrong. Files of poses and the figure of the
            trajectory are in the coordinates of the map's dataset, ``images.npz`` in those of the map.
        visual_map: map of the estimates.
        details: further keys of the report.
        skipped: names of images that were not processed, such as those that a node dropped.
        images: what is known of each image beside the poses, for viewers.

    Returns:
        The report.
    """
    out.mkdir(parents=True, exist_ok=True)
    for figure in _FIGURES:
        (out / figure).unlink(missing_ok=True)  # an earlier run's figure would contradict this report
    truth = ground_truth(records)
    recall = evaluate_poses(estimates, truth)
    report = {**recall.as_dict(), "num_images": len(records), "num_poses": len(estimates), **details}
    write_report(out / _REPORT, report)
    place = visual_map.info.place
    in_world = place.poses_in_world(estimates)
    found = [r for r in records if r.name in estimates]
    write_tum(out / "poses_tum.txt", ((r.timestamp_ns, in_world[r.name]) for r in found))
    submitted = {r.submitted_name or r.name: in_world[r.name] for r in found}
    write_visuallocalization(out / "poses_visuallocalization.txt", submitted)
    _write_images(out / IMAGES_FILE, records, estimates, visual_map, skipped, images or ImageDetails())
    draw_map(out / "trajectory.png", visual_map, truth, estimates, skipped)
    if truth:
        posed = [r for r in records if r.name in truth]
        seconds = np.array([r.timestamp_ns for r in posed]) / NANOSECONDS
        plot_errors(out / "errors.png", recall, [r.name for r in posed], seconds, skipped)
    return report


def draw_map(
    path: Path,
    visual_map: VisualMap,
    truth: Mapping[str, Rigid3d] = MappingProxyType({}),
    estimates: Mapping[str, Rigid3d] = MappingProxyType({}),
    skipped: Collection[str] = (),
) -> None:
    """Draw a map from above, in the coordinates of its dataset, with the poses of queries if there are any.

    Args:
        path: file of the figure.
        visual_map: the map.
        truth: ground-truth poses map_from_cam by image name.
        estimates: estimated poses map_from_cam by image name.
        skipped: names of images that were not processed.
    """
    place, step = visual_map.info.place, -(-len(visual_map.landmark_positions) // _MAX_POINTS_DRAWN)
    keyframes = [place.world_from_map_pose * pose_of(row) for row in visual_map.keyframe_poses]
    plot_trajectory(
        path,
        place.points_in_world(np.array(visual_map.landmark_positions[::step], np.float64)),
        np.array([pose.translation for pose in keyframes]),
        place.poses_in_world(truth),
        place.poses_in_world(estimates),
        skipped,
        "Localization in the map, from above" if truth or estimates else "Map, from above",
        rotations=np.array([pose.rotation.matrix() for pose in keyframes]),
        unit="m" if visual_map.info.scale == "metric" else "units",
    )


def _write_images(
    path: Path,
    records: Sequence[Record],
    estimates: Mapping[str, Rigid3d],
    visual_map: VisualMap,
    skipped: Collection[str],
    known: ImageDetails,
) -> None:
    """Write what is known of each image."""
    images = [
        ImageResult(
            name=record.name,
            stamp_ns=record.timestamp_ns,
            truth=record.world_from_cam,
            estimate=estimates.get(record.name),
            state=known.states.get(record.name, ""),
            reason=known.reasons.get(record.name, "not processed" if record.name in skipped else ""),
            matches=known.matches.get(record.name, NO_MATCHES),
        )
        for record in records
    ]
    ImageResults(visual_map.folder.absolute(), known.source, images).write(path)
