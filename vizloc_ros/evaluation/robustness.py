"""Localization with degraded queries, by extractor: ``vizloc evaluate degradations``.

Maps and results are written into one folder as soon as they are complete, so that an interrupted run is continued.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vizloc_ros.datasets.corruptions import ALL_KINDS, KINDS, LEVELS, Degradation, degrade_records
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import ConfigError, DatasetError
from vizloc_ros.evaluation.kept_results import kept_figures, kept_map, localization_origin
from vizloc_ros.evaluation.offline_localization import OfflineRun, localize_records
from vizloc_ros.evaluation.plots import BLUE, GREEN, INK, ORANGE, RED, STYLE
from vizloc_ros.evaluation.recall import TOLERANCES, evaluate_poses, ground_truth, readable
from vizloc_ros.evaluation.report import write_report
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, parallel_map, silent

if TYPE_CHECKING:
    from vizloc_ros.features.device import Device

CLEAN = "clean"  # name of the queries without degradation
HARD_KINDS, HARD_LEVELS = ("night", "blur", "noise"), (3, 4, 5)
TOLERANCE = str(TOLERANCES[0])  # tolerance of the recall in tables and figures

Figures = Mapping[str, Any]  # results of one set of queries, see ``_figures``


@dataclass(frozen=True)
class DegradationTask:
    """Task of every extractor.

    Attributes:
        dataset: source of the records as ``reader:PATH``.
        mapped: records to build the map from.
        queries: records to localize; the results are about those with a ground-truth pose.
        degradations: degradations of the queries, besides the clean ones.
        seed: seed of all random numbers.
    """

    dataset: str
    mapped: Sequence[Record]
    queries: Sequence[Record]
    degradations: Sequence[Degradation]
    seed: int = 0

    def __post_init__(self) -> None:
        if all(record.world_from_cam is None for record in self.queries):
            raise DatasetError(f"{self.dataset}: none of the {len(self.queries)} queries has a pose to compare with")


def choose_degradations(kinds: str, levels: str) -> list[Degradation]:
    """Every kind at every level.

    Args:
        kinds: list of kinds such as ``night,blur``; empty for all.
        levels: list of levels such as ``3,4,5``; empty for all.

    Raises:
        ConfigError: there is no such kind or level.
    """
    chosen_kinds = _entries(kinds) or list(KINDS)
    chosen_levels = _entries(levels) or [str(level) for level in LEVELS]
    if unknown := [kind for kind in chosen_kinds if kind not in ALL_KINDS]:
        raise ConfigError(f"there is no degradation {', '.join(unknown)}; there is: {', '.join(ALL_KINDS)}")
    if unknown := [level for level in chosen_levels if level not in map(str, LEVELS)]:
        raise ConfigError(f"there is no level {', '.join(unknown)}; levels are {LEVELS[0]} to {LEVELS[-1]}")
    return [Degradation(kind, int(level)) for kind in chosen_kinds for level in chosen_levels]


def evaluate_degradations(
    name: str,
    extractor: FeatureExtractor,
    task: DegradationTask,
    out: Path,
    progress: Progress = silent,
    device: "Device | None" = None,
) -> dict[str, Figures]:
    """Results of one extractor by set of queries: "clean", "night:1", ...

    Args:
        name: name of the map and the results in ``out``.
        extractor: extractor of the map; the one of the queries is opened from the map.
        task: images to map and to localize.
        out: folder with ``maps/NAME`` and ``figures/NAME.json``, which are used if they are of the same task and
            replaced if not.
        progress: progress display.
        device: device of the queries' extractor, which runs several in parallel; None for the CPU.

    Raises:
        DatasetError, ImageError, MapError: as ``build_map`` and ``localize_records``.
    """
    folder = out / "maps" / name
    visual_map = kept_map(folder, task.mapped, extractor, task.dataset, task.seed, progress, device)
    localizer = HierarchicalLocalizer(visual_map, None, PoseOptions(seed=task.seed))
    path = out / "figures" / f"{name}.json"
    origin = localization_origin(visual_map, localizer, task.dataset, task.queries, task.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    done = kept_figures(path, origin)
    figures: dict[str, Figures] = {}
    clean = visual_map.info.place.records_in_map(task.queries)
    for degradation in (None, *task.degradations):
        key = str(degradation or CLEAN)
        if key not in done:
            queries = degrade_records(clean, degradation, task.seed) if degradation else clean
            run = _localize(queries, visual_map, localizer, f"{name}, {key}", progress)
            done[key] = _figures(run, queries)
            write_report(path, {"origin": origin, "figures": done})
        figures[key] = done[key]
    return figures


def mean_of_hard(figures: Mapping[str, Figures]) -> dict[str, Any] | None:
    """Means over night, blur and noise at levels 3 to 5, as far as they were evaluated; None if none was."""
    hard = [f"{kind}:{level}" for kind in HARD_KINDS for level in HARD_LEVELS]
    found = [key for key in hard if key in figures]
    if not found:
        return None
    means = {
        group: {name: float(np.mean([figures[key][group][name] for key in found])) for name in figures[found[0]][group]}
        for group in ("recall", "retrieval")
    }
    return {"of": found, **means}


def _entries(text: str) -> list[str]:
    """Entries of a comma-separated list, without repetitions."""
    return list(dict.fromkeys(entry.strip() for entry in text.split(",") if entry.strip()))


def _localize(
    queries: Sequence[Record],
    visual_map: VisualMap,
    localizer: HierarchicalLocalizer,
    description: str,
    progress: Progress,
) -> OfflineRun:
    """Localize as ``localize_records`` does, on all cores."""
    runs = parallel_map(lambda query: localize_records([query], visual_map, localizer), queries, description, progress)
    whole = OfflineRun(localizer.finder.options.top_k)
    for run in runs:
        whole.outcomes.update(run.outcomes)
        whole.retrieved.update(run.retrieved)
    return whole


def _figures(run: OfflineRun, queries: Sequence[Record]) -> Figures:
    """Recall, medians and retrieval, with the keys of ``report.json`` of ``vizloc localize``."""
    return {**evaluate_poses(run.estimates, ground_truth(queries)).as_dict(), "retrieval": run.retrieval}


_COLORS = (BLUE, ORANGE, GREEN, RED, INK)
_PANEL_INCHES = (3.4, 3.6)


def plot_degradations(path: Path, runs: Mapping[str, Mapping[str, Figures]]) -> None:
    """Draw recall by level, which is 0 for clean queries: a panel per kind, a line per extractor.

    Args:
        path: file of the figure.
        runs: results by extractor and set of queries; all extractors have the same sets, including "clean".
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    keys = [key for figures in runs.values() for key in figures]
    kinds = [kind for kind in ALL_KINDS if any(key.startswith(f"{kind}:") for key in keys)]
    width, height = _PANEL_INCHES
    with rc_context(STYLE):
        figure = Figure(figsize=(width * len(kinds) + 1, height), dpi=140, layout="constrained")
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, kind in zip(panels, kinds, strict=True):
            for color, (name, figures) in zip(cycle(_COLORS), runs.items(), strict=False):
                by_level = {0: figures[CLEAN]} | {
                    level: figures[f"{kind}:{level}"] for level in LEVELS if f"{kind}:{level}" in figures
                }
                percent = [100 * of_level["recall"][TOLERANCE] for of_level in by_level.values()]
                axes.plot(list(by_level), percent, "o-", ms=4, color=color, label=name)
            axes.set(title=kind, xlabel="level", xticks=[0, *LEVELS], ylim=(-3, 103))
            axes.grid(True)
        panels[0].set_ylabel(f"recall at {readable(TOLERANCE)} [%]")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(runs))
        figure.savefig(path)
