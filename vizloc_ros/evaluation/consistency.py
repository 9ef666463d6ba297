"""Consistency of poses with their covariances, by kind of degradation: ``vizloc evaluate consistency``.

The squared error of a pose in units of its covariance, NEES, is chi-squared with six degrees of freedom where the
covariance is honest: 6 on average, and below 12.6 for 95 % of the poses, those within two sigma (Bar-Shalom, Li and
Kirubarajan, "Estimation with Applications to Tracking and Navigation", section 5.4).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from pycolmap import Rigid3d
from scipy.special import chdtri

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.datasets.record import Record, of_first_camera
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.offline_tracking import OfflineTracker
from vizloc_ros.evaluation.plots import BLUE, GREEN, INK, MUTED, ORANGE, RED, figure_at
from vizloc_ros.evaluation.report import require_result_folder, write_report
from vizloc_ros.geometry.covariance import squared_error
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.image_localizer import ImageLocalizer
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor

CLEAN = "clean"  # images without degradation
DEGREES_OF_FREEDOM = 6
_COLORS = (INK, BLUE, ORANGE, GREEN, RED)


def squared_error_limit(probability: float) -> float:
    """Quantile of the chi-squared distribution: the squared error on the ellipsoid of this probability."""
    return float(chdtri(DEGREES_OF_FREEDOM, 1 - probability))  # scipy.stats would take a second to import


LIMIT_95 = squared_error_limit(0.95)


@dataclass
class Consistency:
    """Squared errors of the poses of one set of images, in units of their covariances.

    Attributes:
        images: number of images with a ground-truth pose.
        squared: squared errors of those with an estimated pose.
    """

    images: int
    squared: list[float] = field(default_factory=list)

    def add(self, map_from_cam: Rigid3d | None, covariance: Float64 | None, record: Record) -> None:
        """Add the pose of an image, if there is one."""
        if map_from_cam is not None and covariance is not None and record.world_from_cam is not None:
            self.squared.append(squared_error(map_from_cam, record.world_from_cam, covariance))

    def within(self, probability: float) -> float | None:
        """Ratio of the poses inside the ellipsoid that should have this ratio of them; None without poses."""
        if not self.squared:
            return None
        return float(np.mean(np.array(self.squared) <= squared_error_limit(probability)))

    def as_dict(self) -> dict[str, float | int | None]:
        """Values of the report."""
        return {
            "nees": float(np.mean(self.squared)) if self.squared else None,
            "within_95": self.within(0.95),
            "images": self.images,
            "poses": len(self.squared),
        }


def evaluate_consistency(
    visual_map: VisualMap,
    records: Sequence[Record],
    out: Path,
    extractor: PyramidExtractor | None = None,
    *,
    degradations: Sequence[Degradation] = (),
    options: OptionTree | None = None,
    seed: int = 0,
    details: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> dict[str, dict[str, Consistency]]:
    """Localize and track images, clean and with each degradation, and write report and figure.

    Args:
        visual_map: map to localize in.
        records: images in order of time, with poses in the world of the map's dataset; those without a pose are
            tracked, but do not count.
        out: folder of the files.
        extractor: extractor of the map's reference features; None to leave the tracker out.
        degradations: degradations of the images, besides the clean ones.
        options: options of localizer and tracker.
        seed: seed of the localizer and of the degradations.
        details: further keys of the report.
        progress: progress display.

    Returns:
        Results by run, "localizer" or "tracker", and by kind, such as "clean" or "blur:3".

    Raises:
        DatasetError: no image has a ground-truth pose.
        FeatureError: the map has no reference features of this extractor.
        ImageError: an image cannot be read.
    """
    require_result_folder(out)
    if all(record.world_from_cam is None for record in records):
        raise DatasetError(f"none of the {len(records)} images has a pose to compare with")
    if extractor is not None:
        visual_map.require_references(extractor.model_id)
    chosen, clean = options or OptionTree(), visual_map.info.place.records_in_map(records)
    localizer = HierarchicalLocalizer(visual_map, chosen.retrieval, chosen.pose.model_copy(update={"seed": seed}))
    runs: dict[str, dict[str, Consistency]] = {"localizer": {}}
    if extractor is not None:
        runs["tracker"] = {}
    for degradation in (None, *degradations):
        kind = str(degradation or CLEAN)
        degraded = degrade_records(clean, degradation, seed) if degradation else clean
        runs["localizer"][kind] = _of_localizer(degraded, visual_map, localizer, kind, progress)
        if extractor is not None:
            tracker = OfflineTracker(visual_map, localizer, extractor, chosen.tracker, chosen.submap)
            runs["tracker"][kind] = _of_tracker(of_first_camera(degraded), tracker, kind, progress)
    kinds = {run: {kind: each.as_dict() for kind, each in found.items()} for run, found in runs.items()}
    write_report(out / "report.json", {"consistency": kinds, **(details or {}), "seed": seed})
    plot_consistency(out / "consistency.png", runs)
    return runs


def plot_consistency(path: Path, runs: Mapping[str, Mapping[str, Consistency]]) -> None:
    """Draw the ratio of poses inside the ellipsoid of each probability: a panel per run, a line per kind.

    An honest covariance is on the diagonal. Below it, errors are larger than it says.
    """
    probabilities = np.linspace(0.01, 0.99, 99)
    with figure_at(path, width=5.0 * len(runs), height=5.2) as figure:
        panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
        for axes, (run, kinds) in zip(panels, runs.items(), strict=True):
            axes.plot([0, 100], [0, 100], color=MUTED, lw=1, ls="--", label="honest")
            axes.axvline(95, color=MUTED, lw=0.8, ls=":")
            for color, (kind, each) in zip(cycle(_COLORS), kinds.items(), strict=False):
                if each.squared:
                    inside = [100 * (each.within(p) or 0.0) for p in probabilities]
                    axes.plot(100 * probabilities, inside, color=color, lw=1.6, label=kind)
            axes.set(title=run, xlabel="probability of the ellipsoid [%]", xlim=(0, 100), ylim=(0, 101), aspect="equal")
            axes.grid(True)
        panels[0].set_ylabel("poses inside [%]")
        handles = {
            label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6)


def _of_localizer(
    records: Sequence[Record], visual_map: VisualMap, localizer: HierarchicalLocalizer, kind: str, progress: Progress
) -> Consistency:
    """Consistency of the localizer, on all cores."""
    known = [record for record in records if record.world_from_cam is not None]
    localized = parallel_map(
        lambda r: ImageLocalizer(visual_map.extractor, localizer).localize(r.read_image(), r.camera).outcome.pose,
        known,
        f"{kind}, localizer",
        progress,
    )
    found = Consistency(len(known))
    for record, pose in zip(known, localized, strict=True):
        if pose is not None:
            found.add(pose.map_from_cam, pose.covariance, record)
    return found


def _of_tracker(records: Sequence[Record], tracker: OfflineTracker, kind: str, progress: Progress) -> Consistency:
    """Consistency of the tracker, image after image."""
    found = Consistency(sum(record.world_from_cam is not None for record in records))
    for record in progress(records, f"{kind}, tracker", len(records)):
        tracked = tracker.track(record)
        found.add(tracked.map_from_cam, tracked.covariance, record)
    return found
